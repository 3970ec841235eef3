//! What librdkafka's idempotent producer does not promise. The Watcher's token covers an unbroken prefix of
//! delivered messages because of the first test, and a drain waits for reports because of the second. If an
//! upstream fix ever makes one of these fail, the rule that leans on it may be looked at again.

use cdc_machine::SeqNo;
use cdc_ports::{Producer as _, ProducerReport};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::kit::{Mock, PATIENCE, TOPIC, message, read_numbers, reports};

/// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
/// Validates: Requirements 3.3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_is_skipped_and_later_ones_go_through() {
    let mock = Mock::with_topic(1);
    let (mut producer, sink) = mock.producer().await;

    producer.send(SeqNo(0), message(TOPIC, 0, 0), 1).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Delivered(SeqNo(0))]));

    mock.cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    producer.send(SeqNo(1), message(TOPIC, 0, 1), 1).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Failed(SeqNo(1), _)]));

    producer.send(SeqNo(2), message(TOPIC, 0, 2), 1).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Delivered(SeqNo(2))]));

    assert_eq!(
        read_numbers(&mock.brokers, TOPIC, 0),
        [0, 2],
        "the log has a gap and nobody was told of an error"
    );
}

#[test]
fn a_dropped_producer_loses_what_it_has_queued() {
    let mock = Mock::with_topic(1);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &mock.brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "60000")
        .create()
        .unwrap();
    for _ in 0..100 {
        producer.send(BaseRecord::<[u8], str>::to(TOPIC).payload("x")).unwrap();
    }
    drop(producer);

    let reader: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &mock.brokers).create().unwrap();
    assert_eq!(reader.fetch_watermarks(TOPIC, 0, PATIENCE).unwrap(), (0, 0));
}
