//! Collections that are dropped, recreated, replaced and added.

use bson::doc;
use cdc_tests::waiting::until;

use super::rig::{Case, FROM_NOW, PARTITIONS, Rig, STOP, finish, gaps_open};

pub(crate) async fn dropped_and_recreated(rig: &Rig) {
    let case = rig.case("recreated");
    let watching = case.start(STOP).await;
    case.insert(1).await;
    case.until_inserted(&[1]).await;
    // Under the stream everything is told: there is no gap, now or after a restart.
    case.documents().drop().await.unwrap();
    case.insert(2).await;
    case.until_inserted(&[1, 2]).await;
    assert_eq!(case.told("drop"), (PARTITIONS, PARTITIONS));
    finish(watching).await;
    let watching = case.start(STOP).await;
    case.insert(3).await;
    case.until_inserted(&[1, 2, 3]).await;
    assert_eq!((case.causes().await.len(), gaps_open(&watching).await), (0, 0.0));
    finish(watching).await;

    // While nobody watches another collection takes the name. The stream tells of it all the same, once it is read.
    case.documents().drop().await.unwrap();
    case.insert(4).await;
    let watching = case.start(STOP).await;
    case.until_inserted(&[1, 2, 3, 4]).await;
    assert_eq!(case.told("drop"), (PARTITIONS, 2 * PARTITIONS));
    finish(watching).await;
    let watching = case.start(STOP).await;
    case.insert(5).await;
    case.until_inserted(&[1, 2, 3, 4, 5]).await;
    assert_eq!((case.causes().await.len(), gaps_open(&watching).await), (0, 0.0));
    finish(watching).await;

    // What `$out` puts there it tells nothing of, but that it did.
    rig.database.collection("staged_while_away").insert_one(doc! { "_id": 7 }).await.unwrap();
    let staged = rig.database.collection::<bson::Document>("staged_while_away");
    drop(staged.aggregate([doc! { "$out": "recreated" }]).await.unwrap());
    let watching = case.start(STOP).await;
    case.shows_one_gap(&watching, "collection_replaced").await;
    finish(watching).await;
    assert_eq!(case.causes().await.len(), 1);
}

pub(crate) async fn replaced(rig: &Rig) {
    let case = rig.case("replaced");
    let watching = case.start(FROM_NOW).await;
    case.insert(1).await;
    rig.database.collection("staged").insert_one(doc! { "_id": 7 }).await.unwrap();
    let staged = rig.database.collection::<bson::Document>("staged");
    drop(staged.aggregate([doc! { "$out": "replaced" }]).await.unwrap());
    case.insert(2).await;
    case.until_inserted(&[1, 2]).await;
    // Its message stands in the topic before the record holds it.
    let told = case.told("gap");
    assert_eq!((told, case.told("rename")), ((PARTITIONS, PARTITIONS), (PARTITIONS, PARTITIONS)));
    until("the gap to be recorded", async || !case.causes().await.is_empty()).await;
    case.shows_one_gap(&watching, "collection_replaced").await;
    let metrics = watching.metrics().await.unwrap();
    assert_eq!(metrics.value("cdc_watcher_events_skipped_total", &[("kind", "rename")]), Some(1.0));
    finish(watching).await;
    let watching = case.start(STOP).await;
    case.insert(3).await;
    case.until_inserted(&[1, 2, 3]).await;
    assert_eq!((case.causes().await.len(), case.told("gap")), (1, told));
    finish(watching).await;
}

pub(crate) async fn added(rig: &Rig) {
    let case = rig.case("first");
    rig.database.collection("second").insert_one(doc! { "_id": 1 }).await.unwrap();
    finish(case.start(STOP).await).await;
    let both = Case { collections: "first,second,third".to_owned(), ..case };
    let watching = both.start(STOP).await;
    both.shows_one_gap(&watching, "collection_added").await;
    let gap = both.record().await["gaps"][0].clone();
    // The third one is empty: its first document is in the stream.
    assert_eq!(
        (&gap["collections"], &gap["from"]),
        (&serde_json::json!(["second"]), &serde_json::Value::Null)
    );
    finish(watching).await;
}
