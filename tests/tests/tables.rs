//! Other people's tables, through both services: names, schemas, keys and types as they are.

use bson::{DateTime, Document, Uuid, doc};
use cdc_devstack::pipeline::{Deployment, Role};
use cdc_tests::site::PATIENCE;
use cdc_tests::testbed::Testbed;
use cdc_tests::waiting::until_text;
use mongodb::Database;

/// As people have them: a schema for each tenant, snake case, enums, arrays, a composed key, partitions.
const TABLES: &str = "
CREATE EXTENSION citext;
CREATE TYPE st AS ENUM ('new', 'paid');
CREATE DOMAIN short AS varchar(5);
CREATE DOMAIN code AS short CHECK (VALUE <> '');
CREATE SCHEMA tenant1;
CREATE SCHEMA shop;
CREATE TABLE tenant1.orders (id text PRIMARY KEY, order_id text, status st NOT NULL, tags text[], email citext, c code,
    reviewed boolean NOT NULL DEFAULT false);
CREATE TABLE shop.lines (tenant text, number integer, level integer, first_tag text, raw jsonb, PRIMARY KEY (tenant, number));
CREATE TABLE tenant1.devices (id uuid PRIMARY KEY, owner uuid, seen timestamptz, active boolean, address inet, cdc_deleted_at timestamptz);
CREATE TABLE tenant1.events (id integer PRIMARY KEY, y integer) PARTITION BY RANGE (id);
CREATE TABLE tenant1.events_1 PARTITION OF tenant1.events FOR VALUES FROM (0) TO (100);
";

const COLLECTIONS: &str = "orders,lines,devices,events";

const SYNCER: &str = "
naming: snake_case
tables:
  - collection: lines
    table: shop.lines
    columns: {tenant: _id.tenant, number: _id.n, level: stats.level, first_tag: stats.tags.0, raw: $}
  - collection: devices
    coerce: [id, owner, seen, active]
    deletes: soft
";

/// F06, F07, F09, F10, F12, F19 and F30 of the field: what landed nowhere, or in a mirror beside the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_other_names_keys_and_types_are_filled_as_they_are() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let mongo = mongo.database("tenant1");
    postgres.batch_execute(TABLES).await.unwrap();
    let folder = stack.folder();
    let watched = [
        ("CDC__MONGODB__DATABASE", "tenant1"),
        ("CDC__MONGODB__COLLECTION", COLLECTIONS),
        ("CDC__KAFKA__TOPIC", "cdc.{database}.{collection}"),
        ("CDC__KAFKA__PARTITIONS", "2"),
    ];
    let topics: Vec<String> = COLLECTIONS.split(',').map(|name| format!("cdc.tenant1.{name}")).collect();
    let topics = topics.join(",");
    let read = [("CDC__KAFKA__TOPIC", topics.as_str()), ("CDC__POSTGRES__SCHEMA", "{database}")];
    let watcher = Deployment::new(Role::Watcher, "watcher", folder, &endpoints, &watched).unwrap();
    let syncer = Deployment::new(Role::Syncer, "syncer", folder, &endpoints, &read).unwrap();
    let file = std::fs::read_to_string(syncer.config()).unwrap();
    std::fs::write(syncer.config(), format!("{file}{SYNCER}")).unwrap();
    let (_watching, mut syncing) = (watcher.start().await.unwrap(), syncer.start().await.unwrap());

    let orders = doc! { "_id": "o1", "orderId": "A1", "status": "paid", "tags": ["a", "b"], "email": "A@x", "c": "ab" };
    insert(&mongo, "orders", orders.clone()).await;
    let mut lost = orders.clone();
    lost.extend(doc! { "_id": "o2", "status": "lost" });
    insert(&mongo, "orders", lost).await;
    let many = (0..300).map(|number| {
        let mut order = orders.clone();
        order.insert("_id", format!("n{number}"));
        order
    });
    mongo.collection::<Document>("orders").insert_many(many).await.unwrap();
    let line = doc! { "_id": {"tenant": "t", "n": 1}, "stats": {"level": 3, "tags": ["x"]} };
    insert(&mongo, "lines", line).await;
    insert(&mongo, "lines", doc! { "_id": {"n": 1, "tenant": "t"}, "stats": {"level": 4} }).await;
    let device = "550e8400-e29b-41d4-a716-446655440000";
    let seen = "2024-01-15T10:30:00Z";
    let document =
        doc! { "_id": device, "owner": Uuid::new(), "seen": seen, "active": 1, "address": "10.0.0.0/8" };
    insert(&mongo, "devices", document).await;
    insert(&mongo, "events", doc! { "_id": 1, "y": 2024 }).await;
    insert(&mongo, "events", doc! { "_id": 1000, "y": 2024 }).await;
    insert(&mongo, "events", doc! { "_id": 2, "y": 2024, "at": DateTime::now() }).await;

    let order = "SELECT concat_ws('|', order_id, status, tags, email, c, reviewed) FROM tenant1.orders WHERE id = 'o1'";
    until_text(&postgres, order, "A1|paid|{a,b}|A@x|ab|f").await;
    until_text(&postgres, "SELECT count(*)::text FROM tenant1.orders", "301").await;
    let line = "SELECT concat_ws('|', level, first_tag, raw->'_id'->>'n') FROM shop.lines WHERE tenant = 't' AND number = 1";
    until_text(&postgres, line, "3|x|1").await;
    let row = "SELECT concat_ws('|', owner IS NOT NULL, seen AT TIME ZONE 'UTC', active, address, cdc_deleted_at IS NULL) FROM tenant1.devices";
    until_text(&postgres, row, "t|2024-01-15 10:30:00|t|10.0.0.0/8|t").await;
    until_text(&postgres, "SELECT string_agg(id::text, ',' ORDER BY id) FROM tenant1.events", "1,2").await;

    // What others fill stays through changes, across a restart; a deleted document's row says so.
    postgres.batch_execute("UPDATE tenant1.orders SET reviewed = true WHERE id = 'o1'").await.unwrap();
    assert_eq!(syncing.terminate(PATIENCE).await.unwrap().code(), Some(0));
    let set = doc! { "$set": { "status": "new", "tags": ["c"] } };
    mongo.collection::<Document>("orders").update_one(doc! { "_id": "o1" }, set).await.unwrap();
    mongo.collection::<Document>("devices").delete_one(doc! { "_id": device }).await.unwrap();
    mongo.collection::<Document>("lines").delete_one(doc! { "_id": {"tenant": "t", "n": 1} }).await.unwrap();
    let syncing = syncer.start().await.unwrap();
    until_text(&postgres, order, "A1|new|{c}|A@x|ab|t").await;
    until_text(&postgres, "SELECT (cdc_deleted_at IS NOT NULL)::text FROM tenant1.devices", "true").await;
    until_text(&postgres, "SELECT count(*)::text FROM shop.lines", "0").await;
    let mirrors =
        "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'players'";
    until_text(&postgres, mirrors, "0").await;
    let said = std::fs::read_to_string(syncing.log()).unwrap();
    for words in [
        "order_id (text) takes order_id",
        "tenant (text) takes _id.tenant",
        "exactly the fields tenant, n",
        "labels",
    ] {
        assert!(said.contains(words), "{words} is nowhere in the log");
    }
}

async fn insert(database: &Database, collection: &str, document: Document) {
    database.collection::<Document>(collection).insert_one(document).await.unwrap();
}
