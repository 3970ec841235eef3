//! The alerts of `deploy/prometheus`: each fires and clears by its rule, and those whose cause a test can bring about fire
//! and clear by what the services themselves show.

use std::path::{Path, PathBuf};

use bson::{Document, doc};
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE};
use cdc_tests::held::until_held;
use cdc_tests::scrapes::{play, promtool, scrape};
use cdc_tests::site::{PATIENCE, metric, until_metric};
use cdc_tests::testbed::Testbed;
use cdc_tests::waiting::{until, until_number};

const TABLES: &str = "
CREATE TABLE levels (id text PRIMARY KEY, level int);
CREATE TABLE names (id text PRIMARY KEY, name text UNIQUE);
CREATE TABLE dropped (id text PRIMARY KEY, n int);
";

/// `shown` is made anew as a view.
const COLLECTIONS: [&str; 4] = ["levels", "names", "dropped", "shown"];

/// More than the threshold of errors within a minute.
const BAD_DOCUMENTS: i32 = 15;
/// More than the Syncer takes in hand.
const DOCUMENTS: i32 = 500;

/// What fires at the trouble's beginning, and at its end.
const EARLY: [&str; 2] = ["CdcDeadLetters", "CdcErrors"];
const LATE: [&str; 5] = ["CdcBufferFull", "CdcDown", "CdcRowsParked", "CdcTopicHeld", "CdcUnwatchable"];

fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus").join(file)
}

#[test]
fn each_alert_fires_and_clears_by_its_rule() {
    let tests = deployed("alerts-test.yaml");
    promtool(&["test", "rules", &tests.display().to_string()]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_services_show_fires_the_alerts_and_clears_them() {
    let _turn = crate::TURN.lock().await;
    let Testbed { mut stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let mongo = mongo.database(SOURCE_DATABASE);
    let collection = |name: &str| mongo.collection::<Document>(name);
    postgres.batch_execute(TABLES).await.unwrap();
    let folder = stack.folder().to_owned();
    let names = COLLECTIONS.join(",");
    let watched = [
        ("CDC__MONGODB__COLLECTION", names.as_str()),
        ("CDC__KAFKA__TOPIC", "cdc.{database}.{collection}"),
        ("CDC__KAFKA__PARTITIONS", "1"),
    ];
    let topics = COLLECTIONS.map(|name| format!("cdc.{SOURCE_DATABASE}.{name}")).join(",");
    let read = [
        ("CDC__KAFKA__TOPIC", topics.as_str()),
        ("CDC__BATCH__BUFFER_SIZE", "10"),
        ("CDC__WORKERS__CHANNEL_BUFFER", "10"),
    ];
    let watcher = Deployment::new(Role::Watcher, "watcher", &folder, &endpoints, &watched).unwrap();
    let second = Deployment::new(Role::Watcher, "second", &folder, &endpoints, &watched).unwrap();
    let syncer = Deployment::new(Role::Syncer, "syncer", &folder, &endpoints, &read).unwrap();
    let (mut watching, syncing) = (watcher.start().await.unwrap(), syncer.start().await.unwrap());

    for name in ["levels", "names", "dropped"] {
        collection(name).insert_one(doc! { "_id": "first", "name": "a", "level": 1, "n": 1 }).await.unwrap();
        until_number(&postgres, &format!("SELECT count(*) FROM {name}"), 1).await;
    }
    until_metric(&watching, "cdc_oplog_window_seconds", &[], 1.0, PATIENCE).await.unwrap();
    let quiet = scrape(&[("watcher", &watching), ("syncer", &syncing)]).await;

    // A bad record each, a name that is taken, a table that is gone, a view in a collection's place.
    let bad = (0..BAD_DOCUMENTS).map(|n| doc! { "_id": format!("bad {n}"), "level": "high" });
    collection("levels").insert_many(bad).await.unwrap();
    collection("names").insert_one(doc! { "_id": "second", "name": "a" }).await.unwrap();
    postgres.batch_execute("DROP TABLE dropped").await.unwrap();
    collection("dropped").insert_one(doc! { "_id": "second", "n": 2 }).await.unwrap();
    mongo.run_command(doc! { "create": "shown", "viewOn": "levels", "pipeline": [] }).await.unwrap();
    let dead = f64::from(BAD_DOCUMENTS);
    until_metric(&syncing, "cdc_dead_letters_total", &[], dead, PATIENCE).await.unwrap();
    until_metric(&syncing, "cdc_parked_rows", &[], 1.0, PATIENCE).await.unwrap();
    let held = until_held(&syncing, &[(format!("cdc.{SOURCE_DATABASE}.dropped"), "table_dropped")]).await;
    until_metric(&watching, "cdc_watched_collections", &[("serves", "view")], 1.0, PATIENCE).await.unwrap();
    // PostgreSQL stands still, and the Syncer's hands are full.
    stack.postgres.pause().unwrap();
    let many = (0..DOCUMENTS).map(|n| doc! { "_id": format!("many {n}"), "level": n });
    collection("levels").insert_many(many).await.unwrap();
    until_metric(&syncing, "cdc_syncer_buffer_full", &[], 1.0, PATIENCE).await.unwrap();
    let standing = scrape(&[("watcher", &watching)]).await;
    watching.kill().await.unwrap();
    let mut troubled = scrape(&[("watcher", &watching), ("syncer", &syncing)]).await;
    assert_eq!(troubled.get("watcher"), Some(&None), "a killed process shows nothing");
    // Beside the one that is gone, what it showed last: as if another of the job had stayed.
    troubled.insert("other", standing["watcher"].clone());

    stack.postgres.resume().unwrap();
    for way_out in held.unwrap().values().filter_map(|detail| Some(detail.split_once("Syncer: ")?.1)) {
        postgres.batch_execute(way_out).await.unwrap();
    }
    collection("names").update_one(doc! { "_id": "second" }, doc! { "$set": { "name": "b" } }).await.unwrap();
    collection("shown").drop().await.unwrap();
    let watching = second.start().await.unwrap();
    until_number(&postgres, "SELECT count(*) FROM levels", i64::from(DOCUMENTS) + 1).await;
    until_held::<&str>(&syncing, &[]).await.unwrap();
    until("nothing to be parked, held or full", async || {
        let (parked, full) = tokio::join!(
            metric(&syncing, "cdc_parked_rows", &[]),
            metric(&syncing, "cdc_syncer_buffer_full", &[])
        );
        parked == 0.0 && full == 0.0
    })
    .await;
    let mended = scrape(&[("watcher", &watching), ("syncer", &syncing)]).await;

    play(&folder, &deployed("alerts.yaml"), &[quiet, troubled, mended], (&EARLY, &LATE)).unwrap();
}
