//! Sends dead letters' records back to the topics and partitions that they were read from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use cdc_executor::ports::Failure;
use cdc_machine::Fault;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::classify::failure_from;
use crate::complaints::Complaints;
use crate::config;
use crate::dead_letter::replayed;
use crate::dead_letter_reader::DeadLetter;
use crate::murmur2::partition_of;
use crate::settings::ConnectionSettings;

const OPERATION: &str = "dead_letters_replay";
/// The longest that one answer of the brokers may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a record may take to be durable.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Beyond that, a client that does not report is given up.
const REPORT_SLACK: Duration = Duration::from_secs(10);

/// Where a record goes back to, or why it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// To the topic and partition that it was read from.
    Open {
        /// The topic.
        topic: Arc<str>,
        /// Its partition.
        partition: i32,
    },
    /// Not at all.
    Closed(NoWayBack),
}

/// Why a dead letter's record cannot go back to its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWayBack {
    /// Its body was left out: there is nothing to send.
    BodyOmitted(String),
    /// It does not say where it was read.
    NoOrigin,
    /// There is no such topic.
    NoTopic(String),
    /// By the topic's partitions of today, its key belongs into another one.
    OtherPartition {
        /// The topic.
        topic: String,
        /// Partitions that it has.
        partitions: u32,
        /// Where the record was read.
        was: i32,
        /// Where its key belongs.
        belongs: i32,
    },
}

impl fmt::Display for NoWayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyOmitted(what) => write!(
                f,
                "its body was left out ({what}): there is nothing to send. A later change of its document brings the row \
                 up to date"
            ),
            Self::NoOrigin => f.write_str("it does not say which topic and partition it was read from"),
            Self::NoTopic(topic) => write!(f, "topic {topic} is gone"),
            Self::OtherPartition { topic, partitions, was, belongs } => write!(
                f,
                "it was read from partition {was}, and among the {partitions} that {topic} has by now its key belongs \
                 into {belongs}: partitions were added, and the order of its document's changes would be at stake"
            ),
        }
    }
}

struct Reports {
    complaints: Complaints,
    sink: Sender<(usize, Result<i64, KafkaError>)>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.complaints.log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.hear(&error, reason);
    }
}

impl ProducerContext for Reports {
    /// The record's place among those that are sent together.
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<usize>) {
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody listens any more where the wait for the reports was given up.
        let _ = self.sink.send((*place, result));
    }
}

/// Sends records back. Calls block.
pub struct ReplayProducer {
    client: ThreadedProducer<Reports>,
    complaints: Complaints,
    reports: Receiver<(usize, Result<i64, KafkaError>)>,
    /// The topics that were asked about, with their partitions; 0 where there is none.
    partitions: BTreeMap<String, u32>,
}

impl ReplayProducer {
    /// # Errors
    /// `Fatal` where librdkafka refuses the configuration.
    pub fn new(connection: &ConnectionSettings) -> Result<Self, Failure> {
        let complaints = Complaints::default();
        let (sink, reports) = mpsc::channel();
        let client = config::dead_letter_producer(connection, DELIVERY_TIMEOUT)
            .create_with_context(Reports { complaints: complaints.clone(), sink })
            .map_err(|error| failure_from(OPERATION, "a producer could not be made", &error))?;
        Ok(Self { client, complaints, reports, partitions: BTreeMap::new() })
    }

    /// Where the letter's record goes back to.
    ///
    /// # Errors
    /// Whatever the brokers say of the topic, classified.
    pub fn way_back(&mut self, letter: &DeadLetter) -> Result<WayBack, Failure> {
        if let Some(what) = letter.omitted_body() {
            return Ok(WayBack::Closed(NoWayBack::BodyOmitted(what.to_owned())));
        }
        let (Some(topic), Some(was)) = (letter.source_topic(), letter.source_partition()) else {
            return Ok(WayBack::Closed(NoWayBack::NoOrigin));
        };
        let partitions = self.partitions_of(topic)?;
        if partitions == 0 {
            return Ok(WayBack::Closed(NoWayBack::NoTopic(topic.to_owned())));
        }
        let belongs = partition_of(&letter.record.key, partitions);
        if belongs != was {
            let topic = topic.to_owned();
            return Ok(WayBack::Closed(NoWayBack::OtherPartition { topic, partitions, was, belongs }));
        }
        Ok(WayBack::Open { topic: topic.into(), partition: was })
    }

    /// All topics are asked for, since asking for one by name may make it.
    fn partitions_of(&mut self, topic: &str) -> Result<u32, Failure> {
        if let Some(known) = self.partitions.get(topic) {
            return Ok(*known);
        }
        let metadata = self.client.client().fetch_metadata(None, REQUEST_TIMEOUT).map_err(|error| {
            let failed = failure_from(OPERATION, "the brokers did not list their topics", &error);
            self.complaints.explain(failed)
        })?;
        let listed = metadata.topics().iter().find(|listed| listed.name() == topic);
        let count = listed.map_or(0, |listed| listed.partitions().len());
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.partitions.insert(topic.to_owned(), count);
        Ok(count)
    }

    /// Sends the letters' records, in this order, and waits until all in-sync replicas have them. For each the offset
    /// that it has got, or why nobody knows that it is there.
    pub fn send(&mut self, letters: &[(&DeadLetter, &str, i32)]) -> Vec<Result<i64, Failure>> {
        let mut told: Vec<Option<Result<i64, KafkaError>>> = letters.iter().map(|_| None).collect();
        let mut awaited = 0;
        for (place, (letter, topic, partition)) in letters.iter().enumerate() {
            let mut record = BaseRecord::with_opaque_to(topic, Box::new(place))
                .partition(*partition)
                .key(&letter.record.key[..])
                .headers(replayed(&letter.record.headers));
            if let Some(value) = &letter.record.value {
                record = record.payload(&value[..]);
            }
            match self.client.send(record) {
                Ok(()) => awaited += 1,
                Err((error, _)) => told[place] = Some(Err(error)),
            }
        }
        // librdkafka reports each message within its delivery time-out; a client that died reports none.
        let until = Instant::now() + DELIVERY_TIMEOUT + REPORT_SLACK;
        while awaited > 0 {
            let left = until.saturating_duration_since(Instant::now());
            let Ok((place, result)) = self.reports.recv_timeout(left) else { break };
            if let Some(slot) = told.get_mut(place) {
                *slot = Some(result);
            }
            awaited -= 1;
        }
        let explained = |(told, (_, topic, partition)): (_, &(&DeadLetter, &str, i32))| {
            let what = format!("a record was not sent back to {topic}/{partition}");
            match told {
                Some(Ok(offset)) => Ok(offset),
                Some(Err(error)) => Err(self.complaints.explain(failure_from(OPERATION, &what, &error))),
                None => Err(Failure::new(
                    Fault::Transient,
                    OPERATION,
                    format!("{what}: the client did not report within its time; try again"),
                )),
            }
        };
        told.into_iter().zip(letters).map(explained).collect()
    }
}
