//! Views, time series, names that nobody has heard of, and post-images that are not there.

use std::time::Duration;

use bson::{Document, doc};
use cdc_tests::waiting::{health, status, until};

use super::{log_of, sync, until_levels};
use crate::gaps::rig::{Case, Rig, STOP, finish, gaps_open};

const POST_IMAGE: [(&str, &str); 1] = [("CDC__MONGODB__FULL_DOCUMENT", "post_image")];

async fn create(rig: &Rig, command: Document) {
    rig.database.run_command(command).await.unwrap();
}

async fn create_view(rig: &Rig, name: &str) {
    create(rig, doc! { "create": name, "viewOn": "anything", "pipeline": Vec::<Document>::new() }).await;
}

async fn record_images(rig: &Rig, name: &str, enabled: bool) {
    create(rig, doc! { "collMod": name, "changeStreamPreAndPostImages": { "enabled": enabled } }).await;
}

/// How a Watcher ends that is to refuse its start, and what it says.
async fn refused(case: &Case<'_>, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut service = case.deployment(STOP, settings).spawn().unwrap();
    let code = service.exited(Duration::from_secs(45)).await.unwrap().code();
    (code, log_of(&service))
}

pub(super) async fn names_that_cannot_be_watched_are_refused(rig: &Rig) {
    create_view(rig, "grown_ups").await;
    create(rig, doc! { "create": "weather", "timeseries": { "timeField": "ts", "metaField": "s" } }).await;
    create(rig, doc! { "create": "plain" }).await;
    let of = |collections: &str| Case { collections: collections.to_owned(), ..rig.case("plain") };
    // Alone or among others, and all at once.
    for alone in ["grown_ups", "weather"] {
        let (code, said) = refused(&of(alone), &[]).await;
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(alone), "{said}");
    }
    let (code, said) = refused(&of("plain,grown_ups,weather"), &POST_IMAGE).await;
    assert_eq!(code, Some(78), "{said}");
    for part in ["grown_ups is a view", "weather is a time-series", "plain does not record", "collMod"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let case = of("plain");
    assert_eq!(case.content().await, None, "no lease was taken");
    let (code, said) = refused(&of("plain,system.buckets.weather"), &[]).await;
    assert_eq!(code, Some(78), "{said}");

    record_images(rig, "plain", true).await;
    let watching = case.deployment(STOP, &POST_IMAGE).start().await.unwrap();
    finish(watching).await;
}

pub(super) async fn names_that_come_later_are_told_of(rig: &Rig) {
    let case = Case { collections: "early,late".to_owned(), ..rig.case("early") };
    create(rig, doc! { "create": "early" }).await;
    let watching = case.start(STOP).await;
    assert!(log_of(&watching).contains("no collection of this name"), "{}", log_of(&watching));
    let collections = status(&watching).await.unwrap()["collections"].clone();
    assert_eq!(collections, serde_json::json!({ "early": "changes", "late": "absent" }));
    // It may be mistyped; what there is is copied all the same.
    let (code, why) = health(&watching).await.unwrap();
    assert!(code == 503 && why.contains("mongodb has no collection") && why.contains(".late;"), "{why}");
    assert_eq!(watching.get("/readyz").await.unwrap().status, 200);
    // What comes is a view, and the others go on.
    create_view(rig, "late").await;
    until("the view to be noticed", async || health(&watching).await.unwrap().1.contains("view")).await;
    let (_, why) = health(&watching).await.unwrap();
    assert!(why.contains("late is a view"), "{why}");
    case.insert(1).await;
    case.until_inserted(&[1]).await;
    let metrics = watching.metrics().await.unwrap();
    assert_eq!(metrics.value("cdc_watched_collections", &[("serves", "view")]), Some(1.0));
    // A collection in its place mends it.
    rig.database.collection::<Document>("late").drop().await.unwrap();
    create(rig, doc! { "create": "late" }).await;
    until("the collection to be noticed", async || health(&watching).await.unwrap().0 == 200).await;
    assert_eq!(gaps_open(&watching).await, 0.0);
    finish(watching).await;
}

pub(super) async fn post_images_that_vanish_are_looked_up(rig: &Rig) {
    let case = rig.case("imaged");
    create(rig, doc! { "create": "imaged", "changeStreamPreAndPostImages": { "enabled": true } }).await;
    let levels = |level: i64| (1..=100).map(|id| (id, level)).collect::<Vec<_>>();
    let all = async |level: i64| {
        for id in 1..=100_i64 {
            let set = doc! { "$set": { "level": level } };
            case.documents().update_one(doc! { "_id": id }, set).upsert(true).await.unwrap();
        }
    };
    let watching = case.deployment(STOP, &POST_IMAGE).start().await.unwrap();
    let mut syncing = sync(&case).await;
    all(1).await;
    until_levels(&case, &levels(1)).await;

    record_images(rig, "imaged", false).await;
    all(2).await;
    until_levels(&case, &levels(2)).await;
    until("the missing images to be said", async || health(&watching).await.unwrap().0 == 503).await;
    let (_, why) = health(&watching).await.unwrap();
    assert!(why.contains("imaged does not record post-images"), "{why}");
    assert_eq!(status(&watching).await.unwrap()["collections"]["imaged"], "no_post_images");
    let missing = watching.metrics().await.unwrap().value("cdc_watcher_post_images_missing_total", &[]);
    assert_eq!(missing, Some(100.0));
    assert_eq!(log_of(&watching).matches("updates came without post-images").count(), 1);

    record_images(rig, "imaged", true).await;
    until("the images to be noticed", async || health(&watching).await.unwrap().0 == 200).await;
    // Such a Watcher is not started anew, but what happens meanwhile waits for it.
    finish(watching).await;
    record_images(rig, "imaged", false).await;
    all(3).await;
    assert_eq!(refused(&case, &POST_IMAGE).await.0, Some(78));
    record_images(rig, "imaged", true).await;
    let watching = case.deployment(STOP, &POST_IMAGE).start().await.unwrap();
    until_levels(&case, &levels(3)).await;
    assert_eq!((case.causes().await.len(), gaps_open(&watching).await), (0, 0.0));
    finish(watching).await;
    assert_eq!(syncing.terminate(Duration::from_secs(25)).await.unwrap().code(), Some(0));
}
