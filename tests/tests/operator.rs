//! What an operator sees: what is missing or not copied at start, the lag while a server stands still, and a log in sums.

use bson::{DateTime, Document, doc};
use cdc_devstack::Service;
use cdc_devstack::pipeline::{Deployment, PLAYERS_TABLE, Role, SOURCE_DATABASE, TOPIC};
use cdc_tests::site::PATIENCE;
use cdc_tests::testbed::Testbed;
use cdc_tests::waiting::{health, status, until, until_number};
use mongodb::Collection;
use serde_json::Value;

/// Documents that are there before anybody watches.
const EXISTING: u64 = 123;

async fn lag(service: &Service, role: Role) -> Option<f64> {
    service.metrics().await.unwrap().value("cdc_lag_seconds", &[("service", role.name())])
}

async fn insert(players: &Collection<Document>, from: u64, count: u64) {
    let at = DateTime::now();
    let document =
        |number| doc! { "_id": format!("p{number}"), "username": format!("u{number}"), "created_at": at };
    let documents = (from..from + count).map(document);
    players.insert_many(documents).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_not_copied_or_behind_is_said() {
    let _turn = crate::TURN.lock().await;
    let Testbed { mut stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    postgres.batch_execute(PLAYERS_TABLE).await.unwrap();
    let players = mongo.database(SOURCE_DATABASE).collection::<Document>("players");
    insert(&players, 0, EXISTING).await;

    // A server that is not there is named from the first try on.
    let nowhere =
        [("CDC__MONGODB__URI", "mongodb://127.0.0.1:1/"), ("CDC__MONGODB__CONNECTION_TIMEOUT", "1s")];
    let lost = Deployment::new(Role::Watcher, "lost", stack.folder(), &endpoints, &nowhere).unwrap();
    let mut lost = lost.spawn().unwrap();
    until("the second try at a server that is not there", async || {
        lost.get("/health").await.is_ok_and(|answer| {
            answer.body.contains("mongodb 127.0.0.1:1: connection refused; try 2 of 6")
                && answer.status == 503
        })
    })
    .await;
    lost.kill().await.unwrap();

    // A name that nobody has, beside one with documents.
    let names = [
        ("CDC__MONGODB__COLLECTION", "players,playerz"),
        ("CDC__KAFKA__TOPIC", "cdc.{database}.{collection}"),
    ];
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &names).unwrap();
    let mut watching = watcher.start().await.unwrap();
    let (code, why) = health(&watching).await.unwrap();
    assert_eq!(code, 503);
    let words = format!("mongodb has no collection {SOURCE_DATABASE}.playerz (did you mean players?)");
    assert!(why.contains(&words), "{why}");
    assert_eq!(watching.get("/livez").await.unwrap().status, 200);
    until("the existing documents to be told", async || {
        status(&watching).await.unwrap()["uncopied_documents"]["players"] == EXISTING
    })
    .await;
    let said = std::fs::read_to_string(watching.log()).unwrap();
    assert!(
        said.contains(&format!("players already holds {EXISTING} documents; only changes from ")),
        "{said}"
    );

    let topics = format!("{TOPIC},cdc.{SOURCE_DATABASE}.player");
    let settings = [("CDC__KAFKA__TOPIC", topics.as_str())];
    let syncer = Deployment::new(Role::Syncer, "syncer", stack.folder(), &endpoints, &settings).unwrap();
    let mut syncing = syncer.start().await.unwrap();
    until("the missing topic to be told", async || {
        let (code, why) = health(&syncing).await.unwrap();
        code == 503
            && why.contains(&format!("cdc.{SOURCE_DATABASE}.player does not exist (did you mean {TOPIC}?)"))
    })
    .await;
    assert_eq!(syncing.get("/readyz").await.unwrap().status, 200);

    // All is copied, and nothing is behind.
    insert(&players, 1_000, 500).await;
    // The stream begins with the last change before it: one of the documents that were there comes along.
    let new = "SELECT count(*) FROM players WHERE length(id) = 5";
    until_number(&postgres, new, 500).await;
    until("no lag", async || {
        lag(&syncing, Role::Syncer).await == Some(0.0) && lag(&watching, Role::Watcher).await == Some(0.0)
    })
    .await;

    // PostgreSQL stands still: what is behind, and for how long, is seen to grow.
    stack.postgres.pause().unwrap();
    insert(&players, 2_000, 50).await;
    until("the lag to grow", async || {
        let metrics = syncing.metrics().await.unwrap();
        let of_topic = [("topic", TOPIC)];
        let seconds = metrics.all().iter().filter(|it| it.name == "cdc_partition_lag_seconds");
        let oldest = seconds.map(|it| it.value).fold(0.0, f64::max);
        metrics.sum("cdc_partition_lag_records", &of_topic) == 50.0 && oldest > 3.0
    })
    .await;
    assert!(lag(&syncing, Role::Syncer).await.is_some_and(|seconds| seconds > 3.0));
    let shown = status(&syncing).await.unwrap()["topics"][TOPIC].clone();
    assert!(shown["lag_records"] == 50 && shown["lag_seconds"].as_u64().is_some_and(|it| it >= 3), "{shown}");
    stack.postgres.resume().unwrap();
    until("the lag to end", async || lag(&syncing, Role::Syncer).await == Some(0.0)).await;

    // Kafka does.
    stack.kafka.pause().unwrap();
    insert(&players, 3_000, 50).await;
    until("the Watcher's lag to grow", async || {
        lag(&watching, Role::Watcher).await.is_some_and(|seconds| seconds > 3.0)
    })
    .await;
    stack.kafka.resume().unwrap();
    until("the Watcher's lag to end", async || lag(&watching, Role::Watcher).await == Some(0.0)).await;

    watching.terminate(PATIENCE).await.unwrap();
    syncing.terminate(PATIENCE).await.unwrap();
    in_sums(&syncing, "rows written", &format!("{TOPIC}: "));
    in_sums(&watching, "events published", "\"position\":\"");
}

/// No two lines of this kind are of one second, but for the last, which the end of the service brings.
fn in_sums(service: &Service, message: &str, part: &str) {
    let text = std::fs::read_to_string(service.log()).unwrap();
    assert!(!text.contains("batch written"), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| line.contains(message))
        .inspect(|line| assert!(line.contains(part), "{line}"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!lines.is_empty(), "{message}: {text}");
    let seconds: Vec<String> =
        lines.iter().map(|line| line["timestamp"].as_str().unwrap()[..19].to_owned()).collect();
    let mut distinct = seconds.clone();
    distinct.dedup();
    assert!(seconds.len() <= distinct.len() + 1, "{seconds:?}");
}
