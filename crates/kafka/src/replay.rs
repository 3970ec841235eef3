//! Sends dead letters' records back to the topics and partitions that they were read from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cdc_machine::Fault;
use cdc_ports::Failure;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer as _};

use crate::answered_producer::{Answer, AnsweredProducer, answered_producer};
use crate::classify::failure_from;
use crate::dead_letter::replayed;
use crate::dead_letter_reader::DeadLetter;
use crate::partitioner::partition_of;
use crate::settings::ConnectionSettings;
use crate::topics::listed;

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

/// Sends records back. Calls block.
pub struct ReplayProducer {
    client: AnsweredProducer,
    /// The topics that were asked about, with their partitions; 0 where there is none.
    partitions: BTreeMap<String, u32>,
}

impl ReplayProducer {
    /// # Errors
    /// `Fatal` where librdkafka refuses the configuration.
    pub fn new(connection: &ConnectionSettings) -> Result<Self, Failure> {
        let client = answered_producer(connection, DELIVERY_TIMEOUT, OPERATION)?;
        Ok(Self { client, partitions: BTreeMap::new() })
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
        let belongs = partition_of(letter.record.key(), partitions);
        if belongs != was {
            let topic = topic.to_owned();
            return Ok(WayBack::Closed(NoWayBack::OtherPartition { topic, partitions, was, belongs }));
        }
        Ok(WayBack::Open { topic: topic.into(), partition: was })
    }

    fn partitions_of(&mut self, topic: &str) -> Result<u32, Failure> {
        if let Some(known) = self.partitions.get(topic) {
            return Ok(*known);
        }
        let listed = listed(self.client.client(), OPERATION, REQUEST_TIMEOUT)
            .map_err(|failed| self.client.context().explain(failed))?;
        let count = listed.get(topic).map_or(0, Vec::len);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.partitions.insert(topic.to_owned(), count);
        Ok(count)
    }

    /// Sends the letters' records, in this order, and waits until all in-sync replicas have them. For each the offset
    /// that it has got, or why nobody knows that it is there.
    pub fn send(&mut self, letters: &[(&DeadLetter, &str, i32)]) -> Vec<Result<i64, Failure>> {
        let mut told: Vec<Option<Result<i64, KafkaError>>> = letters.iter().map(|_| None).collect();
        let mut awaited = 0;
        // Of this call alone: a report that comes too late for an earlier one is no answer to this.
        let (sink, reports) = mpsc::channel();
        for (place, (letter, topic, partition)) in letters.iter().enumerate() {
            let sink = sink.clone();
            let answer: Answer = Box::new(move |result| {
                // Nobody listens any more where the wait for the reports was given up.
                let _ = sink.send((place, result));
            });
            let mut record = BaseRecord::with_opaque_to(topic, Box::new(answer))
                .partition(*partition)
                .key(letter.record.key())
                .headers(replayed(letter.record.headers()));
            if let Some(value) = letter.record.value() {
                record = record.payload(value);
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
            let Ok((place, result)) = reports.recv_timeout(left) else { break };
            if let Some(slot) = told.get_mut(place) {
                *slot = Some(result);
            }
            awaited -= 1;
        }
        let explained = |(told, (_, topic, partition)): (_, &(&DeadLetter, &str, i32))| {
            let what = format!("a record was not sent back to {topic}/{partition}");
            match told {
                Some(Ok(offset)) => Ok(offset),
                Some(Err(error)) => {
                    Err(self.client.context().explain(failure_from(OPERATION, &what, &error)))
                }
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
