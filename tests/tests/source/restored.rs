//! MongoDB is restored from an older copy of its files: the same replica set, the same collections, another history.

use std::path::Path;

use bson::doc;
use cdc_tests::waiting::until;

use super::{sync, until_levels};
use crate::gaps::rig::{Case, FROM_NOW, Rig, STOP, finish};

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn restart_with(rig: &mut Rig, change: impl FnOnce(&Path, &Path)) {
    rig.stack.mongod.stop().await.unwrap();
    let data = rig.stack.folder().join("mongod-1");
    change(&data, &rig.stack.folder().join("mongod-copy"));
    rig.stack.mongod.restart().await.unwrap();
}

async fn set(case: &Case<'_>, id: i64, level: i64) {
    let set = doc! { "$set": { "level": level } };
    // The client may still hold connections from before the restart.
    until("a write", async || {
        case.documents().update_one(doc! { "_id": id }, set.clone()).upsert(true).await.is_ok()
    })
    .await;
}

/// One Watcher was killed right behind an event, the other one ended in order while all was quiet: their positions
/// are an event's and a mark behind it.
const NAMES: [&str; 2] = ["restored_event", "restored_idle"];

pub(super) async fn from_an_older_copy(rig: &mut Rig) {
    for name in NAMES {
        let case = rig.case(name);
        let watching = case.start(STOP).await;
        set(&case, 1, 1).await;
        until("a save", async || case.record().await["event_time"].is_object()).await;
        finish(watching).await;
    }
    restart_with(rig, copy).await;
    let [mut syncing_first, mut syncing_second] = [None, None];
    for (name, syncing) in NAMES.into_iter().zip([&mut syncing_first, &mut syncing_second]) {
        let case = rig.case(name);
        let mut watching = case.start(STOP).await;
        *syncing = Some(sync(&case).await);
        let copied = case.record().await["event_time"].clone();
        set(&case, 1, 9).await;
        set(&case, 2, 9).await;
        until_levels(&case, &[(1, 9), (2, 9)]).await;
        until("a save", async || case.record().await["event_time"] != copied).await;
        if name == "restored_event" {
            watching.kill().await.unwrap();
        } else {
            rig.database.collection("elsewhere").insert_one(doc! {}).await.unwrap();
            until("an idle position", async || {
                let record = case.record().await;
                record["cluster_time"] != record["event_time"]
            })
            .await;
            finish(watching).await;
        }
    }
    restart_with(rig, |data, copied| copy(copied, data)).await;
    // Whether anything happened since makes no difference: to the first one nothing has.
    for (name, syncing) in NAMES.into_iter().zip([syncing_first, syncing_second]).rev() {
        let case = rig.case(name);
        if name == "restored_event" {
            set(&case, 3, 3).await;
        }
        let before = case.record().await;
        assert_eq!(case.exit_code(STOP).await, Some(65), "{name}");
        let after = case.record().await;
        assert_eq!((&after["position"], after["gaps"].as_array().unwrap().len()), (&before["position"], 0));
        let watching = case.start(FROM_NOW).await;
        case.shows_one_gap(&watching, "history_lost").await;
        assert!(case.record().await["lineage"].as_u64() > before["lineage"].as_u64());
        // Rows move although the history that they came from was ahead.
        set(&case, 1, 5).await;
        let postgres = rig.endpoints.postgres().await.unwrap();
        let select = format!("SELECT document->>'level' FROM {name} WHERE document->>'_id' = '1'");
        until("the row to move", async || {
            postgres.query_one(&select, &[]).await.is_ok_and(|row| row.get::<_, String>(0) == "5")
        })
        .await;
        finish(watching).await;
        finish(syncing.unwrap()).await;
    }
}
