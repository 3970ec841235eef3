//! Post-images that a collection does not record any more, or that have expired.

use bson::{Document, doc};
use cdc_mongo::{MongoSettings, MongoSource, UpdateImage};
use cdc_ports::Source as _;
use cdc_watcher::{Payload, Reading, StartAt};
use serde_json::Value;

use crate::rig::{LINEAGE, MAX_BYTES, MAX_EVENTS, Rig, settings, value};

async fn record_images(rig: &Rig, enabled: bool) {
    let command = doc! { "collMod": "players", "changeStreamPreAndPostImages": { "enabled": enabled } };
    rig.database.run_command(command).await.unwrap();
}

async fn update(rig: &Rig, id: impl Into<bson::Bson>, level: i32) {
    let set = doc! { "$set": { "level": level } };
    rig.collection("players").update_one(doc! { "_id": id.into() }, set).await.unwrap();
}

/// The updates that the source delivers up to this many, as `_id` and document, and how many were looked up.
async fn updates(source: &mut MongoSource, count: usize) -> (Vec<(Value, Value)>, u64) {
    let (mut seen, mut looked_up) = (Vec::new(), 0);
    while seen.len() < count {
        let batch = source.next(MAX_EVENTS, MAX_BYTES).await.unwrap();
        looked_up += batch.looked_up;
        for event in batch.events {
            let Payload::Message { record, .. } = event.payload else { continue };
            let message = value(&record);
            if message["operation_type"] == "update" {
                seen.push((message["document_key"]["_id"].clone(), message["full_document"].clone()));
            }
        }
    }
    (seen, looked_up)
}

#[tokio::test]
async fn an_update_without_its_post_image_is_looked_up() {
    let rig = Rig::start().await;
    let create = doc! { "create": "players", "changeStreamPreAndPostImages": { "enabled": true } };
    rig.database.run_command(create).await.unwrap();
    for id in 0..200 {
        rig.collection("players")
            .insert_one(doc! { "_id": id, "level": 0, "pad": "x".repeat(999) })
            .await
            .unwrap();
    }
    let settings =
        MongoSettings { full_document: UpdateImage::PostImage, ..settings(&rig.mongod.uri(), &["players"]) };
    let mut source = MongoSource::new(settings).unwrap();
    source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap();
    update(&rig, 1, 1).await;
    update(&rig, 1, 2).await;
    let (seen, looked_up) = updates(&mut source, 2).await;
    assert_eq!((seen[0].1["level"].as_i64(), looked_up), (Some(1), 0), "the document as the update left it");

    record_images(&rig, false).await;
    for id in 0..200 {
        update(&rig, id, 3).await;
    }
    rig.collection("players").delete_one(doc! { "_id": 7 }).await.unwrap();
    let (seen, looked_up) = updates(&mut source, 200).await;
    assert_eq!(looked_up, 200);
    for (id, (seen_id, document)) in seen.iter().enumerate() {
        assert_eq!(seen_id.as_u64(), Some(id as u64), "in their order");
        assert!(document["level"] == 3 || (id == 7 && document.is_null()), "{id}: {document}");
    }

    record_images(&rig, true).await;
    update(&rig, 1, 4).await;
    update(&rig, 1, 5).await;
    let (seen, looked_up) = updates(&mut source, 2).await;
    assert_eq!((seen[0].1["level"].as_i64(), looked_up), (Some(4), 0));
}

#[tokio::test]
async fn an_id_of_any_kind_is_looked_up_by_itself() {
    let rig = Rig::start().await;
    let create = doc! { "create": "players", "collation": { "locale": "en", "strength": 1 } };
    rig.database.run_command(create).await.unwrap();
    let settings =
        MongoSettings { full_document: UpdateImage::PostImage, ..settings(&rig.mongod.uri(), &["players"]) };
    let mut source = MongoSource::new(settings).unwrap();
    source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap();
    let ids: Vec<bson::Bson> = vec![
        "a".into(),
        doc! { "x": 1, "y": [1, 2] }.into(),
        bson::oid::ObjectId::new().into(),
        bson::Bson::Null,
        5_i64.into(),
        bson::DateTime::from_millis(7).into(),
    ];
    let plain = rig.database.collection::<Document>("players");
    for (n, id) in (0_i32..).zip(&ids) {
        plain.insert_one(doc! { "_id": id.clone(), "n": n }).await.unwrap();
        update(&rig, id.clone(), n).await;
    }
    let (seen, looked_up) = updates(&mut source, ids.len()).await;
    assert_eq!(looked_up, ids.len() as u64);
    for (n, (_, document)) in seen.iter().enumerate() {
        assert_eq!((document["n"].as_u64(), document["level"].as_u64()), (Some(n as u64), Some(n as u64)));
    }
}
