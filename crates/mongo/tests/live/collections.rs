//! Collections that come, go and are replaced.

use bson::{Document, doc};
use cdc_mongo::{MongoSettings, MongoSource, UpdateImage};
use cdc_ports::{Serves, Source};
use cdc_watcher::{Contents, Reading, StartAt};
use serde_json::Value;

use crate::rig::{LINEAGE, MAX_BYTES, MAX_EVENTS, Rig, Seen, settings};

/// A control message as `operation collection [> new name] [gap of …]`.
fn told(control: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut line =
        format!("{} {}", text(&control["operation_type"]), text(&control["namespace"]["collection"]));
    if control.get("renamed_to").is_some() {
        line += &format!(" > {}", text(&control["renamed_to"]["collection"]));
    }
    if let Some(gap) = control.get("gap") {
        line += &format!("{} of {}", text(&gap["cause"]), gap["collections"]);
        assert_eq!(gap["to"], control["position"]);
        assert!(text(&gap["from"]) < text(&gap["to"]), "{gap}");
    }
    line
}

async fn rename(rig: &Rig, from: &str, to: &str, drop_target: bool) {
    let command = doc! {
        "renameCollection": format!("game_db.{from}"),
        "to": format!("game_db.{to}"),
        "dropTarget": drop_target,
    };
    rig.client.database("admin").run_command(command).await.unwrap();
}

async fn insert(rig: &Rig, collection: &str, id: i32) {
    rig.collection(collection).insert_one(doc! { "_id": id }).await.unwrap();
}

#[tokio::test]
async fn what_happens_to_a_collection_is_told_and_what_replaces_it_is_a_gap() {
    let rig = Rig::start().await;
    let mut expected = Vec::new();
    for name in ["players", "staged", "staged_too", "staged_for_out"] {
        insert(&rig, name, 1).await;
    }
    let (mut source, _) = rig.open_now(&["players", "teams"]).await;

    rig.collection("players").drop().await.unwrap();
    expected.push("drop players");
    rename(&rig, "staged", "players", false).await;
    expected.extend(["rename staged > players", "gap collection_replaced of [\"players\"]"]);
    rename(&rig, "staged_too", "players", true).await;
    expected.extend(["rename staged_too > players", "gap collection_replaced of [\"players\"]"]);
    let out = rig.collection("staged_for_out").aggregate([doc! { "$out": "players" }]).await.unwrap();
    drop(out);
    expected.extend(["rename tmp.agg_out > players", "gap collection_replaced of [\"players\"]"]);
    rename(&rig, "players", "teams", false).await;
    expected.extend(["rename players > teams", "gap collection_replaced of [\"teams\"]"]);
    rename(&rig, "teams", "elsewhere", false).await;
    expected.push("rename teams > elsewhere");
    insert(&rig, "players", 7).await;
    rig.database.drop().await.unwrap();
    expected.push("drop players");
    insert(&rig, "players", 8).await;

    let mut seen = Seen::default();
    let last = "insert players 8";
    while seen.lines().last().is_none_or(|line| line != last) {
        let batch = source.next(100, 1 << 20).await.unwrap();
        seen.take(batch);
    }
    let lines: Vec<String> = seen
        .control
        .iter()
        .map(told)
        .map(|line| match line.split_once("tmp.agg_out") {
            Some((before, rest)) => {
                format!("{before}tmp.agg_out{}", &rest[rest.find(" >").unwrap_or_default()..])
            }
            None => line,
        })
        .collect();
    assert_eq!(lines, expected);
    assert!(
        seen.skipped.contains(&"dropDatabase") && seen.skipped.contains(&"invalidate"),
        "{:?}",
        seen.skipped
    );
    crate::rig::assert_rising(&seen.positions());
}

#[tokio::test]
async fn the_collection_behind_a_name_is_known_by_its_uuid() {
    let rig = Rig::start().await;
    insert(&rig, "players", 1).await;
    let create = doc! { "create": "all_teams", "viewOn": "players", "pipeline": Vec::<Document>::new() };
    rig.database.run_command(create).await.unwrap();
    let mut source = rig.source(&["all_teams", "players", "teams"]);
    let mut contents = async || {
        let opening = source.open(StartAt::Now, LINEAGE, Reading::Whole).await.unwrap();
        opening.sightings.iter().map(|sighting| sighting.contents).collect::<Vec<_>>()
    };
    let first = contents().await;
    let [Contents::Unknown, Contents::Uuid(uuid), Contents::Absent] = first[..] else {
        panic!("a view, a collection, nothing: {first:?}");
    };
    assert_eq!(contents().await, first);
    rig.collection("players").drop().await.unwrap();
    insert(&rig, "players", 1).await;
    insert(&rig, "teams", 1).await;
    let second = contents().await;
    assert!(
        matches!(second[..], [_, Contents::Uuid(other), Contents::Uuid(_)] if other != uuid),
        "{second:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_watched_is_seen_by_name() {
    let rig = Rig::start().await;
    insert(&rig, "players", 1).await;
    let create = doc! { "create": "grown_ups", "viewOn": "players", "pipeline": Vec::<Document>::new() };
    rig.database.run_command(create).await.unwrap();
    let create = doc! { "create": "weather", "timeseries": { "timeField": "ts", "metaField": "s" } };
    rig.database.run_command(create).await.unwrap();
    let create = doc! { "create": "imaged", "changeStreamPreAndPostImages": { "enabled": true } };
    rig.database.run_command(create).await.unwrap();
    rig.database.run_command(doc! { "create": "recent", "capped": true, "size": 1 << 20 }).await.unwrap();
    let names = ["grown_ups", "imaged", "later", "players", "recent", "weather"];
    let survey = async |full_document| {
        let settings = MongoSettings { full_document, ..settings(&rig.mongod.uri(), &names) };
        let seen = MongoSource::new(settings).unwrap().survey().await.unwrap();
        assert!(seen.iter().map(|sighting| &*sighting.name).eq(names));
        seen.iter().map(|sighting| sighting.serves).collect::<Vec<_>>()
    };
    use Serves::{Absent, Changes, NoPostImages, TimeSeries, View};
    let expected = [View, Changes, Absent, Changes, Changes, TimeSeries];
    assert_eq!(survey(UpdateImage::Lookup).await, expected);
    let expected = [View, Changes, Absent, NoPostImages, NoPostImages, TimeSeries];
    assert_eq!(survey(UpdateImage::PostImage).await, expected);

    // A running stream notices what comes later.
    let (mut source, _) = rig.open_now(&["later", "players"]).await;
    let create = doc! { "create": "later", "viewOn": "players", "pipeline": Vec::<Document>::new() };
    rig.database.run_command(create).await.unwrap();
    let seen = loop {
        let batch = source.next(MAX_EVENTS, MAX_BYTES).await.unwrap();
        if let Some(seen) = batch.sightings {
            assert!(batch.history.is_some(), "the same look shows how far back the oplog reaches");
            break seen;
        }
    };
    assert_eq!([seen[0].serves, seen[1].serves], [View, Changes]);
}
