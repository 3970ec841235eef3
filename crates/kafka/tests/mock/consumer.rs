//! The consumer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use cdc_kafka::{ConsumerSettings, HeadersIter, KafkaConsumer};
use cdc_machine::{EffectId, Epoch, Fault};
use cdc_ports::{
    ConsumerEvent, KafkaRecord, PolledRecord, RecordConsumer as _, RejectedRecord, TopicPartition,
};
use cdc_syncer::{FetchStart, Partition, Reject, StartOffset};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::kit::{Mock, TOPIC, assigned, event, read_partition};

async fn revoked(consumer: &KafkaConsumer) -> (EffectId, Vec<Partition>) {
    match event(consumer).await {
        ConsumerEvent::Revoking(id, partitions) => (id, partitions),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn starts(partitions: &[Partition], epoch: u64, offset: StartOffset) -> Vec<FetchStart> {
    partitions
        .iter()
        .map(|partition| FetchStart { partition: *partition, epoch: Epoch(epoch), offset })
        .collect()
}

/// Fetches until this many records are there.
pub(crate) async fn fetch(consumer: &KafkaConsumer, count: usize) -> Vec<PolledRecord> {
    let mut all = Vec::new();
    while all.len() < count {
        consumer.fetch(64, 1 << 20);
        match event(consumer).await {
            ConsumerEvent::Records(mut records) => {
                assert!((1..=64).contains(&records.len()));
                all.append(&mut records);
            }
            other => panic!("{other:?}"),
        }
    }
    all
}

fn number(record: &PolledRecord) -> u64 {
    std::str::from_utf8(record.handle.value().unwrap()).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_once_and_in_order_from_where_they_were_started() {
    let mock = Mock::with_topic(2);
    mock.produce(0..500).await;
    let (consumer, partitions) = mock.first_member().await;
    assert_eq!(partitions.len(), 2);
    assert_eq!(&*consumer.name(partitions[0]).topic, TOPIC);

    consumer.start(&starts(&partitions, 1, StartOffset::Beginning));
    let records = fetch(&consumer, 500).await;
    let mut numbers: Vec<u64> = records.iter().map(number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..500));
    let mut last = BTreeMap::new();
    for record in &records {
        assert_eq!(record.epoch, Epoch(1));
        assert_eq!(record.bytes as usize, record.handle.key().len() + record.handle.value().unwrap().len());
        assert!(last.insert(record.partition, record.offset).is_none_or(|before| before < record.offset));
        let headers: Vec<_> = HeadersIter::new(record.handle.headers()).map(|(name, _)| name).collect();
        assert_eq!(headers, ["cdc-position", "cdc-version", "content-type"]);
    }

    // The same partitions once more, from further on and under another epoch.
    let again = [partitions[0]];
    consumer.start(&starts(&again, 2, StartOffset::At(10)));
    let from_ten = records.iter().filter(|r| r.partition == again[0] && r.offset >= 10).count();
    let repeated = fetch(&consumer, from_ten).await;
    assert_eq!(repeated.len(), from_ten);
    assert!(repeated.iter().all(|record| record.epoch == Epoch(2) && record.partition == again[0]));
    assert_eq!(repeated[0].offset, 10);
    consumer.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_fetched_before_the_start_nor_while_paused() {
    let mock = Mock::with_topic(1);
    mock.produce(0..10).await;
    let (consumer, partitions) = mock.first_member().await;
    consumer.fetch(64, 1 << 20);
    consumer.pause();
    consumer.start(&starts(&partitions, 1, StartOffset::Beginning));
    // A round trip through the client's thread: what it would have fetched, it has had time to.
    assert_eq!(consumer.committed(&partitions).await.unwrap(), [None]);
    let early = tokio::time::timeout(std::time::Duration::from_millis(500), consumer.event()).await;
    assert!(early.is_err(), "{early:?}");
    consumer.resume();
    match event(&consumer).await {
        ConsumerEvent::Records(records) => assert_eq!(number(&records[0]), 0),
        other => panic!("{other:?}"),
    }
    consumer.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_keeps_to_its_bounds_and_loses_nothing() {
    let mock = Mock::with_topic(1);
    mock.produce(0..50).await;
    let (consumer, partitions) = mock.first_member().await;
    consumer.start(&starts(&partitions, 1, StartOffset::Beginning));
    let mut seen = Vec::new();
    while seen.len() < 50 {
        // One byte: each record is larger, so each comes alone.
        let (records, bytes) = if seen.len() % 2 == 0 { (64, 1) } else { (3, 1 << 20) };
        consumer.fetch(records, bytes);
        match event(&consumer).await {
            ConsumerEvent::Records(answer) => {
                assert!(answer.len() <= if bytes == 1 { 1 } else { 3 });
                seen.extend(answer.iter().map(number));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.into_iter().eq(0..50));
    consumer.leave().await;
}

/// Feature: cdc-pipeline, Property 11: Offset Commit After Database Write
/// Validates: Requirements 4.5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_committed_is_committed() {
    let mock = Mock::with_topic(1);
    mock.produce(0..20).await;
    let (consumer, partitions) = mock.first_member().await;
    consumer.start(&starts(&partitions, 1, StartOffset::Beginning));
    fetch(&consumer, 20).await;
    assert_eq!(consumer.committed(&partitions).await.unwrap(), [None], "reading commits nothing");
    consumer.commit(&[(partitions[0], 7)]).await.unwrap();
    assert_eq!(consumer.committed(&partitions).await.unwrap(), [Some(7)]);
    consumer.leave().await;
    let gone = consumer.commit(&[(partitions[0], 8)]).await.unwrap_err();
    assert_eq!(gone.fault, Fault::Transient);

    // A new client in the same process: the numbers stay, the offset too.
    consumer.join().await.unwrap();
    assert_eq!(assigned(&consumer).await, partitions);
    assert_eq!(consumer.committed(&partitions).await.unwrap(), [Some(7)]);
    consumer.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_it_holds() {
    let mock = Mock::with_topic(2);
    mock.produce(0..100).await;
    let (consumer, partitions) = mock.first_member().await;
    let bounds = consumer.log_bounds(&partitions).await.unwrap();
    let bounds: Vec<_> = bounds.into_iter().map(Option::unwrap).collect();
    assert!(bounds.iter().all(|log| log.first == 0));
    assert_eq!(bounds.iter().map(|log| log.end).sum::<i64>(), 100);
    consumer.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_is_not_in_the_log_is_history_lost() {
    let mock = Mock::with_topic(1);
    mock.produce(0..3).await;
    let (consumer, partitions) = mock.first_member().await;
    consumer.start(&starts(&partitions, 1, StartOffset::At(1_000)));
    consumer.fetch(64, 1 << 20);
    match event(&consumer).await {
        ConsumerEvent::Failed(failure) => assert_eq!(failure.fault, Fault::HistoryLost, "{failure}"),
        other => panic!("{other:?}"),
    }
    consumer.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_member_gets_a_partition_after_the_first_has_confirmed() {
    let mock = Mock::with_topic(2);
    mock.produce(0..100).await;
    let (first, partitions) = mock.first_member().await;
    first.start(&starts(&partitions, 1, StartOffset::Beginning));
    fetch(&first, 100).await;
    first.commit(&[(partitions[0], 5), (partitions[1], 5)]).await.unwrap();

    let second = mock.member("b").await;
    let (id, given_back) = revoked(&first).await;
    assert_eq!(given_back.len(), 1);
    first.confirm_revoked(id);

    let received = assigned(&second).await;
    assert_eq!(second.name(received[0]), first.name(given_back[0]));
    assert_eq!(second.committed(&received).await.unwrap(), [Some(5)]);
    second.start(&starts(&received, 1, StartOffset::At(5)));
    second.fetch(1, 1 << 20);
    match event(&second).await {
        ConsumerEvent::Records(records) => assert_eq!(records[0].offset, 5),
        other => panic!("{other:?}"),
    }
    second.leave().await;
    first.leave().await;
}

/// A driver that is stuck confirms nothing. The group and the other member need not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_nobody_confirms_ends_at_its_deadline() {
    let mock = Mock::with_topic(2);
    let (first, partitions) = mock.first_member().await;
    first.start(&starts(&partitions, 1, StartOffset::Beginning));
    let second = mock.member("b").await;
    let (id, going) = revoked(&first).await;
    let asked = Instant::now();
    match event(&first).await {
        ConsumerEvent::Lost(lost) => assert_eq!(lost, going),
        other => panic!("{other:?}"),
    }
    let deadline = first.revocation_deadline();
    assert!((deadline / 2..ConsumerSettings::SESSION_TIMEOUT).contains(&asked.elapsed()));
    assert_eq!(second.name(assigned(&second).await[0]), first.name(going[0]));
    // It comes too late and takes nothing more.
    first.confirm_revoked(id);
    mock.produce(0..100).await;
    first.start(&starts(&partitions, 2, StartOffset::Beginning));
    assert!(fetch(&first, 1).await.iter().all(|record| record.partition != going[0]));
    second.leave().await;
    first.leave().await;
}

/// librdkafka keeps a partition paused beyond its assignment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_was_given_back_while_paused_is_fetched_when_it_returns() {
    let mock = Mock::with_topic(2);
    mock.produce(0..100).await;
    let (first, partitions) = mock.first_member().await;
    first.start(&starts(&partitions, 1, StartOffset::Beginning));
    fetch(&first, 100).await;
    first.pause();

    let second = mock.member("b").await;
    let (id, given_back) = revoked(&first).await;
    first.confirm_revoked(id);
    assigned(&second).await;
    first.resume();
    second.leave().await;

    assert_eq!(assigned(&first).await, given_back);
    first.start(&starts(&given_back, 2, StartOffset::Beginning));
    let records = fetch(&first, 1).await;
    assert!(records.iter().all(|record| record.partition == given_back[0] && record.epoch == Epoch(2)));
    assert_eq!(records[0].offset, 0);
    first.leave().await;
}

/// Whether or not all stand still at that moment, and while another member joins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_stopped_stays_ours_and_the_others_go_on() {
    let mock = Mock::with_topic(2);
    mock.produce(0..100).await;
    let (consumer, partitions) = mock.first_member().await;
    let (stopped, other) = (partitions[0], partitions[1]);
    consumer.start(&starts(&partitions, 1, StartOffset::Beginning));
    let records = fetch(&consumer, 100).await;
    let of = |partition| records.iter().filter(|record| record.partition == partition).count();
    for is_paused in [false, true] {
        if is_paused {
            consumer.pause();
        }
        consumer.stop(&[stopped]);
        if is_paused {
            consumer.resume();
        }
        consumer.start(&starts(&[other], 2, StartOffset::Beginning));
        let again = fetch(&consumer, of(other)).await;
        assert!(again.iter().all(|record| record.partition == other), "it was stopped");
        consumer.start(&starts(&[stopped], 3, StartOffset::At(1)));
        let back = fetch(&consumer, of(stopped) - 1).await;
        assert!(back.iter().all(|record| (record.partition, record.epoch) == (stopped, Epoch(3))));
        assert_eq!(back[0].offset, 1);
    }

    consumer.stop(&[stopped, other]);
    let second = mock.member("b").await;
    let (id, going) = revoked(&consumer).await;
    // In the middle of a revocation, it is the revocation that is answered.
    let staying = if going[0] == other { stopped } else { other };
    consumer.start(&starts(&[staying], 4, StartOffset::Beginning));
    consumer.stop(&[staying]);
    consumer.confirm_revoked(id);
    let taken = assigned(&second).await;
    assert_eq!((taken.len(), going.len()), (1, 1));
    second.start(&starts(&taken, 1, StartOffset::Beginning));
    assert_eq!(fetch(&second, of(going[0])).await.len(), of(going[0]));
    consumer.start(&starts(&[staying], 5, StartOffset::Beginning));
    assert_eq!(fetch(&consumer, of(staying)).await.len(), of(staying));
    second.leave().await;
    consumer.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_durable_when_the_call_returns() {
    let mock = Mock::with_topic(1);
    mock.cluster.create_topic("t.dead-letters", 1, 1).unwrap();
    let consumer = mock.consumer("a");
    let record = |value: Option<&[u8]>| RejectedRecord {
        origin: TopicPartition { topic: Arc::from(TOPIC), partition: 0 },
        offset: 42,
        record: KafkaRecord::new(b"k", value, b"", 0),
        reason: Reject::TypeConflict,
        sqlstate: None,
        detail: Arc::from("column level"),
        attempts: 1,
    };
    consumer.dead_letter(record(Some(b"body"))).await.unwrap();
    // The mock cluster takes anything; a real one refuses by its topic's own limit.
    mock.cluster
        .request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    consumer.dead_letter(record(Some(&vec![b'x'; 2 << 20]))).await.unwrap();
    consumer.dead_letter(record(None)).await.unwrap();

    let dead = read_partition(&mock.brokers, "t.dead-letters", 0);
    let names = |at: usize| -> Vec<String> {
        dead[at].headers().unwrap().iter().map(|header| header.key.to_owned()).collect()
    };
    assert_eq!(dead.len(), 3);
    assert_eq!((dead[0].key(), dead[0].payload()), (Some(&b"k"[..]), Some(&b"body"[..])));
    assert!(
        names(0).contains(&"cdc-error-reason".to_owned())
            && !names(0).contains(&"cdc-body-omitted".to_owned())
    );
    assert!(names(1).contains(&"cdc-body-omitted".to_owned()), "two MiB do not fit");
    assert_eq!(dead[2].payload(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_is_transient() {
    let mock = Mock::with_topic(1);
    mock.cluster.broker_down(1).unwrap();
    let consumer = mock.consumer("a");
    assert_eq!(consumer.join().await.unwrap_err().fault, Fault::Transient);
}
