//! What the tests of this crate share: settings for librdkafka's own mock cluster, and a plain reader that
//! uses none of the crate's code.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cdc_event::{Message, Position};
use cdc_kafka::{Compression, ConnectionSettings, ConsumerSettings, ProducerSettings};
use cdc_ports::{ProducerReport, ReportSink};
use cdc_watcher::Batching;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Longer than anything here takes; a test that waits for it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Of the topics that messages are sent to, unless a test says otherwise.
pub(crate) const PARTITIONS: u32 = 4;

/// As the configuration says.
pub(crate) const SHARED: Batching = Batching::Shared { halvings: 0 };

pub(crate) fn connection(brokers: &str) -> ConnectionSettings {
    ConnectionSettings {
        brokers: vec![brokers.to_owned()],
        client_id: "test".to_owned(),
        properties: Vec::new(),
    }
}

pub(crate) fn producer_settings(brokers: &str, topic: &str) -> ProducerSettings {
    ProducerSettings {
        connection: connection(brokers),
        topics: vec![Arc::from(topic)],
        partitions: 4,
        replication_factor: 1,
        compression: Compression::Snappy,
        batch_size: 100,
        batch_timeout: Duration::from_millis(5),
        delivery_timeout: Duration::from_secs(20),
        max_in_flight_events: 10_000,
        max_in_flight_bytes: 32 << 20,
        // The mock cluster never answers that question.
        limits_timeout: Duration::from_millis(10),
        dead_letter_topic: None,
    }
}

pub(crate) fn consumer_settings(brokers: &str, topic: &str, instance: &str) -> ConsumerSettings {
    ConsumerSettings {
        connection: connection(brokers),
        topics: vec![topic.to_owned()],
        group: "group".to_owned(),
        instance: instance.to_owned(),
        session_timeout: ConsumerSettings::SESSION_TIMEOUT,
        dead_letter_topic: "{topic}.dead-letters".to_owned(),
        replication_factor: 1,
    }
}

pub(crate) fn position(n: u64) -> Position {
    Position::from_bytes(&n.to_be_bytes()).unwrap()
}

pub(crate) fn message(topic: &str, key: u64, n: u64) -> Message {
    Message {
        topic: Arc::from(topic),
        key: Bytes::from(format!("\"k{key}\"")),
        value: Bytes::from(n.to_string()),
        position: position(n),
    }
}

/// The next `count` reports.
pub(crate) async fn reports(sink: &ReportSink, count: usize) -> Vec<ProducerReport> {
    let mut all = Vec::new();
    let mut taken = Vec::new();
    while all.len() < count {
        tokio::time::timeout(PATIENCE, sink.take(&mut taken)).await.unwrap();
        all.append(&mut taken);
    }
    all
}

/// Everything in a topic's partition, from its start to its present end.
pub(crate) fn read_partition(brokers: &str, topic: &str, partition: i32) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let (start, end) = consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let mut read = Vec::new();
    let until = Instant::now() + PATIENCE;
    let mut next = start;
    while next < end {
        assert!(Instant::now() < until, "read {} of {end} messages of {topic}/{partition}", read.len());
        if let Some(polled) = consumer.poll(Duration::from_millis(100)) {
            let polled = polled.unwrap().detach();
            next = polled.offset() + 1;
            read.push(polled);
        }
    }
    read
}

/// The values of [`read_partition`] as numbers.
pub(crate) fn read_numbers(brokers: &str, topic: &str, partition: i32) -> Vec<u64> {
    read_partition(brokers, topic, partition)
        .iter()
        .map(|message| std::str::from_utf8(message.payload().unwrap()).unwrap().parse().unwrap())
        .collect()
}
