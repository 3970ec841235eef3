//! The producer.

use std::sync::Arc;
use std::time::Duration;

use cdc_event::{Message, Position};
use cdc_kafka::KafkaProducer;
use cdc_machine::{Fault, Lineage, SeqNo};
use cdc_ports::{Producer as _, ProducerReport, SendRefused};
use cdc_watcher::{Batching, TopicState};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::kit::{
    Mock, PATIENCE, SHARED, TOPIC, connection, message, position, producer_settings, read_numbers,
    read_partition, reports, with_value,
};

/// Of the topics that messages are sent to, unless a test says otherwise.
const PARTITIONS: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_partition_arrive_in_the_order_of_sending() {
    const MESSAGES: u64 = 5_000;
    let mock = Mock::with_topic(4);
    // Retried requests are where an order would be lost.
    mock.cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
        ],
    );
    let (mut producer, sink) = mock.producer_with(|_| {});
    let found = TopicState { partitions: 4, was_made: false, holds_messages: false, lineage: None };
    assert_eq!(producer.prepare(SHARED).await.unwrap(), [found]);
    for n in 0..MESSAGES {
        producer.send(SeqNo(n), message(TOPIC, n % 37, n), PARTITIONS).unwrap();
    }
    let mut delivered: Vec<u64> = reports(&sink, 5_000)
        .await
        .into_iter()
        .map(|report| match report {
            ProducerReport::Delivered(seq) => seq.0,
            other => panic!("{other:?}"),
        })
        .collect();
    delivered.sort_unstable();
    assert!(delivered.iter().copied().eq(0..MESSAGES), "each message is reported once");

    let mut all = 0;
    for partition in 0..4 {
        let read = read_numbers(&mock.brokers, TOPIC, partition);
        assert!(read.is_sorted(), "partition {partition} is out of order");
        all += read.len();
    }
    assert_eq!(all, 5_000);
    assert_eq!(producer.prepare(SHARED).await.unwrap(), [TopicState { holds_messages: true, ..found }]);
    producer.send(SeqNo(MESSAGES), message(TOPIC, 1, MESSAGES), PARTITIONS).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Delivered(SeqNo(MESSAGES))]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_carries_its_headers() {
    let mock = Mock::with_topic(1);
    let (mut producer, sink) = mock.producer().await;
    producer.send(SeqNo(7), message(TOPIC, 1, 0xab), 1).unwrap();
    reports(&sink, 1).await;
    let read = read_partition(&mock.brokers, TOPIC, 0);
    let headers: Vec<_> = read[0]
        .headers()
        .unwrap()
        .iter()
        .map(|header| (header.key.to_owned(), String::from_utf8(header.value.unwrap().to_vec()).unwrap()))
        .collect();
    let expected =
        [("cdc-position", "00000000000000ab"), ("cdc-version", "1"), ("content-type", "application/json")];
    assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(read[0].key(), Some(&b"\"k1\""[..]));
}

/// Feature: cdc-pipeline, Property 7: Async Producer Non-Blocking Behavior
/// Validates: Requirements 3.2
///
/// A hundred lots of messages of any sizes for a broker that is away: each is taken before there is any answer. Were
/// there a wait for one, it would never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sending_waits_for_no_answer() {
    let mock = Mock::with_topic(4);
    let (mut producer, sink) = mock.producer().await;
    mock.cluster.broker_down(1).unwrap();
    for case in 0..100 {
        let mut rng = fastrand::Rng::with_seed(case);
        let mut taken = Vec::new();
        for n in 0..rng.u64(1..60) {
            let message = with_value(TOPIC, rng.u64(0..9), n, &vec![b'x'; rng.usize(0..5_000)]);
            let seq = SeqNo(case * 1_000 + n);
            producer.send(seq, message, PARTITIONS).unwrap();
            taken.push(seq);
        }
        let mut early = Vec::new();
        let answer = tokio::time::timeout(Duration::ZERO, sink.take(&mut early)).await;
        assert!(answer.is_err() && early.is_empty(), "case {case}: {early:?}");
        producer.purge_queued();
        let mut failed: Vec<SeqNo> = reports(&sink, taken.len())
            .await
            .into_iter()
            .map(|report| match report {
                ProducerReport::Failed(seq, _) => seq,
                other => panic!("case {case}: {other:?}"),
            })
            .collect();
        failed.sort_unstable();
        assert_eq!(failed, taken, "case {case}");
    }
}

/// Feature: cdc-pipeline, Property 7: Async Producer Non-Blocking Behavior
/// Validates: Requirements 3.2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purged_messages_are_reported_and_the_producer_goes_on() {
    let mock = Mock::with_topic(1);
    let (mut producer, sink) = mock.producer_with(|settings| {
        settings.batch_timeout = Duration::from_secs(15);
        settings.batch_size = 10_000;
    });
    producer.prepare(SHARED).await.unwrap();
    for n in 0..100 {
        producer.send(SeqNo(n), message(TOPIC, n, n), 1).unwrap();
    }
    producer.purge_queued();
    let mut failed = Vec::new();
    for report in reports(&sink, 100).await {
        match report {
            ProducerReport::Failed(seq, failure) => {
                assert_eq!(failure.fault, Fault::Transient);
                failed.push(seq.0);
            }
            other => panic!("{other:?}"),
        }
    }
    failed.sort_unstable();
    assert!(failed.iter().copied().eq(0..100));

    for n in 100..10_100 {
        producer.send(SeqNo(n), message(TOPIC, n, n), 1).unwrap();
    }
    for report in reports(&sink, 10_000).await {
        assert!(matches!(report, ProducerReport::Delivered(_)), "{report:?}");
    }
    assert!(read_numbers(&mock.brokers, TOPIC, 0).into_iter().eq(100..10_100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_becomes_a_marker_in_the_dead_letters() {
    let mock = Mock::with_topic(1);
    mock.cluster.create_topic("t.dead-letters", 1, 1).unwrap();
    let (mut producer, sink) = mock.producer_with(|settings| {
        settings.dead_letter_topic = Some("{topic}.dead-letters".to_owned());
    });
    producer.prepare(SHARED).await.unwrap();

    // Refused on the spot: larger than the client may send.
    let large = with_value(TOPIC, 1, 1, &vec![b'x'; 65 << 20]);
    let Err(SendRefused::TooLarge(marker)) = producer.send(SeqNo(1), large, 1) else {
        panic!("65 MiB were taken");
    };
    assert_eq!((&*marker.topic, marker.key(), marker.position), (TOPIC, &b"\"k1\""[..], position(1)));
    producer.send_marker(SeqNo(1), *marker).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Delivered(SeqNo(1))]));

    // Refused by the broker, alone in its batch.
    producer.prepare(Batching::Single).await.unwrap();
    mock.cluster
        .request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    producer.send(SeqNo(2), message(TOPIC, 2, 2), 1).unwrap();
    let marker = match reports(&sink, 1).await.pop() {
        Some(ProducerReport::TooLarge(SeqNo(2), marker)) => marker,
        other => panic!("{other:?}"),
    };
    assert_eq!((&*marker.topic, marker.key(), marker.position), (TOPIC, &b"\"k2\""[..], position(2)));
    producer.send_marker(SeqNo(2), marker).unwrap();
    assert!(matches!(reports(&sink, 1).await.as_slice(), [ProducerReport::Delivered(SeqNo(2))]));

    let dead = read_partition(&mock.brokers, "t.dead-letters", 0);
    assert_eq!(dead.len(), 2);
    let header = |name: &str| {
        let headers = dead[0].headers().unwrap();
        let found = headers.iter().find(|header| header.key == name).unwrap();
        String::from_utf8(found.value.unwrap().to_vec()).unwrap()
    };
    assert_eq!(dead[0].payload().unwrap_or_default(), b"");
    assert_eq!(header("cdc-error-reason"), "too_large");
    assert_eq!(header("cdc-source-topic"), TOPIC);
    assert_eq!(header("cdc-position"), position(1).to_string());
    assert!(header("cdc-body-omitted").starts_with("size=68157440, xxh3="));
}

/// A batch that is refused says nothing of its messages, be they documents, markers or control messages. Sent
/// alone, the same messages are judged one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_makes_no_markers_and_a_refused_message_one() {
    const REFUSED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    let mock = Mock::with_topic(1);
    // All of one step share a batch.
    let (mut producer, sink) =
        mock.producer_with(|settings| settings.batch_timeout = Duration::from_millis(200));
    producer.prepare(SHARED).await.unwrap();
    mock.cluster.request_errors(RDKafkaApiKey::Produce, &[REFUSED]);
    for n in 0..20 {
        producer.send(SeqNo(n), message(TOPIC, n, n), 1).unwrap();
    }
    let (queued, failed) = producer.send_control(SeqNo(20), &message("", 0, 20));
    assert!(queued == 1 && failed.is_none(), "{failed:?}");
    for report in reports(&sink, 21).await {
        assert!(
            matches!(&report, ProducerReport::Failed(_, failure) if failure.fault == Fault::TooLarge),
            "{report:?}"
        );
    }

    producer.prepare(Batching::Single).await.unwrap();
    mock.cluster.request_errors(RDKafkaApiKey::Produce, &[REFUSED]);
    for n in 0..20 {
        producer.send(SeqNo(100 + n), message(TOPIC, n, n), 1).unwrap();
    }
    let (mut delivered, mut too_large) = (0, 0);
    for report in reports(&sink, 20).await {
        match report {
            ProducerReport::Delivered(_) => delivered += 1,
            ProducerReport::TooLarge(..) => too_large += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((delivered, too_large), (19, 1));
    // The one that nothing can stand for.
    mock.cluster.request_errors(RDKafkaApiKey::Produce, &[REFUSED]);
    producer.send_control(SeqNo(200), &message("", 0, 20));
    let told = reports(&sink, 1).await;
    assert!(
        matches!(&told[0], ProducerReport::Failed(_, failure) if failure.fault == Fault::Fatal),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_message_stands_in_every_partition_between_its_neighbours() {
    let mock = Mock::with_topic(4);
    let (mut producer, sink) = mock.producer().await;
    let control = Message::new(Arc::from(""), b"cdc.control", b"1000", position(1_000));
    for n in 0..100 {
        producer.send(SeqNo(n), message(TOPIC, n % 37, n), PARTITIONS).unwrap();
    }
    let (queued, failed) = producer.send_control(SeqNo(100), &control);
    assert!(failed.is_none(), "{failed:?}");
    assert_eq!(queued, 4);
    for n in 101..200 {
        producer.send(SeqNo(n), message(TOPIC, n % 37, n), PARTITIONS).unwrap();
    }
    let mut copies = 0;
    for report in reports(&sink, 203).await {
        match report {
            ProducerReport::Delivered(seq) => copies += u32::from(seq == SeqNo(100)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(copies, 4, "each copy has its own report");
    for partition in 0..4 {
        let read = read_numbers(&mock.brokers, TOPIC, partition);
        let at = read.iter().position(|n| *n == 1_000).unwrap();
        assert!(read[..at].iter().all(|n| *n < 100) && read[at + 1..].iter().all(|n| (101..200).contains(n)));
        assert_eq!(read_partition(&mock.brokers, TOPIC, partition)[at].key(), Some(&b"cdc.control"[..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_client_nothing_is_queued() {
    let settings = || producer_settings("127.0.0.1:1", TOPIC);
    let mut producer = KafkaProducer::new(settings(), Arc::default());
    let Err(SendRefused::Failed(failure)) = producer.send(SeqNo(0), message(TOPIC, 0, 0), 1) else {
        panic!("a message went nowhere");
    };
    assert_eq!(failure.fault, Fault::Transient);
    let mut settings = settings();
    settings.connection.properties.push(("acks".to_owned(), "1".to_owned()));
    let failure = KafkaProducer::new(settings, Arc::default()).prepare(SHARED).await.unwrap_err();
    assert_eq!(failure.fault, Fault::Fatal);
}

/// A client that gave itself up is of no more use. The next preparation makes another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fatal_error_the_next_preparation_makes_a_new_producer() {
    let mock = Mock::with_topic(4);
    let (mut producer, sink) = mock.producer_with(|_| {});
    mock.cluster.request_errors(
        RDKafkaApiKey::InitProducerId,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
    );
    producer.prepare(SHARED).await.unwrap();
    // Refused on the spot, or taken and lost: either way it is told, once.
    if producer.send(SeqNo(0), message(TOPIC, 0, 0), PARTITIONS).is_ok() {
        let told = reports(&sink, 1).await;
        assert!(matches!(told[0], ProducerReport::Lost(_) | ProducerReport::Failed(SeqNo(0), _)), "{told:?}");
    }
    producer.prepare(SHARED).await.unwrap();
    producer.send(SeqNo(1), message(TOPIC, 1, 1), PARTITIONS).unwrap();
    let told = reports(&sink, 1).await;
    assert!(matches!(told[0], ProducerReport::Delivered(SeqNo(1))), "{told:?}");
}

/// librdkafka's own partitioner and ours put every key into the same partition: consumers and other producers find
/// a document where they look for it. And where the topic grows, ours goes on as it was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_falls_where_librdkafka_puts_it_and_stays_there() {
    const KEYS: u64 = 3_000;
    const ALL: i32 = 7;
    let mock = Mock::with_topic(ALL);
    mock.cluster.create_topic("theirs", ALL, 1).unwrap();
    // Of every length, since the hash takes four bytes at a time.
    let keyed = |n: u64| {
        let key = "k".repeat(n as usize % 9) + &n.to_string();
        Message::new(Arc::from(TOPIC), key.as_bytes(), n.to_string().as_bytes(), position(n))
    };
    let theirs: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &mock.brokers)
        .set("partitioner", "murmur2_random")
        .create()
        .unwrap();
    for n in 0..KEYS {
        let keyed = keyed(n);
        theirs.send(BaseRecord::to("theirs").key(keyed.key()).payload(keyed.value())).unwrap();
    }
    theirs.flush(PATIENCE).unwrap();

    let (mut producer, sink) = mock.producer().await;
    for n in 0..KEYS {
        producer.send(SeqNo(n), keyed(n), 7).unwrap();
    }
    reports(&sink, 3_000).await;
    for partition in 0..ALL {
        let ours = read_numbers(&mock.brokers, TOPIC, partition);
        assert_eq!(ours, read_numbers(&mock.brokers, "theirs", partition), "partition {partition}");
        assert!(!ours.is_empty());
    }

    // As a record of two partitions has it: none goes into those that came later.
    for n in 0..KEYS {
        producer.send(SeqNo(KEYS + n), keyed(KEYS + n), 2).unwrap();
    }
    reports(&sink, 3_000).await;
    let beyond = |n: &u64| *n >= KEYS;
    let in_first_two: usize =
        (0..2).map(|p| read_numbers(&mock.brokers, TOPIC, p).into_iter().filter(beyond).count()).sum();
    assert_eq!(in_first_two, 3_000);
    assert_eq!(producer.probe().await.unwrap(), [7]);
}

/// A position of this lineage.
fn position_in(lineage: u32) -> Position {
    let mut bytes = [0; 25];
    bytes[..4].copy_from_slice(&lineage.to_be_bytes());
    Position::from_bytes(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topics_ends_show_their_greatest_lineage() {
    let mock = Mock::with_topic(4);
    let (mut producer, sink) = mock.producer_with(|_| {});
    let at_ends = async || {
        cdc_kafka::lineage_at_ends(connection(&mock.brokers), vec![Arc::from(TOPIC), Arc::from("none")])
            .await
            .unwrap()
    };
    assert_eq!(producer.prepare(SHARED).await.unwrap()[0].lineage, None, "there is nothing");
    assert_eq!(at_ends().await, None);
    // Whichever partition each falls into, it is a partition's last or its last but few.
    for (n, lineage) in (0..).zip([7, 9, 8, 3, 3]) {
        let mut message = message(TOPIC, n, n);
        message.position = position_in(lineage);
        producer.send(SeqNo(n), message, PARTITIONS).unwrap();
    }
    reports(&sink, 5).await;
    assert_eq!(producer.prepare(SHARED).await.unwrap()[0].lineage, Some(Lineage(9)));
    // What others put behind it hides it from nobody: no header, no position, too short a position.
    let others: BaseProducer = ClientConfig::new().set("bootstrap.servers", &mock.brokers).create().unwrap();
    for n in 0..200 {
        let header = |value| OwnedHeaders::new().insert(Header { key: "cdc-position", value });
        for headers in [OwnedHeaders::new(), header(Some("no hex")), header(None), header(Some("ffffffff"))] {
            let record = BaseRecord::to(TOPIC).partition(n % 4).key("k").payload("v").headers(headers);
            others.send(record).unwrap();
        }
    }
    others.flush(PATIENCE).unwrap();
    assert_eq!(producer.prepare(SHARED).await.unwrap()[0].lineage, Some(Lineage(9)));
    assert_eq!(at_ends().await, Some(Lineage(9)));
}
