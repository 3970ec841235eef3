//! The position leaves the oplog.

use bson::doc;

use super::rig::{FROM_NOW, PARTITIONS, Rig, STOP, finish, gaps_open};

pub(crate) async fn rolled_over(rig: &Rig) {
    let case = rig.case("rolled_over");
    let watching = case.start(STOP).await;
    case.insert(1).await;
    case.until_inserted(&[1]).await;
    finish(watching).await;
    let before = case.record().await;
    case.insert(2).await;
    fill_oplog(rig, before["cluster_time"]["t"].as_u64().unwrap()).await;

    assert_eq!(case.exit_code(STOP).await, Some(65));
    assert_eq!(case.record().await["position"], before["position"], "the position is kept");
    let watching = case.start(FROM_NOW).await;
    case.shows_one_gap(&watching, "history_lost").await;
    let record = case.record().await;
    let gap = &record["gaps"][0];
    assert_eq!(gap["from"], before["position"]);
    assert!(gap["to"].as_str() > gap["from"].as_str(), "{gap}");
    assert!(record["lineage"].as_u64() > before["lineage"].as_u64());
    case.insert(3).await;
    case.until_inserted(&[1, 3]).await;
    finish(watching).await;
    let watching = case.start(STOP).await;
    case.insert(4).await;
    case.until_inserted(&[1, 3, 4]).await;
    assert_eq!((case.told("gap"), gaps_open(&watching).await), ((PARTITIONS, PARTITIONS), 1.0));
    finish(watching).await;
}

/// Writes until the oldest operation in the oplog is younger than `seconds`.
async fn fill_oplog(rig: &Rig, seconds: u64) {
    let oplog = rig.mongo.database("local").collection::<bson::Document>("oplog.rs");
    let pads = rig.database.collection("elsewhere");
    let mut filled_mb = 0;
    loop {
        let documents = (0..15).map(|_| doc! { "pad": "x".repeat(1 << 20) });
        pads.insert_many(documents).await.unwrap();
        filled_mb += 15;
        let first = oplog.find_one(doc! {}).sort(doc! { "$natural": 1 }).await.unwrap().unwrap();
        if u64::from(first.get_timestamp("ts").unwrap().time) > seconds + 1 {
            return;
        }
        assert!(filled_mb < 2_000, "the oplog still reaches back over {filled_mb} MB");
    }
}
