//! The token record lost, damaged, replaced.

use cdc_devstack::pipeline::{Deployment, Role};
use cdc_tests::waiting::until;

use super::rig::{Case, FROM_NOW, Rig, STOP, finish, gaps_open};

/// Starts a Watcher, lets one document through, and ends it.
async fn one_document(case: &Case<'_>) {
    let watching = case.start(STOP).await;
    case.insert(1).await;
    case.until_inserted(&[1]).await;
    finish(watching).await;
}

pub(crate) async fn a_flushed_store_is_written_again_from_memory(rig: &Rig) {
    let case = rig.case("flushed");
    let watching = case.start(STOP).await;
    for id in 0..200 {
        case.insert(id).await;
        if id % 50 == 25 {
            redis::cmd("FLUSHALL").exec_async(&mut rig.redis().await).await.unwrap();
        }
    }
    let all: Vec<i64> = (0..200).collect();
    case.until_inserted(&all).await;
    finish(watching).await;
    assert!(case.causes().await.is_empty());
    let watching = case.start(STOP).await;
    case.insert(200).await;
    case.until_inserted(&(0..=200).collect::<Vec<_>>()).await;
    assert_eq!(gaps_open(&watching).await, 0.0);
    finish(watching).await;
}

pub(crate) async fn a_missing_record_beside_a_topic_with_messages(rig: &Rig) {
    let case = rig.case("missing");
    one_document(&case).await;
    case.remove().await;
    case.insert(2).await;
    // A start at the present includes what happened at that very time: let it be something else.
    rig.database.collection("elsewhere").insert_one(bson::doc! { "_id": 1 }).await.unwrap();
    assert_eq!(case.exit_code(STOP).await, Some(65));
    assert_eq!(case.record().await["resume_token"], serde_json::Value::Null, "no position was made up");
    let watching = case.start(FROM_NOW).await;
    case.shows_one_gap(&watching, "token_missing").await;
    case.insert(3).await;
    case.until_inserted(&[1, 3]).await;
    finish(watching).await;
    // What is told once is not told again, and what is open stays so.
    let told = case.told("gap");
    let watching = case.start(FROM_NOW).await;
    assert_eq!((case.told("gap"), gaps_open(&watching).await), (told, 1.0));
    finish(watching).await;
}

pub(crate) async fn a_file_damaged_in_each_way(rig: &Rig) {
    let case = Case { file: Some(rig.stack.folder().join("token.dat")), ..rig.case("damaged") };
    one_document(&case).await;
    let good = case.content().await.unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x80;
    let mut torn = good.clone();
    torn[good.len() / 2..].fill(0);
    let newer = String::from_utf8(good.clone()).unwrap().replacen("\"version\":2", "\"version\":9", 1);
    type Way<'a> = (&'a str, Option<&'a [u8]>, Option<&'a str>);
    let ways: [Way<'_>; 6] = [
        ("truncated", Some(&good[..good.len() - 7]), Some("token_damaged")),
        ("empty", Some(b""), Some("token_damaged")),
        ("bit flipped", Some(&flipped), Some("token_damaged")),
        ("torn", Some(&torn), Some("token_damaged")),
        ("missing", None, Some("token_missing")),
        ("newer version", Some(newer.as_bytes()), None),
    ];
    let mut expected = vec![1];
    for (id, (way, content, cause)) in (10..).zip(ways) {
        match content {
            Some(content) => case.put(content).await,
            None => case.remove().await,
        }
        assert_eq!(case.exit_code(STOP).await, Some(65), "{way}");
        if content.is_some() {
            assert_eq!(case.content().await.as_deref(), content, "{way}: left for a person to look at");
        }
        let Some(cause) = cause else {
            assert_eq!(case.exit_code(FROM_NOW).await, Some(65), "{way}");
            assert_eq!(case.content().await.as_deref(), content, "{way}");
            continue;
        };
        let watching = case.start(FROM_NOW).await;
        assert_eq!((case.causes().await, gaps_open(&watching).await), (vec![cause.to_owned()], 1.0), "{way}");
        case.insert(id).await;
        expected.push(i64::from(id));
        case.until_inserted(&expected).await;
        finish(watching).await;
        assert_eq!(case.record().await["gaps"][0]["announced"], true, "{way}");
    }
    // The good copy is still good: everything since is read again.
    case.put(&good).await;
    finish(case.start(STOP).await).await;
}

pub(crate) async fn an_older_value_is_replayed_and_absorbed(rig: &Rig) {
    let case = rig.case("failed_over");
    one_document(&case).await;
    let older = case.content().await.unwrap();
    let topic = case.topic.as_str();
    let settings = [("CDC__KAFKA__TOPIC", topic), ("CDC__KAFKA__CONSUMER_GROUP", "failed-over")];
    let syncer =
        Deployment::new(Role::Syncer, "failed-over-syncer", rig.stack.folder(), &rig.endpoints, &settings)
            .unwrap();
    let mut syncing = syncer.start().await.unwrap();
    let watching = case.start(STOP).await;
    for id in 2..=20 {
        case.insert(id).await;
    }
    let update = bson::doc! { "$set": { "username": "changed" } };
    case.documents().update_one(bson::doc! { "_id": 2 }, update).await.unwrap();
    case.documents().delete_one(bson::doc! { "_id": 3 }).await.unwrap();
    case.until_inserted(&(1..=20).collect::<Vec<_>>()).await;
    let postgres = rig.endpoints.postgres().await.unwrap();
    let rows =
        async || match postgres.query("SELECT id, document::text FROM failed_over ORDER BY id", &[]).await {
            Ok(rows) => rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, String>(1))).collect(),
            Err(_) => Vec::new(),
        };
    let changed = |rows: &[(String, String)]| rows.iter().any(|(_, document)| document.contains("changed"));
    until("all rows", async || {
        let rows = rows().await;
        rows.len() == 19 && changed(&rows)
    })
    .await;
    let before = rows().await;
    finish(watching).await;

    case.put(&older).await;
    let watching = case.start(STOP).await;
    assert_eq!((case.causes().await.len(), gaps_open(&watching).await), (0, 0.0), "a replay is no gap");
    until("the replays to be fenced off", async || {
        syncing.metrics().await.unwrap().sum("cdc_fence_rejected_total", &[]) >= 18.0
    })
    .await;
    assert_eq!(rows().await, before);
    finish(watching).await;
    assert_eq!(syncing.terminate(std::time::Duration::from_secs(25)).await.unwrap().code(), Some(0));
}

pub(crate) async fn another_source_or_topic_is_refused(rig: &Rig) {
    let case = rig.case("foreign");
    one_document(&case).await;
    let before = case.content().await;
    for policy in [STOP, FROM_NOW] {
        let elsewhere = [("CDC__KAFKA__TOPIC", "elsewhere.{collection}")];
        let mut service = case.deployment(policy, &elsewhere).spawn().unwrap();
        let status = service.exited(std::time::Duration::from_secs(60)).await.unwrap();
        assert_eq!(status.code(), Some(65));
        let log = std::fs::read_to_string(service.log()).unwrap();
        assert!(log.contains("elsewhere.foreign") && log.contains("--new-source"), "{log}");
    }
    assert_eq!(case.content().await, before, "it is left as it was");
}
