//! What the topics' ends tell: the greatest lineage that anything in them was written under.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cdc_machine::{Fault, Lineage};
use cdc_ports::Failure;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::classify::failure_from;
use crate::client_errors::ClientErrors;
use crate::config;
use crate::guarded::ClientKind;
use crate::marker;
use crate::settings::ConnectionSettings;
use crate::topics::listed;

const OPERATION: &str = "kafka_ends";
/// The longest silence while the topics' ends are read, and the longest that all of them may take: the last messages of
/// many topics may be large.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const ENDS_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that the list of topics may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for one message.
const POLL: Duration = Duration::from_millis(200);
/// How many of a partition's last messages are looked at. Where none of them carries a position, they are other
/// writers' or transaction markers, and the next number counts.
const LAST_MESSAGES: [i64; 3] = [4, 64, 1_024];

/// Reads the ends of topics. Nothing is committed, and no group is joined.
pub(crate) struct Ends {
    consumer: BaseConsumer<ClientErrors>,
    deadline: Instant,
}

impl Ends {
    /// # Errors
    /// `Fatal` where librdkafka refuses the configuration.
    pub(crate) fn new(connection: &ConnectionSettings) -> Result<Self, Failure> {
        let consumer =
            config::ends(connection).create_with_context(ClientErrors::default()).map_err(|error| {
                failure_from(OPERATION, "a reader of the topics' ends could not be made", &error)
            })?;
        Ok(Self { consumer, deadline: Instant::now() + ENDS_TIMEOUT })
    }

    /// The greatest lineage among a topic's last messages. `None` where nothing there has one, or where the
    /// brokers do not let us read, which is said.
    ///
    /// # Errors
    /// Whatever else the brokers say, classified; `Transient` at the deadline.
    pub(crate) fn lineage(&self, topic: &str, partitions: i32) -> Result<Option<Lineage>, Failure> {
        let mut greatest = None;
        let mut left: BTreeSet<i32> = (0..partitions).collect();
        for count in LAST_MESSAGES {
            match self.look(topic, &mut left, count) {
                Ok(found) => greatest = greatest.max(found),
                Err(failed) if failed.fault == Fault::Auth => {
                    tracing::warn!(
                        topic,
                        error = %failed.chain(),
                        "the topic's end cannot be read; grant Read on it. Without it a token record that is made \
                         anew goes by this machine's clock, and rows of a later lineage would keep its events off"
                    );
                    return Ok(greatest);
                }
                Err(failed) => return Err(failed),
            }
            if left.is_empty() {
                break;
            }
        }
        Ok(greatest)
    }

    /// Looks at the last `count` messages of the partitions that are `left`, and leaves those of which more is
    /// to be seen.
    fn look(&self, topic: &str, left: &mut BTreeSet<i32>, count: i64) -> Result<Option<Lineage>, Failure> {
        let refused = |error: &KafkaError| {
            failure_from(OPERATION, &format!("the end of {topic} could not be read"), error)
        };
        let mut assignment = TopicPartitionList::new();
        for partition in left.iter() {
            assignment
                .add_partition_offset(topic, *partition, Offset::OffsetTail(count))
                .map_err(|error| refused(&error))?;
        }
        self.consumer.assign(&assignment).map_err(|error| refused(&error))?;
        let mut open = std::mem::take(left);
        let mut found = BTreeMap::<i32, Option<Lineage>>::new();
        let mut heard = Instant::now();
        while !open.is_empty() {
            let silence = heard.elapsed();
            if silence > SILENCE_MAX || Instant::now() > self.deadline {
                let text = format!(
                    "the end of {topic} was not read: nothing came for {} s, or all topics' ends took longer than {} s; \
                     trying again",
                    silence.as_secs(),
                    ENDS_TIMEOUT.as_secs()
                );
                return Err(Failure::new(Fault::Transient, OPERATION, text));
            }
            match self.consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let greatest = found.entry(message.partition()).or_default();
                    *greatest = lineage(&message).max(*greatest);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    open.remove(&partition);
                }
                // A broker that is being elected is asked again by the client itself, until the deadline.
                Some(Err(error)) => {
                    let failed = refused(&error);
                    if failed.fault != Fault::Transient {
                        return Err(failed);
                    }
                }
            }
        }
        left.extend(found.iter().filter(|(_, greatest)| greatest.is_none()).map(|(partition, _)| *partition));
        Ok(found.into_values().flatten().max())
    }
}

/// The lineage of the position in a message's header; none of ours has none.
fn lineage(message: &BorrowedMessage<'_>) -> Option<Lineage> {
    marker::position_of(message)?.lineage().map(Lineage)
}

/// The greatest lineage at the ends of these topics, for a record that is made anew while no Watcher runs.
/// Topics that are not there have none.
///
/// # Errors
/// Whatever the brokers say, classified.
pub async fn lineage_at_ends(
    connection: ConnectionSettings,
    topics: Vec<Arc<str>>,
) -> Result<Option<Lineage>, Failure> {
    let read = tokio::task::spawn_blocking(move || {
        config::check_properties(ClientKind::Producer, &connection)?;
        let ends = Ends::new(&connection)?;
        let listed = listed(ends.consumer.client(), OPERATION, METADATA_TIMEOUT)?;
        let mut greatest = None;
        for (topic, partitions) in &listed {
            if topics.iter().any(|wanted| **wanted == **topic) {
                let partitions = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
                greatest = greatest.max(ends.lineage(topic, partitions)?);
            }
        }
        Ok(greatest)
    });
    read.await.unwrap_or_else(|panic| {
        let text = "reading the topics' ends panicked, which is a bug";
        Err(Failure::new(Fault::Bug, OPERATION, text).because(panic))
    })
}
