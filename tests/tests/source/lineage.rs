//! Rows keep off every change of a lineage below theirs, so none may be given out that is.

use bson::doc;
use cdc_tests::waiting::until;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::{sync, until_levels};
use crate::gaps::rig::{Case, FROM_NOW, PARTITIONS, Rig, STOP, finish};

/// A lineage that no clock has come to: as if the clock were behind by years.
const FUTURE: u32 = 0xF000_0000;

async fn set(case: &Case<'_>, id: i64, level: i64) {
    let set = doc! { "$set": { "level": level } };
    case.documents().update_one(doc! { "_id": id }, set).upsert(true).await.unwrap();
}

/// Makes the topic's end, and the rows, those of a lineage that is above the clock's.
async fn of_the_future(case: &Case<'_>) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &case.rig.endpoints.kafka_brokers).create().unwrap();
    let position = format!("{FUTURE:08x}6b045f8e00000001{}", "2c0100296e");
    for partition in (0..).take(PARTITIONS) {
        let headers = OwnedHeaders::new()
            .insert(Header { key: "cdc-position", value: Some(&position) })
            .insert(Header { key: "cdc-version", value: Some("1") });
        // A progress message of that time: it touches no row.
        let record = BaseRecord::to(&case.topic).partition(partition).key("cdc.control").payload("{}");
        producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(std::time::Duration::from_secs(20)).unwrap();
    let postgres = case.rig.endpoints.postgres().await.unwrap();
    let table = case.topic.rsplit('.').next().unwrap();
    let update = format!("UPDATE {table} SET cdc_position = decode('{position}', 'hex')");
    assert!(postgres.execute(&update, &[]).await.unwrap() > 0);
}

fn lineage_of(record: &serde_json::Value) -> u64 {
    record["lineage"].as_u64().unwrap()
}

pub(super) async fn a_record_lost_beside_a_topic_of_the_future(rig: &Rig) {
    let case = rig.case("lineage_lost");
    let watching = case.start(STOP).await;
    let syncing = sync(&case).await;
    set(&case, 1, 1).await;
    until_levels(&case, &[(1, 1)]).await;
    finish(watching).await;
    of_the_future(&case).await;

    case.remove().await;
    let watching = case.start(FROM_NOW).await;
    until("a position", async || case.record().await["lineage"].as_u64().is_some()).await;
    assert_eq!(lineage_of(&case.record().await), u64::from(FUTURE) + 1);
    set(&case, 1, 2).await;
    until_levels(&case, &[(1, 2)]).await;
    finish(watching).await;

    // The same by hand.
    case.remove().await;
    let reset =
        case.deployment(STOP, &[]).run(&["token", "reset", "--to", "now", "--new-source"]).await.unwrap();
    assert_eq!(reset.status.code(), Some(0), "{}", String::from_utf8_lossy(&reset.stderr));
    assert!(lineage_of(&case.record().await) > u64::from(FUTURE) + 1);
    let watching = case.start(STOP).await;
    set(&case, 1, 3).await;
    until_levels(&case, &[(1, 3)]).await;
    finish(watching).await;
    finish(syncing).await;
}

pub(super) async fn a_record_older_than_its_topic(rig: &Rig) {
    let case = rig.case("lineage_older");
    let watching = case.start(STOP).await;
    let syncing = sync(&case).await;
    set(&case, 1, 1).await;
    until_levels(&case, &[(1, 1)]).await;
    finish(watching).await;
    of_the_future(&case).await;
    // Nothing was made anew: the record is that of before.
    let before = lineage_of(&case.record().await);
    assert!(before < u64::from(FUTURE));
    let watching = case.start(STOP).await;
    set(&case, 1, 2).await;
    until_levels(&case, &[(1, 2)]).await;
    until("the lineage to be recorded", async || lineage_of(&case.record().await) == u64::from(FUTURE)).await;
    assert!(case.causes().await.is_empty(), "nothing is missing");
    finish(watching).await;
    finish(syncing).await;
}
