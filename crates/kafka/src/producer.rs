use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cdc_event::Message;
use cdc_machine::{Fault, SeqNo};
use cdc_ports::{Failure, Producer, ReportSink, SendRefused};
use cdc_watcher::{Batching, TopicState};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};

use crate::batches::{BatchLimits, TopicLimits};
use crate::classify::{failure_from, fault_of};
use crate::complaints::Complaints;
use crate::config;
use crate::delivery::{DeliveryReports, is_topic_gone, opaque};
use crate::ends::Ends;
use crate::marker::{self, PositionText};
use crate::murmur2::partition_of;
use crate::owned::ClientKind;
use crate::reach;
use crate::settings::{ProducerSettings, dead_letter_topic};
use crate::topics::{
    DEAD_LETTER_PARTITIONS, TopicAdmin, Wanted, await_topic, holds_messages, missing, signs_of_life,
};

/// The longest that the topics may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a former client is waited for. It is purged, so there is nothing to lose.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that a whole preparation may take; its steps have bounds of their own.
const PREPARES_WITHIN: Duration = Duration::from_secs(90);

/// The longest that a sign of life may take: less than whoever asks for one waits, so that the reason is heard.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_millis(2_500);
/// What a sign of life is called in the log.
pub(crate) const PROBE: &str = "kafka_probe";
/// What there is to say where none came.
pub(crate) const SILENT: &str = "the brokers give no sign of life";

type Client = ThreadedProducer<DeliveryReports>;

/// What is known of the topics from the last preparation.
#[derive(Clone, Debug, Default)]
struct KnownTopics {
    partitions: HashMap<Arc<str>, i32>,
    limits: TopicLimits,
}

/// The idempotent producer behind one sequencer. Messages of one partition are appended in the order in
/// which they are sent.
///
/// An idempotent producer may leave gaps all the same: a message that timed out is given up, and later ones
/// go through. Only reports count, and only an unbroken run of them.
pub struct KafkaProducer {
    settings: Arc<ProducerSettings>,
    sink: Arc<ReportSink>,
    /// Shared with a probe at most.
    client: Option<Arc<Client>>,
    known: KnownTopics,
    /// The dead-letter topic of each topic, so that a marker needs no formatting.
    dead_letters: HashMap<Arc<str>, String>,
}

impl KafkaProducer {
    /// A producer that is not connected yet. What Kafka says of each message goes into the sink.
    #[must_use]
    pub fn new(settings: ProducerSettings, sink: Arc<ReportSink>) -> Self {
        let dead_letters = settings
            .dead_letter_topic
            .iter()
            .flat_map(|template| {
                settings.topics.iter().map(|topic| (Arc::clone(topic), dead_letter_topic(template, topic)))
            })
            .collect();
        Self { settings: Arc::new(settings), sink, client: None, known: KnownTopics::default(), dead_letters }
    }

    async fn prepare_anew(&mut self, batching: Batching) -> Result<Vec<TopicState>, Failure> {
        config::check_properties(ClientKind::Producer, &self.settings.connection)?;
        self.retire().await;
        let preparation = Preparation {
            settings: Arc::clone(&self.settings),
            sink: Arc::clone(&self.sink),
            known: self.known.clone(),
            batching,
            dead_letters: self.dead_letters.values().cloned().collect(),
            complaints: Complaints::default(),
            leaders_answered: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        let (complaints, answered) =
            (preparation.complaints.clone(), Arc::clone(&preparation.leaders_answered));
        let given_up = |why: &str| {
            let what = format!("the topics were not ready{why}; it is tried again");
            complaints.explain(Failure::new(Fault::Transient, "kafka_prepare", what))
        };
        let preparing = tokio::task::spawn_blocking(move || {
            let complaints = preparation.complaints.clone();
            preparation.run().map_err(|failed| complaints.explain(failed))
        });
        let is_out_of_reach = async {
            complaints.until_unresolved().await;
            if answered.load(Ordering::Acquire) {
                // The name is that of one broker among others, and each further step tells for itself whom it misses.
                std::future::pending::<()>().await;
            }
        };
        // One that is given up ends by itself, step by step, and takes its client with it.
        let prepared = tokio::select! {
            biased;
            prepared = preparing => prepared,
            () = is_out_of_reach => return Err(given_up("")),
            () = tokio::time::sleep(PREPARES_WITHIN) => {
                return Err(given_up(&format!(" within {PREPARES_WITHIN:?}")));
            }
        }
        .map_err(|panic| {
            Failure::new(
                Fault::Bug,
                "kafka_prepare",
                "the preparation of the producer panicked, which is a bug",
            )
            .because(panic)
        })??;
        self.client = Some(Arc::new(prepared.client));
        self.known = prepared.known;
        Ok(prepared.topics)
    }

    /// Silences, empties and closes the client, off the runtime and within a bounded time.
    async fn retire(&mut self) {
        let Some(client) = self.client.take() else { return };
        client.context().retire();
        let closing = tokio::task::spawn_blocking(move || drop(client));
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::warn!(
                "a former Kafka producer is still closing; it holds nothing and goes on by itself"
            );
        }
    }

    /// `partition`: `None` for the one that the key falls into among those that the topic has.
    fn enqueue_at(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: &[u8],
        body: &[u8],
        headers: OwnedHeaders,
        opaque: usize,
    ) -> Result<(), NotQueued> {
        let client = self.client.as_ref().ok_or(NotQueued::Missing)?;
        let mut record = BaseRecord::with_opaque_to(topic, opaque).key(key).payload(body).headers(headers);
        record.partition = partition;
        client.send(record).map_err(|(error, _)| NotQueued::Kafka(error))
    }
}

/// The headers of every message.
fn message_headers(position: &str) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(3)
        .insert(Header { key: marker::POSITION, value: Some(position) })
        .insert(Header { key: marker::VERSION, value: Some(marker::VERSION_1) })
        .insert(Header { key: "content-type", value: Some("application/json") })
}

/// Why nothing was queued.
enum NotQueued {
    Kafka(KafkaError),
    Missing,
}

impl NotQueued {
    fn into_failure(self, topic: &str) -> Failure {
        match self {
            Self::Kafka(error) => {
                let what = format!("a message for {topic} was not queued");
                let mut failure = failure_from("kafka_publish", &what, &error);
                if error.rdkafka_error_code().is_some_and(is_topic_gone) {
                    failure.fault = Fault::HistoryLost;
                }
                failure
            }
            Self::Missing => Failure::new(
                Fault::Transient,
                "kafka_publish",
                format!(
                    "a message for {topic} was not queued: there is no producer; it is made at the next connection"
                ),
            ),
        }
    }

    /// The failure of a message that no marker can stand for: one whose key alone does not fit, or a control's.
    fn for_good_if_too_large(self, topic: &str) -> Failure {
        let too_large = self.is_too_large();
        let mut failure = self.into_failure(topic);
        if too_large {
            failure.fault = Fault::Fatal;
        }
        failure
    }

    fn is_too_large(&self) -> bool {
        match self {
            Self::Kafka(error) => error.rdkafka_error_code().map(fault_of) == Some(Fault::TooLarge),
            Self::Missing => false,
        }
    }
}

impl Producer for KafkaProducer {
    fn prepare(
        &mut self,
        batching: Batching,
    ) -> impl Future<Output = Result<Vec<TopicState>, Failure>> + Send {
        self.prepare_anew(batching)
    }

    fn send(&mut self, seq: SeqNo, message: Message, partitions: u32) -> Result<(), SendRefused> {
        let position = PositionText::new(&message.position);
        let headers = message_headers(position.as_str());
        let partition = partition_of(&message.key, partitions);
        let (key, value) = (&message.key, &message.value);
        match self.enqueue_at(&message.topic, Some(partition), key, value, headers, opaque(seq, false)) {
            Ok(()) => Ok(()),
            Err(refused) if refused.is_too_large() => Err(SendRefused::TooLarge(marker::of(
                message.topic,
                message.key,
                &message.value,
                message.position,
            ))),
            Err(refused) => Err(SendRefused::Failed(refused.into_failure(&message.topic))),
        }
    }

    fn send_control(&mut self, seq: SeqNo, message: &Message) -> (u32, Option<Failure>) {
        let position = PositionText::new(&message.position);
        let (mut queued, mut failed) = (0, None);
        for topic in &self.settings.topics {
            let partitions = self.known.partitions.get(topic).copied().unwrap_or(0);
            for partition in 0..partitions {
                let headers = message_headers(position.as_str());
                // Its report is told from a document's: no marker can take its place.
                match self.enqueue_at(
                    topic,
                    Some(partition),
                    &message.key,
                    &message.value,
                    headers,
                    opaque(seq, true),
                ) {
                    Ok(()) => queued += 1,
                    Err(refused) => {
                        failed.get_or_insert_with(|| refused.for_good_if_too_large(topic));
                    }
                }
            }
        }
        (queued, failed)
    }

    fn send_marker(&mut self, seq: SeqNo, marker: Message) -> Result<(), SendRefused> {
        let Some(topic) = self.dead_letters.get(&marker.topic) else {
            return Err(SendRefused::Failed(Failure::new(
                Fault::Fatal,
                "kafka_publish",
                format!("{} has no dead-letter topic; set dead_letter.topic", marker.topic),
            )));
        };
        let position = PositionText::new(&marker.position);
        let headers = marker::headers(&marker, position.as_str());
        self.enqueue_at(topic, None, &marker.key, b"", headers, opaque(seq, true))
            .map_err(|refused| SendRefused::Failed(refused.for_good_if_too_large(topic)))
    }

    fn topics(&self) -> &[Arc<str>] {
        &self.settings.topics
    }

    fn probe(&self) -> impl Future<Output = Result<Vec<u32>, Failure>> + Send + 'static {
        let (client, settings) = (self.client.clone(), Arc::clone(&self.settings));
        async move {
            let Some(client) = client else { return Ok(Vec::new()) };
            let asked = tokio::task::spawn_blocking(move || {
                let deadline = Instant::now() + PROBE_TIMEOUT;
                let topics: Vec<&str> = settings.topics.iter().map(|topic| &**topic).collect();
                let counts = signs_of_life(client.client(), &topics, deadline);
                counts.map_err(|error| client.context().explain(failure_from(PROBE, SILENT, &error)))
            });
            asked.await.unwrap_or_else(|panic| {
                Err(Failure::new(Fault::Bug, PROBE, "a probe panicked, which is a bug").because(panic))
            })
        }
    }

    fn purge_queued(&mut self) {
        if let Some(client) = &self.client {
            client.purge(PurgeConfig::default().queue());
        }
    }
}

impl Drop for KafkaProducer {
    /// Closing blocks for up to half a second, which a runtime's thread must not.
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            client.context().retire();
            std::thread::spawn(move || drop(client));
        }
    }
}

/// One preparation, on a thread of the blocking pool.
struct Preparation {
    settings: Arc<ProducerSettings>,
    sink: Arc<ReportSink>,
    known: KnownTopics,
    batching: Batching,
    dead_letters: Vec<String>,
    complaints: Complaints,
    /// Set once leaders of every topic have answered.
    leaders_answered: Arc<AtomicBool>,
    runtime: tokio::runtime::Handle,
}

struct Prepared {
    client: Client,
    known: KnownTopics,
    /// In the order of the settings.
    topics: Vec<TopicState>,
}

impl Preparation {
    fn run(self) -> Result<Prepared, Failure> {
        let mut limits = self.known.limits;
        // Made before the topics are: it hears why the brokers turn us away.
        let mut client = self.connect(limits)?;
        let admin =
            TopicAdmin::new(&self.settings.connection, self.complaints.clone(), self.runtime.clone())?;
        let missing = missing(client.client(), self.wanted())
            .map_err(|failure| reach::in_words(failure, &self.settings.connection.brokers))?;
        admin.create(&missing)?;

        let deadline = Instant::now() + READY_TIMEOUT;
        let mut known = KnownTopics::default();
        let mut topics = Vec::with_capacity(self.settings.topics.len());
        for topic in &self.settings.topics {
            let partitions = await_topic(client.client(), topic, deadline)?;
            self.compare_partitions(topic, partitions);
            known.partitions.insert(Arc::clone(topic), partitions);
            topics.push(TopicState {
                partitions: partitions.unsigned_abs(),
                was_made: missing.iter().any(|made| *made.name == **topic),
                holds_messages: holds_messages(client.client(), topic, partitions, deadline)?,
                lineage: None,
            });
        }
        self.leaders_answered.store(true, Ordering::Release);
        self.read_ends(&mut topics)?;
        for topic in &self.dead_letters {
            await_topic(client.client(), topic, deadline)?;
        }

        let names: Vec<&str> = self.settings.topics.iter().map(|topic| &**topic).collect();
        known.limits = admin.limits(&names, self.settings.limits_timeout);
        if known.limits != limits {
            limits = known.limits;
            client = self.connect(limits)?;
        }
        Ok(Prepared { client, known, topics })
    }

    /// Which lineages the topics' ends show, where they hold anything.
    fn read_ends(&self, topics: &mut [TopicState]) -> Result<(), Failure> {
        let mut ends = None;
        for (name, topic) in self.settings.topics.iter().zip(topics).filter(|(_, topic)| topic.holds_messages)
        {
            let ends = match &mut ends {
                Some(ends) => ends,
                none => none.insert(Ends::new(&self.settings.connection)?),
            };
            topic.lineage = ends.lineage(name, i32::try_from(topic.partitions).unwrap_or(i32::MAX))?;
        }
        Ok(())
    }

    fn connect(&self, limits: TopicLimits) -> Result<Client, Failure> {
        let batches = BatchLimits::of(self.batching, limits);
        let reports = DeliveryReports::new(Arc::clone(&self.sink), self.complaints.clone(), batches);
        config::producer(&self.settings, batches, limits.largest)
            .create_with_context(reports)
            .map_err(|error| failure_from("kafka_prepare", "a producer could not be made", &error))
    }

    fn wanted(&self) -> Vec<Wanted> {
        let topics = self.settings.topics.iter().map(|topic| Wanted {
            name: topic.to_string(),
            partitions: i32::from(self.settings.partitions),
            replication_factor: self.settings.replication_factor,
        });
        let dead_letters = self.dead_letters.iter().map(|topic| Wanted {
            name: topic.clone(),
            partitions: DEAD_LETTER_PARTITIONS,
            replication_factor: self.settings.replication_factor,
        });
        let mut wanted: Vec<Wanted> = topics.chain(dead_letters).collect();
        wanted.sort_by(|a, b| a.name.cmp(&b.name));
        wanted.dedup_by(|a, b| a.name == b.name);
        wanted
    }

    /// The topic's own number counts. Whether that may have changed, the machine decides.
    fn compare_partitions(&self, topic: &Arc<str>, partitions: i32) {
        let configured = i32::from(self.settings.partitions);
        if !self.known.partitions.contains_key(topic) && partitions != configured {
            tracing::warn!(
                topic = &**topic,
                partitions,
                configured,
                "the topic exists with another number of partitions than kafka.partitions; its own is used"
            );
        }
    }
}
