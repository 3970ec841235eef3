//! One preparation of the producer: a client that batches as told, topics that are there, and what they hold.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cdc_machine::Fault;
use cdc_ports::{Failure, ReportSink};
use cdc_watcher::{Batching, TopicState};
use rdkafka::producer::{Producer as _, ThreadedProducer};

use crate::batches::{BatchLimits, TopicLimits};
use crate::classify::failure_from;
use crate::client_errors::ClientErrors;
use crate::config;
use crate::delivery::DeliveryReports;
use crate::ends::Ends;
use crate::reach;
use crate::settings::ProducerSettings;
use crate::topics::{DEAD_LETTER_PARTITIONS, TopicAdmin, Wanted, await_topic, holds_messages, missing};

const OPERATION: &str = "kafka_prepare";
/// The longest that the topics may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a whole preparation may take; its steps have bounds of their own.
const PREPARES_WITHIN: Duration = Duration::from_secs(90);

pub(crate) type ProducerClient = ThreadedProducer<DeliveryReports>;

/// What is known of the topics from the last preparation.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownTopics {
    pub(crate) partitions: HashMap<Arc<str>, i32>,
    limits: TopicLimits,
}

/// What a preparation is made of. Its steps block, on a thread of the blocking pool.
pub(crate) struct Preparation {
    settings: Arc<ProducerSettings>,
    sink: Arc<ReportSink>,
    known: KnownTopics,
    batching: Batching,
    dead_letters: Vec<String>,
    errors: ClientErrors,
    /// Set once leaders of every topic have answered.
    leaders_answered: Arc<AtomicBool>,
    runtime: tokio::runtime::Handle,
}

/// What a preparation came to.
pub(crate) struct Prepared {
    pub(crate) client: ProducerClient,
    pub(crate) known: KnownTopics,
    /// In the order of the settings.
    pub(crate) topics: Vec<TopicState>,
}

impl Preparation {
    pub(crate) fn new(
        settings: Arc<ProducerSettings>,
        sink: Arc<ReportSink>,
        known: KnownTopics,
        batching: Batching,
        dead_letters: Vec<String>,
    ) -> Self {
        Self {
            settings,
            sink,
            known,
            batching,
            dead_letters,
            errors: ClientErrors::default(),
            leaders_answered: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// Takes all steps, or gives up: when the time is over, and before that where a broker's name does not resolve.
    ///
    /// # Errors
    /// Whatever keeps a step from succeeding, classified.
    pub(crate) async fn carry_out(self) -> Result<Prepared, Failure> {
        let (errors, answered) = (self.errors.clone(), Arc::clone(&self.leaders_answered));
        let given_up = |why: &str| {
            let what = format!("the topics were not ready{why}; it is tried again");
            errors.explain(Failure::new(Fault::Transient, OPERATION, what))
        };
        let preparing = tokio::task::spawn_blocking(move || {
            let errors = self.errors.clone();
            self.run().map_err(|failed| errors.explain(failed))
        });
        let is_out_of_reach = async {
            errors.until_unresolved().await;
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
        };
        prepared.unwrap_or_else(|panic| {
            let text = "the preparation of the producer panicked, which is a bug";
            Err(Failure::new(Fault::Bug, OPERATION, text).because(panic))
        })
    }

    fn run(self) -> Result<Prepared, Failure> {
        let mut limits = self.known.limits;
        // Made before the topics are: it hears why the brokers turn us away.
        let mut client = self.connect(limits)?;
        let admin = TopicAdmin::new(&self.settings.connection, self.errors.clone(), self.runtime.clone())?;
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

    fn connect(&self, limits: TopicLimits) -> Result<ProducerClient, Failure> {
        let batches = BatchLimits::of(self.batching, limits);
        let reports = DeliveryReports::new(Arc::clone(&self.sink), self.errors.clone(), batches);
        config::producer(&self.settings, batches, limits.largest)
            .create_with_context(reports)
            .map_err(|error| failure_from(OPERATION, "a producer could not be made", &error))
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
