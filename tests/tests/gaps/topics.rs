//! Topics that are deleted, recreated and grown.

use std::time::Duration;

use bson::doc;
use cdc_devstack::Service;
use cdc_devstack::pipeline::{Deployment, Role};
use cdc_tests::waiting::until;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

use super::rig::{Case, FROM_NOW, PARTITIONS, Rig, STOP, finish, run};

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

/// Partitions that are added while it runs stay empty, through a restart too, and every key stays where it was. They
/// are told of, until a person has them used.
pub(crate) async fn grown_under_a_running_watcher(rig: &Rig) {
    let case = rig.case("grown");
    let watching = case.start(STOP).await;
    let keys: Vec<i32> = (1..=60).collect();
    let insert = async |id: i32| case.insert(id).await;
    for id in &keys[..20] {
        insert(*id).await;
    }
    let more = NewPartitions::new(&case.topic, PARTITIONS + 3);
    let answers = admin(rig).create_partitions([&more], &AdminOptions::new()).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    // It is seen within ten seconds, under load or not. The client itself has seen it by then.
    until("the growth to be told", async || unused(&watching).await == Some(3.0)).await;
    for id in &keys[20..40] {
        insert(*id).await;
    }
    let told =
        |log: &std::path::Path| std::fs::read_to_string(log).unwrap().matches("the topic has grown").count();
    assert_eq!(told(watching.log()), 1);
    finish(watching).await;

    let watching = case.start(STOP).await;
    assert_eq!(unused(&watching).await, Some(3.0));
    for id in &keys[40..] {
        insert(*id).await;
    }
    // Each document once more: the same key again, before and after.
    case.documents().update_many(doc! {}, doc! { "$set": { "again": true } }).await.unwrap();
    let all: Vec<i64> = keys.iter().copied().map(i64::from).collect();
    case.until_inserted(&all).await;
    until("the updates", async || case.partitions_of_keys("update").len() == all.len()).await;
    let (inserts, updates) = (case.partitions_of_keys("insert"), case.partitions_of_keys("update"));
    assert_eq!(inserts, updates, "no key has moved");
    let used: std::collections::BTreeSet<i32> = inserts.into_values().collect();
    assert_eq!(used, (0..i32::try_from(PARTITIONS).unwrap()).collect());
    repartitioned(&case, watching).await;
}

/// The new partitions are used once nobody is at work and everything is written, and not before.
async fn repartitioned(case: &Case<'_>, watching: Service) {
    const COMMAND: [&str; 4] = ["token", "repartition", "--group", "grown"];
    let is_refused = async |why: &str| {
        let (code, said) = run(case, &COMMAND).await;
        assert!(code == Some(75) && said.contains(why), "{code:?}: {said}");
    };
    let settings = [("CDC__KAFKA__TOPIC", case.topic.as_str()), ("CDC__KAFKA__CONSUMER_GROUP", "grown")];
    let (folder, servers) = (case.rig.stack.folder(), &case.rig.endpoints);
    let syncer = Deployment::new(Role::Syncer, "grown-syncer", folder, servers, &settings).unwrap();
    is_refused("holds the lease").await;
    finish(watching).await;
    is_refused("has not read").await;

    let syncing = syncer.start().await.unwrap();
    let sql = servers.postgres().await.unwrap();
    let rows = async |count: i64| {
        until(&format!("{count} rows"), async || {
            let counted = sql.query_one("SELECT count(*) FROM grown", &[]).await;
            counted.is_ok_and(|row| row.get::<_, i64>(0) == count)
        })
        .await;
    };
    rows(60).await;
    is_refused("has 1 members").await;
    finish(syncing).await;
    let (code, said) = run(case, &COMMAND).await;
    assert_eq!((code, said.as_str()), (Some(0), "cdc.game_db.grown: 2 → 5 partitions\n"));

    let watching = case.start(STOP).await;
    assert_eq!(unused(&watching).await, Some(0.0));
    let more: Vec<_> = (61..=120).map(|id| doc! { "_id": id }).collect();
    case.documents().insert_many(more).await.unwrap();
    case.until_inserted(&(1..=120).collect::<Vec<_>>()).await;
    let used: std::collections::BTreeSet<i32> = case.partitions_of_keys("insert").into_values().collect();
    assert_eq!(used.len(), PARTITIONS + 3, "{used:?}");
    let syncing = syncer.start().await.unwrap();
    rows(120).await;
    finish(syncing).await;
    finish(watching).await;
}

async fn unused(service: &Service) -> Option<f64> {
    service.metrics().await.unwrap().value("cdc_unused_partitions", &[])
}
