//! Parents and children in tables with foreign keys, and bookings kept apart by an exclusion constraint, in random
//! order and in transactions, over eight partitions and a Syncer that is killed: in the end the tables are as the
//! collections, and nothing was given up but what cannot be written.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE};
use cdc_tests::testbed::Testbed;
use cdc_tests::topic;
use cdc_tests::waiting::until_number;
use mongodb::{Client, Database};

const SEED: u64 = 0xf0e1_61e5;
const PATIENCE: Duration = Duration::from_secs(90);
const CHILDREN: u32 = 300;
const PAIRS: u32 = 40;

const TABLES: &str = "
CREATE TABLE orders (id text PRIMARY KEY, x int, parent text REFERENCES orders (id), cdc_position bytea);
CREATE TABLE items (id text PRIMARY KEY, order_id text NOT NULL REFERENCES orders (id), n int CHECK (n < 1000), cdc_position bytea);
CREATE TABLE bits (id text PRIMARY KEY, item_id text REFERENCES items (id) DEFERRABLE INITIALLY DEFERRED, cdc_position bytea);
CREATE TABLE slots (id text PRIMARY KEY, room text, cdc_position bytea, EXCLUDE USING btree (room WITH =));
";

const COLLECTIONS: [&str; 4] = ["bits", "items", "orders", "slots"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_wait_for_each_other_end_up_as_the_collections_have_them() {
    let _turn = crate::TURN.lock().await;
    println!("seed {SEED:#x}");
    let mut random = fastrand::Rng::with_seed(SEED);
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let database = mongo.database(SOURCE_DATABASE);
    postgres.batch_execute(TABLES).await.unwrap();
    let collections = COLLECTIONS.join(",");
    let watched = [
        ("CDC__MONGODB__COLLECTION", collections.as_str()),
        ("CDC__KAFKA__TOPIC", "cdc.{database}.{collection}"),
    ];
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &watched).unwrap();
    let mut watching = watcher.start().await.unwrap();
    let topics = COLLECTIONS.map(|collection| format!("cdc.{SOURCE_DATABASE}.{collection}"));
    let list = topics.join(",");
    let settings = [("CDC__KAFKA__TOPIC", list.as_str()), ("CDC__WORKERS__POOL_SIZE", "4")];
    let deployment = Deployment::new(Role::Syncer, "syncer", stack.folder(), &endpoints, &settings).unwrap();
    let mut syncing = deployment.start().await.unwrap();

    // Children, parents and grandparents in any order, with a kill in the middle.
    let mut inserts: Vec<(&str, Document)> = Vec::new();
    for n in 0..CHILDREN {
        let parent = if n % 3 == 0 { None } else { Some(format!("o{}", n - n % 3)) };
        inserts.push(("orders", doc! { "_id": format!("o{n}"), "x": 1, "parent": parent }));
        inserts.push(("items", doc! { "_id": format!("i{n}"), "order_id": format!("o{n}"), "n": 1 }));
        inserts.push(("bits", doc! { "_id": format!("b{n}"), "item_id": format!("i{n}") }));
    }
    random.shuffle(&mut inserts);
    let half = inserts.len() / 2;
    for (index, (collection, document)) in inserts.into_iter().enumerate() {
        database.collection::<Document>(collection).insert_one(document).await.unwrap();
        if index == half {
            syncing.kill().await.unwrap();
            syncing = deployment.spawn().unwrap();
        }
    }
    together(&mongo, &database).await.unwrap();
    settled(&database, &postgres).await;

    // Parents go before their children; some come back before they have gone.
    let (orders, items, bits) = (of(&database, "orders"), of(&database, "items"), of(&database, "bits"));
    for n in (0..CHILDREN).step_by(5) {
        let id = |prefix: &str| doc! { "_id": format!("{prefix}{n}") };
        orders.delete_one(id("o")).await.unwrap();
        if n % 2 == 0 {
            orders.insert_one(doc! { "_id": format!("o{n}"), "x": 2 }).await.unwrap();
            continue;
        }
        items.delete_one(id("i")).await.unwrap();
        bits.delete_one(id("b")).await.unwrap();
        orders
            .update_many(doc! { "parent": format!("o{n}") }, doc! { "$set": { "parent": null } })
            .await
            .unwrap();
    }
    settled(&database, &postgres).await;

    let dead = |counts: Vec<i64>| counts.into_iter().sum::<i64>();
    let count =
        |topic: &String| topic::count(&endpoints.kafka_brokers, &format!("{topic}.dead-letters")).unwrap();
    assert_eq!(dead(topics.iter().map(count).collect()), 0, "nothing is given up");

    // One that waits, and then fails for a reason of its own, leaves; its neighbours do not wait for it.
    for (id, n) in [("late1", 1), ("late2", 999), ("late3", 1)] {
        items.insert_one(doc! { "_id": id, "order_id": "late", "n": n }).await.unwrap();
    }
    until_number(&postgres, "SELECT count(*) FROM cdc.parked", 3).await;
    postgres.batch_execute("ALTER TABLE items ADD CHECK (n <> 999)").await.unwrap();
    orders.insert_one(doc! { "_id": "late", "x": 1 }).await.unwrap();
    until_number(&postgres, "SELECT count(*) FROM items WHERE id LIKE 'late%'", 2).await;
    until_number(&postgres, "SELECT count(*) FROM cdc.parked", 0).await;
    assert_eq!(dead(topics.iter().map(count).collect()), 1);
    let reason = [("reason", "check_violation")];
    assert_eq!(syncing.metrics().await.unwrap().sum("cdc_dead_letters_total", &reason), 1.0);

    watching.terminate(Duration::from_secs(30)).await.unwrap();
    assert_eq!(syncing.terminate(Duration::from_secs(30)).await.unwrap().code(), Some(0));
}

fn of(database: &Database, collection: &str) -> mongodb::Collection<Document> {
    database.collection(collection)
}

/// Parents with their children in one transaction, children first, and rooms that are swapped in one.
async fn together(mongo: &Client, database: &Database) -> mongodb::error::Result<()> {
    let (orders, items, slots) = (of(database, "orders"), of(database, "items"), of(database, "slots"));
    let mut session = mongo.start_session().await?;
    for n in 0..PAIRS {
        session.start_transaction().await?;
        let child = doc! { "_id": format!("ti{n}"), "order_id": format!("to{n}"), "n": 1 };
        items.insert_one(child).session(&mut session).await?;
        orders.insert_one(doc! { "_id": format!("to{n}"), "x": 1 }).session(&mut session).await?;
        session.commit_transaction().await?;
        slots.insert_one(doc! { "_id": format!("a{n}"), "room": format!("{n}-1") }).await?;
        slots.insert_one(doc! { "_id": format!("b{n}"), "room": format!("{n}-2") }).await?;
    }
    for n in 0..PAIRS {
        session.start_transaction().await?;
        for (id, room) in [("a", "2"), ("b", "1")] {
            let change = doc! { "$set": { "room": format!("{n}-{room}") } };
            slots.update_one(doc! { "_id": format!("{id}{n}") }, change).session(&mut session).await?;
        }
        session.commit_transaction().await?;
    }
    Ok(())
}

/// Waits until each table has what its collection has, and nothing is parked.
async fn settled(database: &Database, postgres: &tokio_postgres::Client) {
    for (collection, field, column) in [
        ("orders", "parent", "parent"),
        ("items", "order_id", "order_id"),
        ("bits", "item_id", "item_id"),
        ("slots", "room", "room"),
    ] {
        let mut expected = Vec::new();
        let mut documents = of(database, collection).find(doc! {}).await.unwrap();
        while documents.advance().await.unwrap() {
            let document = documents.deserialize_current().unwrap();
            let value = document.get_str(field).unwrap_or("-");
            expected.push(format!("{}={value}", document.get_str("_id").unwrap()));
        }
        expected.sort_unstable();
        let sql = format!("SELECT id || '=' || coalesce({column}, '-') FROM {collection}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows = postgres.query(&sql, &[]).await.unwrap();
            let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            found.sort_unstable();
            if found == expected {
                break;
            }
            let missing = expected.iter().filter(|it| !found.contains(it)).count();
            let extra: Vec<_> = found.iter().filter(|it| !expected.contains(it)).take(5).collect();
            assert!(Instant::now() < deadline, "{collection}: {missing} are missing, {extra:?} are too many");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    until_number(postgres, "SELECT count(*) FROM cdc.parked", 0).await;
}
