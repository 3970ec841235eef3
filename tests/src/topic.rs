//! A reader of the topic that shares no code with the pipeline: a plain consumer, plain JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::Failure;

const TIMEOUT: Duration = Duration::from_secs(20);

/// One message, as anybody would read it.
#[derive(Clone, Debug)]
pub struct TopicMessage {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key, as text.
    pub key: String,
    /// Its value, as JSON.
    pub value: Value,
    /// When it was handed to the producer, Unix milliseconds.
    pub timestamp_ms: i64,
    /// The header `cdc-position`.
    pub position_header: Option<String>,
}

/// What identifies a change for somebody who does not know the pipeline's ids: the same change has the same
/// cluster time, document and operation. A transaction may change one document several times at one
/// cluster time, so these are counted, not merely collected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeName {
    /// Seconds and increment of the cluster time.
    pub time: (u64, u64),
    /// The collection.
    pub collection: String,
    /// The document's `_id`, as text.
    pub id: String,
    /// What the change stream calls the operation.
    pub operation: String,
}

/// Topics, partitions, and an offset in each.
pub type Offsets = BTreeMap<String, BTreeMap<i32, i64>>;

impl TopicMessage {
    /// The change that the message tells.
    #[must_use]
    pub fn change(&self) -> ChangeName {
        let time = |part: &str| self.value["cluster_time"][part].as_u64().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        ChangeName {
            time: (time("t"), time("i")),
            collection: text(&self.value["namespace"]["collection"]),
            id: text(&self.value["document_key"]["_id"]),
            operation: text(&self.value["operation_type"]),
        }
    }
}

/// Reads everything that the topic holds now, each partition in order.
///
/// # Errors
/// Whatever the broker says, or a value that is not JSON.
pub fn read_all(brokers: &str, topic: &str) -> Result<Vec<TopicMessage>, Failure> {
    read_from(brokers, topic, &BTreeMap::new())
}

/// Reads everything that the topics hold now from these offsets on, from the beginning where none is given, one topic
/// after the other, each partition in order.
///
/// # Errors
/// Whatever the broker says, or a value that is not JSON.
pub fn read_topics(brokers: &str, topics: &[String], starts: &Offsets) -> Result<Vec<TopicMessage>, Failure> {
    let read = read_raw_topics(brokers, topics, starts)?;
    read.iter()
        .map(|message| {
            Ok(TopicMessage {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                offset: message.offset(),
                key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
                value: serde_json::from_slice(message.payload().unwrap_or(b"null"))?,
                timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
                position_header: headers_of(message).remove("cdc-position"),
            })
        })
        .collect()
}

/// The end offset of each partition of these topics.
///
/// # Errors
/// Whatever the broker says.
pub fn ends_of(brokers: &str, topics: &[String]) -> Result<Offsets, Failure> {
    topics.iter().map(|topic| Ok((topic.clone(), ends(brokers, topic)?))).collect()
}

/// The end offset of each of the topic's partitions.
///
/// # Errors
/// Whatever the broker says.
pub fn ends(brokers: &str, topic: &str) -> Result<BTreeMap<i32, i64>, Failure> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    partitions
        .map(|partition| Ok((partition.id(), consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?.1)))
        .collect()
}

/// Sets one property of a topic.
///
/// # Errors
/// Whatever the broker says.
pub async fn configure(
    brokers: &str,
    topic: &str,
    name: &'static str,
    value: &'static str,
) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let wanted = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let answers = admin.alter_configs([&wanted], &AdminOptions::new()).await?;
    answers.into_iter().find_map(Result::err).map_or(Ok(()), |(_, code)| Err(code.to_string().into()))
}

/// Reads everything from these offsets on, from the beginning where none is given, each partition in order.
///
/// # Errors
/// Whatever the broker says, or a value that is not JSON.
pub fn read_from(
    brokers: &str,
    topic: &str,
    starts: &BTreeMap<i32, i64>,
) -> Result<Vec<TopicMessage>, Failure> {
    read_topics(brokers, &[topic.to_owned()], &Offsets::from([(topic.to_owned(), starts.clone())]))
}

/// A message's headers, as text.
#[must_use]
pub fn headers_of(message: &OwnedMessage) -> BTreeMap<String, String> {
    let all = message.headers().into_iter().flat_map(Headers::iter);
    all.map(|header| {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
        (header.key.to_owned(), value)
    })
    .collect()
}

/// The same as [`read_from`] for messages that need not be JSON. Nothing where there is no such topic.
///
/// # Errors
/// Whatever the broker says.
pub fn read_raw(
    brokers: &str,
    topic: &str,
    starts: &BTreeMap<i32, i64>,
) -> Result<Vec<OwnedMessage>, Failure> {
    read_raw_topics(brokers, &[topic.to_owned()], &Offsets::from([(topic.to_owned(), starts.clone())]))
}

/// All partitions at once: one after the other, each would wait for a fetch of its own.
fn read_raw_topics(brokers: &str, topics: &[String], starts: &Offsets) -> Result<Vec<OwnedMessage>, Failure> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "an-independent-reader")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()?;
    let mut assignment = TopicPartitionList::new();
    let mut unfinished = BTreeMap::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?;
            let start = starts.get(topic).and_then(|starts| starts.get(&partition.id())).copied();
            let start = start.unwrap_or_default().max(low);
            if start < high {
                assignment.add_partition_offset(topic, partition.id(), Offset::Offset(start))?;
                unfinished.insert((topic.clone(), partition.id()), high);
            }
        }
    }
    consumer.assign(&assignment)?;
    let mut messages: BTreeMap<(String, i32), Vec<OwnedMessage>> = BTreeMap::new();
    while !unfinished.is_empty() {
        let message = consumer.poll(TIMEOUT).ok_or_else(|| format!("{unfinished:?} did not give all"))??;
        let place = (message.topic().to_owned(), message.partition());
        // What came after the look at the ends is not asked for.
        let Some(high) = unfinished.get(&place).copied() else { continue };
        if message.offset() < high {
            messages.entry(place.clone()).or_default().push(message.detach());
        }
        if message.offset() + 1 >= high {
            unfinished.remove(&place);
        }
    }
    Ok(messages.into_values().flatten().collect())
}

/// How many messages the topic holds: the sum of its partitions' end offsets less their beginnings.
///
/// # Errors
/// Whatever the broker says.
pub fn count(brokers: &str, topic: &str) -> Result<i64, Failure> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let mut total = 0;
    for found in metadata.topics() {
        for partition in found.partitions() {
            let (low, high) = consumer.fetch_watermarks(topic, partition.id(), TIMEOUT)?;
            total += high - low;
        }
    }
    Ok(total)
}

/// The first offset of each partition that a group has not committed yet; `None` where it never committed.
///
/// # Errors
/// Whatever the broker says.
pub fn committed(brokers: &str, topic: &str, group: &str) -> Result<BTreeMap<i32, Option<i64>>, Failure> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", group).create()?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    let mut asked = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
        asked.add_partition(topic, partition.id());
    }
    let answered = consumer.committed_offsets(asked, TIMEOUT)?;
    Ok(answered
        .elements()
        .iter()
        .map(|element| {
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            };
            (element.partition(), offset)
        })
        .collect())
}
