//! The default place, and those where an earlier release or another list of collections has left the record.

use cdc_event::ResumeToken;
use cdc_machine::Fault;
use cdc_ports::{Acquisition, StoreIdentity, TokenStore};
use cdc_watcher::RecordChange;

use crate::backend::{
    Backend, KNOWN, LINEAGE, LONG, assert_same, held, identity, on_both, owned, plain, token, watched,
};

on_both! {
    an_upgrade_and_a_way_back_lose_no_position
    a_record_of_another_pipeline_is_left_alone
    what_would_be_missed_is_refused_where_it_stands
    of_several_records_the_least_position_counts
    what_this_pipeline_has_saved_comes_before_other_lists
    what_cannot_be_read_may_be_behind_another_list_s_position
    who_has_not_asked_the_source_finds_what_the_watcher_finds
    what_cannot_be_read_is_never_nothing
    what_was_saved_in_the_first_place_counts
    a_place_that_strangers_share_is_named
}

const OLD: [&str; 1] = ["old"];

fn watching(names: &[&str]) -> StoreIdentity {
    StoreIdentity { collections: names.iter().map(|name| watched(name)).collect(), ..identity() }
}

fn knowing(names: &[&str]) -> RecordChange<ResumeToken> {
    RecordChange { known: vec![KNOWN; names.len()], ..plain() }
}

/// A pipeline that knows of one place only, and saves there.
async fn leave(backend: &impl Backend, cell: &str, names: &[&str], n: u32) {
    let mut store = backend.store_of(cell, watching(names), "earlier", LONG);
    owned(store.acquire(false).await.unwrap());
    store.save(&token(n), LINEAGE, &knowing(names)).await.unwrap();
    store.release().await.unwrap();
}

async fn an_upgrade_and_a_way_back_lose_no_position(backend: impl Backend) {
    leave(&backend, "old", &["players"], 3).await;
    let mut upgraded = backend.store_by_default("new", &OLD, identity());
    assert_same(&upgraded.peek().await.unwrap().unwrap().token, &token(3));
    assert_same(&owned(upgraded.acquire(false).await.unwrap()).unwrap().token, &token(3));
    upgraded.save(&token(4), LINEAGE, &plain()).await.unwrap();
    assert_eq!(backend.get("new").await, None, "one position is in one place");

    // Its standby, and the release before, meet it there.
    let mut standby = backend.store_of("old", identity(), "another", LONG);
    assert!(matches!(standby.acquire(false).await.unwrap(), Acquisition::Held { .. }));
    upgraded.release().await.unwrap();
    assert_same(&owned(standby.acquire(false).await.unwrap()).unwrap().token, &token(4));
    standby.save(&token(5), LINEAGE, &plain()).await.unwrap();
    standby.release().await.unwrap();
    let mut again = backend.store_by_default("new", &OLD, identity());
    assert_same(&owned(again.acquire(false).await.unwrap()).unwrap().token, &token(5));
}

async fn a_record_of_another_pipeline_is_left_alone(backend: impl Backend) {
    let mut theirs = backend.store_of("old", watching(&["orders"]), "a", LONG);
    owned(theirs.acquire(false).await.unwrap());
    theirs.save(&token(3), LINEAGE, &plain()).await.unwrap();
    let mut ours = backend.store_by_default("new", &OLD, identity());
    assert_eq!(ours.peek().await.unwrap(), None);
    assert_eq!(owned(ours.acquire(false).await.unwrap()), None);
    ours.save(&token(1), LINEAGE, &plain()).await.unwrap();
    // They work side by side, under one name even.
    theirs.save(&token(4), LINEAGE, &plain()).await.unwrap();
    ours.renew().await.unwrap();
}

async fn what_would_be_missed_is_refused_where_it_stands(backend: impl Backend) {
    leave(&backend, "old", &["players"], 3).await;
    let mut moved = identity();
    moved.collections[0].topic = "another".to_owned();
    let replaced = StoreIdentity { source: "rs1/game_db".to_owned(), ..identity() };
    for other in [moved, replaced] {
        let acquisition = backend.store_by_default("new", &OLD, other).acquire(false).await.unwrap();
        let Acquisition::Foreign(text) = acquisition else { panic!("{acquisition:?}") };
        assert!(text.contains("old"), "{text}");
    }
    assert_eq!(backend.get("new").await, None);
}

/// Two pipelines become one, and one becomes two.
async fn of_several_records_the_least_position_counts(backend: impl Backend) {
    leave(&backend, "of_items", &["items"], 9).await;
    leave(&backend, "of_players", &["players"], 5).await;
    let both = || watching(&["items", "players"]);
    let mut list = backend.store_by_default("of_both", &["of_items", "of_players", "old"], both());
    assert_same(&owned(list.acquire(false).await.unwrap()).unwrap().token, &token(5));
    list.release().await.unwrap();

    leave(&backend, "of_list", &["items", "orders"], 7).await;
    let mut one = backend.store_by_default("of_orders", &["of_list", "old"], watching(&["orders"]));
    assert_same(&owned(one.acquire(false).await.unwrap()).unwrap().token, &token(7));
}

/// The place that the list was gone on with in is behind the other one by now: who comes next must not take that.
async fn what_this_pipeline_has_saved_comes_before_other_lists(backend: impl Backend) {
    leave(&backend, "of_items", &["items"], 9).await;
    leave(&backend, "of_players", &["players"], 5).await;
    let names = ["items", "players"];
    let list = || backend.store_by_default("of_both", &["of_items", "of_players", "old"], watching(&names));
    let mut first = list();
    assert_same(&owned(first.acquire(false).await.unwrap()).unwrap().token, &token(5));
    first.save(&token(12), LINEAGE, &knowing(&names)).await.unwrap();
    let earlier = ["of_items", "of_players", "old"];
    let mut standby = backend.standby_by_default("of_both", &earlier, watching(&names), "b");
    held(standby.acquire(false).await.unwrap());
    assert_same(&list().peek().await.unwrap().unwrap().token, &token(12));
    first.release().await.unwrap();
    assert_same(&owned(list().acquire(false).await.unwrap()).unwrap().token, &token(12));
}

async fn what_cannot_be_read_may_be_behind_another_list_s_position(backend: impl Backend) {
    leave(&backend, "of_items", &["items"], 9).await;
    backend.put("old", Some("{\"version\":2,\"incarn")).await;
    let names = ["items", "players"];
    let list = || backend.store_by_default("of_both", &["of_items", "old"], watching(&names));
    let acquisition = list().acquire(false).await.unwrap();
    assert!(matches!(acquisition, Acquisition::Damaged(_)), "{acquisition:?}");
    // One for exactly this list is nobody else's.
    leave(&backend, "of_items", &names, 10).await;
    assert_same(&owned(list().acquire(false).await.unwrap()).unwrap().token, &token(10));
}

async fn who_has_not_asked_the_source_finds_what_the_watcher_finds(backend: impl Backend) {
    leave(&backend, "old", &["players"], 3).await;
    let mut moved = identity();
    moved.collections[0].topic = "another".to_owned();
    let mut reader = StoreIdentity { source: String::new(), ..moved.clone() };
    let found = backend.store_by_default("new", &OLD, reader.clone()).peek().await.unwrap();
    assert_same(&found.unwrap().token, &token(3));
    let acquisition = backend.store_by_default("new", &OLD, moved).acquire(false).await.unwrap();
    assert!(matches!(acquisition, Acquisition::Foreign(_)), "{acquisition:?}");
    reader.collections[0].name = "orders".to_owned();
    assert_eq!(backend.store_by_default("new", &OLD, reader).peek().await.unwrap(), None);
}

async fn what_cannot_be_read_is_never_nothing(backend: impl Backend) {
    backend.put("old", Some("{\"version\":2,\"incarn")).await;
    let mut store = backend.store_by_default("new", &OLD, identity());
    assert_eq!(store.peek().await.unwrap_err().fault, Fault::Poison);
    let acquisition = store.acquire(false).await.unwrap();
    let Acquisition::Damaged(text) = acquisition else { panic!("{acquisition:?}") };
    assert!(text.contains("old") && text.contains("set token_storage."), "{text}");
    assert_eq!(backend.get("new").await, None);
    // The policy gives the position up; what is damaged may be another's, and is left as it is.
    assert!(matches!(store.acquire(true).await.unwrap(), Acquisition::Lost));
    assert!(backend.get("new").await.is_some() && backend.get("old").await.unwrap().ends_with("incarn"));

    backend.put("new", None).await;
    backend.put("old", Some("{\"version\":1000}")).await;
    let acquisition = backend.store_by_default("new", &OLD, identity()).acquire(true).await.unwrap();
    assert!(matches!(acquisition, Acquisition::Unreadable(_)), "{acquisition:?}");
}

async fn what_was_saved_in_the_first_place_counts(backend: impl Backend) {
    leave(&backend, "new", &["players"], 2).await;
    leave(&backend, "old", &["players"], 1).await;
    let mut store = backend.store_by_default("new", &OLD, identity());
    assert_same(&owned(store.acquire(false).await.unwrap()).unwrap().token, &token(2));
}

async fn a_place_that_strangers_share_is_named(backend: impl Backend) {
    // A place that somebody has chosen, and a pipeline is at work there.
    let mut theirs = backend.store_of("shared", watching(&["orders"]), "b", LONG);
    owned(theirs.acquire(false).await.unwrap());
    theirs.save(&token(1), LINEAGE, &plain()).await.unwrap();
    let acquisition = backend.store("shared", "a").acquire(false).await.unwrap();
    let Acquisition::Foreign(text) = acquisition else { panic!("{acquisition:?}") };
    let words = "belongs to rs0/game_db.orders; this process watches rs0/game_db.players. Set token_storage.";
    assert!(text.contains(words), "{text}");
    theirs.release().await.unwrap();
    // By default not even after it.
    let acquisition = backend.store_by_default("shared", &[], identity()).acquire(false).await.unwrap();
    assert!(matches!(acquisition, Acquisition::Foreign(_)), "{acquisition:?}");
    owned(backend.store("shared", "a").acquire(false).await.unwrap());
}
