//! Sampled messages.

use std::time::SystemTime;

use cdc_event::{EventTrace, TraceContext};
use cdc_machine::SeqNo;
use cdc_ports::{Producer as _, ProducerReport, RecordConsumer as _};
use cdc_syncer::StartOffset;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::consumer::{fetch, starts};
use crate::kit::{Mock, PATIENCE, TOPIC, message, position, read_partition, reports};

/// Its report says where it stands and when that was told, and the record that a consumer is given leads back to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_message_carries_its_trace_and_no_other_does() {
    let mock = Mock::with_topic(1);
    let (mut producer, sink) = mock.producer().await;
    let context = TraceContext::of_event(&position(2), 1, true);
    let (committed, state) = (SystemTime::now(), Some(Box::from("a=1")));
    let trace = EventTrace {
        context,
        parent: None,
        state,
        database: Box::from("d"),
        collection: Box::from("c"),
        operation: "insert",
        committed,
        read: committed,
        encoded: committed,
    };
    producer.send(SeqNo(1), message(TOPIC, 1, 1), 1).unwrap();
    let mut sampled = message(TOPIC, 1, 2);
    sampled.trace = Some(Box::new(trace));
    producer.send(SeqNo(2), sampled, 1).unwrap();
    let told = reports(&sink, 2).await;
    let [ProducerReport::Delivered(SeqNo(1)), ProducerReport::DeliveredSampled(SeqNo(2), at)] = told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((at.partition, at.offset), (0, 1));
    assert!(at.at >= committed);

    let read = read_partition(&mock.brokers, TOPIC, 0);
    let headers = read.iter().map(|message| {
        let all = message.headers().unwrap().iter();
        all.skip(3).map(|it| (it.key.to_owned(), it.value.unwrap().to_vec())).collect::<Vec<_>>()
    });
    let text = context.text().as_str().as_bytes().to_vec();
    let carried = vec![("traceparent".to_owned(), text), ("tracestate".to_owned(), b"a=1".to_vec())];
    assert_eq!(headers.collect::<Vec<_>>(), [vec![], carried]);

    let foreign = OwnedHeaders::new().insert(Header { key: "traceparent", value: Some("of another kind") });
    let client: BaseProducer = ClientConfig::new().set("bootstrap.servers", &mock.brokers).create().unwrap();
    client.send(BaseRecord::to(TOPIC).key("k").payload("3").headers(foreign)).unwrap();
    client.flush(PATIENCE).unwrap();
    let (consumer, partitions) = mock.first_member().await;
    consumer.start(&starts(&partitions, 1, StartOffset::Beginning));
    let records = fetch(&consumer, 3).await;
    let traces: Vec<_> = records.iter().map(|record| record.handle.trace.as_deref()).collect();
    assert_eq!(
        traces.iter().map(|trace| trace.map(|it| it.context)).collect::<Vec<_>>(),
        [None, Some(context), None]
    );
    assert!(traces[1].unwrap().fetched >= committed);
}
