//! Documents up to MongoDB's own limit come through whole with the shipped defaults.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bson::{Binary, Document, doc, spec::BinarySubtype};
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE, TOPIC, messages_in_topics};
use cdc_tests::testbed::Testbed;

const MIB: usize = 1024 * 1024;
/// A document may have 16 MiB; the rest of it is small.
const LARGEST: usize = 16 * MIB - 4096;
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_of_up_to_16_mib_arrive_whole() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &[]).unwrap();
    // By COPY, whose pieces are smaller than these rows; documents of 4 MiB go as arrays in the test of the memory.
    let syncer = Deployment::new(
        Role::Syncer,
        "syncer",
        stack.folder(),
        &endpoints,
        &[("CDC__BATCH__COPY_THRESHOLD", "1")],
    )
    .unwrap();
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();

    let collection = mongo.database(SOURCE_DATABASE).collection::<Document>("players");
    // JSON spells a control character in six bytes, and binary data in four for three.
    let texts = [
        ("large", "y".repeat(3 * MIB)),
        ("largest", "z".repeat(LARGEST)),
        ("controls", "\u{1}".repeat(9 * MIB)),
        ("updated", "a".repeat(2 * MIB)),
    ];
    for (id, text) in &texts {
        collection.insert_one(doc! { "_id": *id, "text": text }).await.unwrap();
    }
    let bytes = vec![0xa5; 12 * MIB];
    let binary = Binary { subtype: BinarySubtype::Generic, bytes: bytes.clone() };
    collection.insert_one(doc! { "_id": "binary", "bytes": binary }).await.unwrap();
    collection.insert_one(doc! { "_id": "deleted", "text": "b".repeat(5 * MIB) }).await.unwrap();
    collection.update_one(doc! { "_id": "updated" }, doc! { "$set": { "level": 2 } }).await.unwrap();
    collection.delete_one(doc! { "_id": "deleted" }).await.unwrap();
    // The last change of all: in each partition nothing comes behind what was written before it.
    collection.insert_one(doc! { "_id": "last" }).await.unwrap();

    let rows = "SELECT count(*) FROM players WHERE id <> 'deleted' AND (id <> 'updated' OR cdc_operation = 'update')";
    let all_there = async {
        loop {
            if let Ok(row) = postgres.query_one(rows, &[]).await
                && row.get::<_, i64>(0) == 6
                && postgres.query("SELECT FROM players WHERE id = 'deleted'", &[]).await.unwrap().is_empty()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(ARRIVES_WITHIN, all_there).await.expect("every document arrives");

    for (id, text) in &texts {
        let row =
            postgres.query_one("SELECT document ->> 'text' FROM players WHERE id = $1", &[id]).await.unwrap();
        assert!(row.get::<_, String>(0) == *text, "{id} is not what was inserted");
    }
    let row = postgres
        .query_one(
            "SELECT document ->> 'bytes', bson_types ? 'binData:00' FROM players WHERE id = 'binary'",
            &[],
        )
        .await
        .unwrap();
    assert!(row.get::<_, String>(0) == BASE64.encode(&bytes) && row.get(1), "binary data survive");
    let dead = messages_in_topics(&endpoints.kafka_brokers, &[format!("{TOPIC}.dead-letters")]).unwrap();
    assert_eq!(dead, 0, "nothing is given up");

    watching.terminate(Duration::from_secs(30)).await.unwrap();
    syncing.terminate(Duration::from_secs(30)).await.unwrap();
}
