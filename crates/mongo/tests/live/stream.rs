//! What a healthy stream delivers.

use bson::{Document, doc};
use cdc_ports::Source;
use cdc_watcher::{Reading, StartAt};

use crate::rig::{LINEAGE, MAX_BYTES, Rig, Seen, assert_rising, value};

const BOTH: [&str; 2] = ["players", "teams"];

/// Inserts `_id` from `from` to `to`, in order.
async fn insert(rig: &Rig, collection: &str, from: i32, to: i32) {
    let documents = (from..to).map(|id| doc! { "_id": id, "name": "x".repeat(200) });
    rig.collection(collection).insert_many(documents).await.unwrap();
}

/// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
/// Validates: Requirements 1.1
#[tokio::test]
async fn every_change_of_the_watched_collections_arrives_in_order() {
    let rig = Rig::start().await;
    insert(&rig, "players", -10, 0).await;
    // The start includes what happened at its very time: let that be this.
    insert(&rig, "elsewhere", -1, 0).await;
    let (mut source, at) = rig.open_now(&BOTH).await;

    insert(&rig, "players", 0, 2_000).await;
    insert(&rig, "elsewhere", 0, 50).await;
    insert(&rig, "teams", 0, 500).await;
    let players = rig.collection("players");
    players.update_one(doc! { "_id": 1 }, doc! { "$set": { "level": 2 } }).await.unwrap();
    players.replace_one(doc! { "_id": 2 }, doc! { "name": "new" }).await.unwrap();
    players.delete_one(doc! { "_id": 3 }).await.unwrap();
    let mut session = rig.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for id in 5_000..5_300 {
        players.insert_one(doc! { "_id": id }).session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();

    let mut expected: Vec<String> = (0..2_000).map(|id| format!("insert players {id}")).collect();
    expected.extend((0..500).map(|id| format!("insert teams {id}")));
    expected.extend(["update players 1", "replace players 2", "delete players 3"].map(str::to_owned));
    expected.extend((5_000..5_300).map(|id| format!("insert players {id}")));

    let mut seen = Seen::default();
    seen.read(&mut source, expected.len()).await;
    assert_eq!(seen.lines(), expected);
    let mut positions = vec![at.position];
    positions.extend(seen.positions());
    let idle = seen.read_to_idle(&mut source).await;
    // It may be the last event's own.
    assert!(idle >= *seen.tokens.last().unwrap());
    assert_rising(&positions);
    assert!(seen.skipped.is_empty(), "{:?}", seen.skipped);

    let update = value(seen.messages[2_500].as_ref().unwrap());
    assert_eq!(update["full_document"]["level"], 2);
    assert_eq!(update["update_desc"]["updated_fields"]["level"], 2);
}

/// Feature: cdc-pipeline, Property 3: Resume Token Persistence Round-Trip
/// Validates: Requirements 2.2
#[tokio::test]
async fn behind_any_token_comes_exactly_the_rest() {
    let rig = Rig::start().await;
    let (mut source, at) = rig.open_now(&BOTH).await;
    insert(&rig, "players", 0, 40).await;
    let mut seen = Seen::default();
    seen.read(&mut source, 40).await;
    let idle = seen.read_to_idle(&mut source).await;
    source.close().await;
    insert(&rig, "teams", 0, 1).await;

    let mut from = vec![(at, 0), (idle, 40)];
    from.extend(seen.tokens.iter().cloned().enumerate().map(|(index, token)| (token, index + 1)).step_by(7));
    for (token, delivered) in from {
        let mut source = rig.open_after(&BOTH, &token).await;
        let mut rest = Seen::default();
        rest.read(&mut source, 41 - delivered).await;
        let mut expected = seen.lines().split_off(delivered);
        expected.push("insert teams 0".to_owned());
        assert_eq!(rest.lines(), expected);
        source.close().await;
    }
}

#[tokio::test]
async fn nothing_is_read_before_the_first_call_and_a_second_open_begins_anew() {
    let rig = Rig::start().await;
    let before = rig.open_cursors().await;
    let (mut source, at) = rig.open_now(&BOTH).await;
    insert(&rig, "players", 0, 10).await;
    let mut seen = Seen::default();
    seen.read(&mut source, 10).await;

    let again = source.open(StartAt::After(at.clone()), LINEAGE, Reading::Whole).await.unwrap().at;
    assert_eq!(again, at);
    let mut rest = Seen::default();
    rest.read(&mut source, 10).await;
    assert_eq!(rest.positions(), seen.positions());
    assert_eq!(rest.lines(), seen.lines());

    source.close().await;
    let mut open = rig.open_cursors().await;
    for _ in 0..100 {
        if open == before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        open = rig.open_cursors().await;
    }
    assert_eq!(open, before, "the cursors are closed on the server too");
}

#[tokio::test]
async fn the_stream_goes_on_behind_drops_renames_and_a_dropped_database() {
    let rig = Rig::start().await;
    let (mut source, _) = rig.open_now(&BOTH).await;
    insert(&rig, "players", 0, 1).await;
    rig.collection("players").drop().await.unwrap();
    insert(&rig, "unwatched", 0, 1).await;
    let rename = doc! { "renameCollection": "game_db.unwatched", "to": "game_db.players" };
    rig.client.database("admin").run_command(rename).await.unwrap();
    insert(&rig, "players", 1, 2).await;
    rig.database.drop().await.unwrap();
    insert(&rig, "players", 2, 3).await;

    let mut seen = Seen::default();
    // insert, drop, rename, insert, drop, dropDatabase, invalidate, insert
    seen.read(&mut source, 8).await;
    assert_eq!(seen.skipped, ["drop", "rename", "drop", "dropDatabase", "invalidate"]);
    let delivered: Vec<String> = seen.lines().into_iter().filter(|line| line != "-").collect();
    assert_eq!(delivered, ["insert players 0", "insert players 1", "insert players 2"]);
    assert_rising(&seen.positions());

    for (index, token) in seen.tokens.iter().enumerate() {
        let mut source = rig.open_after(&BOTH, token).await;
        let mut rest = Seen::default();
        rest.read(&mut source, 7 - index).await;
        assert_eq!(rest.positions(), seen.positions().split_off(index + 1), "behind event {index}");
        source.close().await;
    }
}

#[tokio::test]
async fn another_list_of_collections_goes_on_without_a_gap() {
    let rig = Rig::start().await;
    let (mut source, _) = rig.open_now(&["players"]).await;
    insert(&rig, "players", 0, 3).await;
    insert(&rig, "teams", 0, 3).await;
    insert(&rig, "players", 3, 4).await;
    let mut seen = Seen::default();
    seen.read(&mut source, 4).await;
    source.close().await;

    let mut source = rig.open_after(&["teams"], &seen.tokens[1]).await;
    let mut rest = Seen::default();
    rest.read(&mut source, 3).await;
    assert_eq!(rest.lines(), ["insert teams 0", "insert teams 1", "insert teams 2"]);
    rest.read_to_idle(&mut source).await;
    assert_eq!(rest.tokens.len(), 3);
}

#[tokio::test]
async fn an_event_beyond_the_bound_comes_alone() {
    let rig = Rig::start().await;
    let (mut source, _) = rig.open_now(&BOTH).await;
    let big = |id: i32| -> Document {
        doc! { "_id": id, "pad": "x".repeat(2 * MAX_BYTES as usize) }
    };
    for id in [0, 1] {
        rig.collection("players").insert_one(doc! { "_id": 10 + id }).await.unwrap();
        rig.collection("players").insert_one(big(id)).await.unwrap();
    }
    let mut seen = Seen::default();
    seen.read(&mut source, 4).await;
    assert_eq!(
        seen.lines(),
        ["insert players 10", "insert players 0", "insert players 11", "insert players 1"]
    );
}
