//! Topics that are deleted, recreated and grown.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

use super::rig::{Case, FROM_NOW, PARTITIONS, Rig, STOP, finish, until};

fn admin(rig: &Rig) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &rig.endpoints.kafka_brokers).create().unwrap()
}

async fn delete(case: &Case<'_>) {
    let answers = admin(case.rig).delete_topics(&[&case.topic], &AdminOptions::new()).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

async fn with_one_document(case: &Case<'_>) {
    let watching = case.start(STOP).await;
    case.insert(1).await;
    case.until_inserted(&[1]).await;
    finish(watching).await;
}

pub(crate) async fn deleted_under_a_stopped_watcher(rig: &Rig) {
    let case = rig.case("topic_gone");
    with_one_document(&case).await;
    delete(&case).await;
    case.insert(2).await;
    assert_eq!(case.exit_code(STOP).await, Some(65));
    // It stays so: the topic that the refused start has made is empty.
    assert_eq!(case.exit_code(STOP).await, Some(65));
    let watching = case.start(FROM_NOW).await;
    case.shows_one_gap(&watching, "topic_lost").await;
    // The source has lost nothing.
    case.until_inserted(&[2]).await;
    finish(watching).await;
}

pub(crate) async fn deleted_under_a_running_watcher(rig: &Rig) {
    let (stopping, going_on) = (rig.case("topic_gone_stop"), rig.case("topic_gone_from_now"));
    let mut stops = stopping.start(STOP).await;
    let goes_on = going_on.start(FROM_NOW).await;
    for case in [&stopping, &going_on] {
        case.insert(1).await;
        case.until_inserted(&[1]).await;
        delete(case).await;
        case.insert(2).await;
    }
    let status = stops.exited(Duration::from_secs(90)).await.unwrap();
    assert_eq!(status.code(), Some(65));
    until("a gap on record", async || !going_on.causes().await.is_empty()).await;
    going_on.shows_one_gap(&goes_on, "topic_lost").await;
    going_on.until_inserted(&[2]).await;
    finish(goes_on).await;
}

pub(crate) async fn grown(rig: &Rig) {
    let case = rig.case("grown");
    with_one_document(&case).await;
    let more = NewPartitions::new(&case.topic, PARTITIONS + 1);
    let answers = admin(rig).create_partitions([&more], &AdminOptions::new()).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for policy in [STOP, FROM_NOW] {
        assert_eq!(case.exit_code(policy).await, Some(65));
    }
    assert!(case.causes().await.is_empty());
}
