//! What the tests share: the mock cluster with clients of ours on it, and a plain reader that uses none of the crate's
//! code.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cdc_event::{Message, Position};
use cdc_kafka::{
    Compression, ConnectionSettings, ConsumerSettings, KafkaConsumer, KafkaProducer, ProducerSettings,
};
use cdc_machine::SeqNo;
use cdc_ports::{ConsumerEvent, Producer as _, ProducerReport, RecordConsumer as _, ReportSink};
use cdc_syncer::Partition;
use cdc_watcher::Batching;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Longer than anything here takes; a test that waits for it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The topic of the tests that need one.
pub(crate) const TOPIC: &str = "t";

/// As the configuration says.
pub(crate) const SHARED: Batching = Batching::Shared { halvings: 0 };

/// A cluster of one broker, and how to reach it.
pub(crate) struct Mock {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    pub(crate) brokers: String,
}

impl Mock {
    /// One with [`TOPIC`], which has so many partitions.
    pub(crate) fn with_topic(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, partitions, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        Self { cluster, brokers }
    }

    /// A producer that is not prepared, and where its reports go.
    pub(crate) fn producer_with(
        &self,
        change: impl FnOnce(&mut ProducerSettings),
    ) -> (KafkaProducer, Arc<ReportSink>) {
        let mut settings = producer_settings(&self.brokers, TOPIC);
        change(&mut settings);
        let sink = Arc::new(ReportSink::default());
        (KafkaProducer::new(settings, Arc::clone(&sink)), sink)
    }

    /// One that can send.
    pub(crate) async fn producer(&self) -> (KafkaProducer, Arc<ReportSink>) {
        let (mut producer, sink) = self.producer_with(|_| {});
        producer.prepare(SHARED).await.unwrap();
        (producer, sink)
    }

    /// Sends messages with these numbers, and waits until they are there.
    pub(crate) async fn produce(&self, numbers: std::ops::Range<u64>) {
        let (mut producer, sink) = self.producer_with(|_| {});
        let partitions = producer.prepare(SHARED).await.unwrap()[0].partitions;
        let count = usize::try_from(numbers.end - numbers.start).unwrap();
        for n in numbers {
            producer.send(SeqNo(n), message(TOPIC, n, n), partitions).unwrap();
        }
        reports(&sink, count).await;
    }

    /// A consumer that has not joined.
    pub(crate) fn consumer(&self, instance: &str) -> KafkaConsumer {
        KafkaConsumer::new(consumer_settings(&self.brokers, TOPIC, instance))
    }

    /// A member of the group.
    pub(crate) async fn member(&self, instance: &str) -> KafkaConsumer {
        let consumer = self.consumer(instance);
        consumer.join().await.unwrap();
        consumer
    }

    /// The first member, with all that the group has to give.
    pub(crate) async fn first_member(&self) -> (KafkaConsumer, Vec<Partition>) {
        let consumer = self.member("a").await;
        let partitions = assigned(&consumer).await;
        (consumer, partitions)
    }
}

/// What a consumer tells next.
pub(crate) async fn event(consumer: &KafkaConsumer) -> ConsumerEvent {
    tokio::time::timeout(PATIENCE, consumer.event()).await.expect("the consumer says nothing")
}

/// The partitions that the group gives.
pub(crate) async fn assigned(consumer: &KafkaConsumer) -> Vec<Partition> {
    match event(consumer).await {
        ConsumerEvent::Assigned(partitions) => partitions,
        other => panic!("{other:?}"),
    }
}

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
    with_value(topic, key, n, n.to_string().as_bytes())
}

/// The same with this value.
pub(crate) fn with_value(topic: &str, key: u64, n: u64, value: &[u8]) -> Message {
    Message::new(Arc::from(topic), format!("\"k{key}\"").as_bytes(), value, position(n))
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
