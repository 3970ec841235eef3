//! What librdkafka's idempotent producer does not promise. The Watcher's token covers an unbroken prefix of
//! delivered messages because of the first test, and a drain waits for reports because of the second. If an
//! upstream fix ever makes one of these fail, the rule that leans on it may be looked at again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use cdc_kafka::KafkaProducer;
use cdc_machine::SeqNo;
use cdc_ports::{Producer, ProducerReport, ReportSink};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use common::{PATIENCE, SHARED, message, producer_settings, read_numbers, reports};

/// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
/// Validates: Requirements 3.3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_is_skipped_and_later_ones_go_through() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let sink = Arc::new(ReportSink::default());
    let mut producer = KafkaProducer::new(producer_settings(&brokers, "t"), Arc::clone(&sink));
    producer.prepare(SHARED).await.unwrap();

    producer.send(SeqNo(0), message("t", 0, 0), 1).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Delivered(SeqNo(0))]));

    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    producer.send(SeqNo(1), message("t", 0, 1), 1).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Failed(SeqNo(1), _)]));

    producer.send(SeqNo(2), message("t", 0, 2), 1).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Delivered(SeqNo(2))]));

    assert_eq!(read_numbers(&brokers, "t", 0), [0, 2], "the log has a gap and nobody was told of an error");
}

#[test]
fn a_dropped_producer_loses_what_it_has_queued() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "60000")
        .create()
        .unwrap();
    for _ in 0..100 {
        producer.send(BaseRecord::<[u8], str>::to("t").payload("x")).unwrap();
    }
    drop(producer);

    let reader: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    assert_eq!(reader.fetch_watermarks("t", 0, PATIENCE).unwrap(), (0, 0));
}
