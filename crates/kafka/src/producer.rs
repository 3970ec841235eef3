use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cdc_event::{EventTrace, Message};
use cdc_machine::{Fault, SeqNo};
use cdc_ports::{Failure, Producer, ReportSink, SendRefused};
use cdc_watcher::{Batching, TopicState};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig};

use crate::classify::{failure_from, fault_of};
use crate::config;
use crate::delivery::{Carried, is_topic_gone, opaque};
use crate::guarded::ClientKind;
use crate::marker::{self, PositionText};
use crate::partitioner::partition_of;
use crate::preparation::{KnownTopics, Preparation, ProducerClient};
use crate::probe::{PROBE, PROBE_TIMEOUT, SILENT, leaders_answer};
use crate::settings::{ProducerSettings, dead_letter_topic};
use crate::stranded::{self, Stranded};

/// The longest wait for a former client to close. It is purged, so nothing can be lost.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The idempotent producer behind one sequencer. Messages of one partition are appended in the order in
/// which they are sent.
///
/// An idempotent producer may leave gaps all the same: a message that timed out is given up, and later ones
/// go through. Only reports count, and only an unbroken run of them.
pub struct KafkaProducer {
    settings: Arc<ProducerSettings>,
    sink: Arc<ReportSink>,
    /// Shared with a probe at most.
    client: Option<Arc<ProducerClient>>,
    known: KnownTopics,
    /// The dead-letter topic of each topic, so that a marker needs no formatting.
    dead_letters: HashMap<Arc<str>, String>,
    /// Of the client that is probed.
    stranded: Arc<Mutex<Stranded>>,
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
        let (known, stranded) = (KnownTopics::default(), Arc::default());
        Self { settings: Arc::new(settings), sink, client: None, known, dead_letters, stranded }
    }

    async fn prepare_anew(&mut self, batching: Batching) -> Result<Vec<TopicState>, Failure> {
        config::check_properties(ClientKind::Producer, &self.settings.connection)?;
        self.retire().await;
        let prepared = Preparation::new(
            Arc::clone(&self.settings),
            Arc::clone(&self.sink),
            self.known.clone(),
            batching,
            self.dead_letters.values().cloned().collect(),
        )
        .carry_out()
        .await?;
        self.client = Some(Arc::new(prepared.client));
        self.stranded = Arc::default();
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

/// The headers of every message, and of a sampled event's.
fn message_headers(position: &str, trace: Option<&EventTrace>) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(if trace.is_some() { 5 } else { 3 })
        .insert(Header { key: marker::POSITION, value: Some(position) })
        .insert(Header { key: marker::VERSION, value: Some(marker::VERSION_1) })
        .insert(Header { key: "content-type", value: Some("application/json") });
    marker::with_trace(headers, trace)
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
        let headers = message_headers(position.as_str(), message.trace.as_deref());
        let carried = if message.trace.is_some() { Carried::Sampled } else { Carried::Event };
        let partition = partition_of(message.key(), partitions);
        let (key, value) = (message.key(), message.value());
        match self.enqueue_at(&message.topic, Some(partition), key, value, headers, opaque(seq, carried)) {
            Ok(()) => Ok(()),
            Err(refused) if refused.is_too_large() => {
                let topic = Arc::clone(&message.topic);
                let mut marker = marker::of(topic, key, value, message.position);
                marker.trace = message.trace;
                Err(SendRefused::TooLarge(Box::new(marker)))
            }
            Err(refused) => Err(SendRefused::Failed(refused.into_failure(&message.topic))),
        }
    }

    fn send_control(&mut self, seq: SeqNo, message: &Message) -> (u32, Option<Failure>) {
        let position = PositionText::new(&message.position);
        let (mut queued, mut failed) = (0, None);
        for topic in &self.settings.topics {
            let partitions = self.known.partitions.get(topic).copied().unwrap_or(0);
            for partition in 0..partitions {
                let headers = message_headers(position.as_str(), None);
                // Its report is told from a document's: no marker can take its place.
                match self.enqueue_at(
                    topic,
                    Some(partition),
                    message.key(),
                    message.value(),
                    headers,
                    opaque(seq, Carried::Irreplaceable),
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
        self.enqueue_at(topic, None, marker.key(), b"", headers, opaque(seq, Carried::Irreplaceable))
            .map_err(|refused| SendRefused::Failed(refused.for_good_if_too_large(topic)))
    }

    fn topics(&self) -> &[Arc<str>] {
        &self.settings.topics
    }

    fn probe(&self) -> impl Future<Output = Result<Vec<u32>, Failure>> + Send + 'static {
        let (client, settings) = (self.client.clone(), Arc::clone(&self.settings));
        let stranded = Arc::clone(&self.stranded);
        async move {
            let Some(client) = client else { return Ok(Vec::new()) };
            let (said, answer) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let topics: Vec<&str> = settings.topics.iter().map(|topic| &**topic).collect();
                let counts = leaders_answer(client.client(), &topics, Instant::now() + PROBE_TIMEOUT);
                let is_served = counts.is_ok();
                // Whoever asks hears it at once, or waits no longer.
                let _ = said.send(
                    counts.map_err(|error| client.context().explain(failure_from(PROBE, SILENT, &error))),
                );
                let mut stranded = stranded.lock().unwrap_or_else(PoisonError::into_inner);
                if is_served {
                    stranded.served();
                } else if stranded.is_certain(&settings.connection, topics.first().copied()) {
                    client.context().lose(Failure::new(Fault::Transient, PROBE, stranded::WORDS));
                }
            });
            answer.await.unwrap_or_else(|panic| {
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
