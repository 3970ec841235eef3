//! Tables that change under a running Syncer, through both services: what cannot be written holds its own topic, its
//! neighbours go on, and what is said is the way out.

use std::collections::BTreeMap;

use bson::{Document, doc};
use cdc_devstack::Service;
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE};
use cdc_tests::testbed::Testbed;
use cdc_tests::waiting::{until_number, until_text};
use mongodb::Database;

const TABLES: &str = "
CREATE TABLE early (id text PRIMARY KEY, a int);
CREATE TABLE locked (id text PRIMARY KEY, n int);
CREATE TABLE dropped (id text PRIMARY KEY, n int);
CREATE TABLE swapped (id text PRIMARY KEY, n int);
CREATE UNLOGGED TABLE fast (id text PRIMARY KEY, n int);
CREATE TABLE neighbour (id text PRIMARY KEY, n int);
";

const COLLECTIONS: [&str; 6] = ["early", "locked", "dropped", "swapped", "fast", "neighbour"];

/// Documents of each collection before anything is done to its table.
const DOCUMENTS: i32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_holds_its_own_topic_and_nothing_else() {
    let _turn = crate::TURN.lock().await;
    let Testbed { mut stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let mongo = mongo.database(SOURCE_DATABASE);
    postgres.batch_execute(TABLES).await.unwrap();
    let names = COLLECTIONS.join(",");
    let watched = [
        ("CDC__MONGODB__COLLECTION", names.as_str()),
        ("CDC__KAFKA__TOPIC", "cdc.{database}.{collection}"),
        ("CDC__KAFKA__PARTITIONS", "2"),
    ];
    let topics = COLLECTIONS.map(|name| format!("cdc.{SOURCE_DATABASE}.{name}")).join(",");
    let folder = stack.folder().to_owned();
    let watcher = Deployment::new(Role::Watcher, "watcher", &folder, &endpoints, &watched).unwrap();
    let read = [("CDC__KAFKA__TOPIC", topics.as_str())];
    let syncer = Deployment::new(Role::Syncer, "syncer", &folder, &endpoints, &read).unwrap();

    // Somebody's long transaction keeps the fence's column out of one table.
    let holder = endpoints.postgres().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE locked IN ROW EXCLUSIVE MODE").await.unwrap();
    let (_watching, syncing) = (watcher.start().await.unwrap(), syncer.spawn().unwrap());
    for name in COLLECTIONS {
        fill(&mongo, name, 0).await;
    }
    for name in ["dropped", "swapped", "fast", "neighbour"] {
        until_rows(&postgres, name, DOCUMENTS).await;
    }
    until_held(&syncing, &[("locked", "locked")]).await;
    assert_eq!(rows(&postgres, "locked").await, Some(0), "nothing is written without the fence");
    assert_eq!(syncing.get("/livez").await.unwrap().status, 200);
    let health = syncing.get("/health").await.unwrap();
    assert_eq!(health.status, 503);
    assert!(health.body.contains("locked"), "{}", health.body);
    // Deleted meanwhile: it must not come back with the insert before it.
    mongo.collection::<Document>("locked").delete_one(doc! { "_id": "0" }).await.unwrap();
    holder.batch_execute("COMMIT").await.unwrap();
    until_rows(&postgres, "locked", DOCUMENTS - 1).await;
    until_held(&syncing, &[]).await;

    // A column that is added and used at once.
    until_rows(&postgres, "early", DOCUMENTS).await;
    postgres.batch_execute("ALTER TABLE early ADD COLUMN coupon text").await.unwrap();
    let early = mongo.collection::<Document>("early");
    early.insert_one(doc! { "_id": "new", "a": 1, "coupon": "X" }).await.unwrap();
    early.update_one(doc! { "_id": "1" }, doc! { "$set": { "coupon": "Y" } }).await.unwrap();
    let coupons = "SELECT string_agg(coupon, '' ORDER BY id) FROM early WHERE id IN ('1', 'new')";
    until_text(&postgres, coupons, "YX").await;

    // Dropped, swapped, and emptied by a crash of the server.
    postgres
        .batch_execute(
            "DROP TABLE dropped; \
             BEGIN; ALTER TABLE swapped RENAME TO swapped_old; \
             CREATE TABLE swapped (LIKE swapped_old INCLUDING ALL); COMMIT",
        )
        .await
        .unwrap();
    for name in ["dropped", "swapped"] {
        set(&mongo, name, "1", 100).await;
    }
    until_held(&syncing, &[("dropped", "table_dropped"), ("swapped", "table_replaced")]).await;
    assert_eq!(
        rows(&postgres, "dropped").await,
        None,
        "no mirror is made in place of a table that was there"
    );
    postgres.batch_execute("CREATE TABLE dropped (id text PRIMARY KEY, n int)").await.unwrap();
    stack.postgres.kill().await;
    stack.postgres.restart().await.unwrap();
    let postgres = endpoints.postgres().await.unwrap();
    set(&mongo, "fast", "1", 100).await;
    let held = [("dropped", "table_replaced"), ("swapped", "table_replaced"), ("fast", "table_emptied")];
    let details = until_held(&syncing, &held).await;
    set(&mongo, "neighbour", "1", 100).await;
    until_text(&postgres, "SELECT n::text FROM neighbour WHERE id = '1'", "100").await;

    for detail in details.values() {
        let (_, way_out) = detail.split_once("Syncer: ").unwrap();
        postgres.batch_execute(way_out).await.unwrap();
    }
    for name in ["dropped", "swapped", "fast"] {
        until_rows(&postgres, name, DOCUMENTS).await;
        until_text(&postgres, &format!("SELECT n::text FROM {name} WHERE id = '1'"), "100").await;
    }
    until_held(&syncing, &[]).await;
}

async fn fill(database: &Database, collection: &str, n: i32) {
    let documents = (0..DOCUMENTS).map(|id| doc! { "_id": id.to_string(), "n": n, "a": n });
    database.collection::<Document>(collection).insert_many(documents).await.unwrap();
}

async fn set(database: &Database, collection: &str, id: &str, n: i32) {
    let collection = database.collection::<Document>(collection);
    collection.update_one(doc! { "_id": id }, doc! { "$set": { "n": n } }).await.unwrap();
}

/// Rows of a table; none where there is no such table.
async fn rows(postgres: &tokio_postgres::Client, table: &str) -> Option<i64> {
    Some(postgres.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.ok()?.get(0))
}

async fn until_rows(postgres: &tokio_postgres::Client, table: &str, expected: i32) {
    until_number(postgres, &format!("SELECT count(*) FROM {table}"), i64::from(expected)).await;
}

/// Waits until exactly the topics of these collections are held for these reasons; returns what is said of each.
async fn until_held(syncer: &Service, expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    let topic = |name: &str| format!("cdc.{SOURCE_DATABASE}.{name}");
    let expected: Vec<(String, &str)> =
        expected.iter().map(|(name, reason)| (topic(name), *reason)).collect();
    cdc_tests::held::until_held(syncer, &expected).await.unwrap()
}
