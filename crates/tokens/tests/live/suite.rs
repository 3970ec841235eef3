//! What holds for both stores.

use std::time::Duration;

use cdc_executor::ports::{Acquisition, StoreIdentity, TokenStore};
use cdc_machine::Fault;

use crate::backend::{
    Backend, Files, LINEAGE, LONG, Redis, SHORT, assert_same, held, identity, owned, token,
};

/// One test for each backend.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_redis {
            $(#[tokio::test] async fn $name() { super::$name(super::Redis::start()).await; })*
        }
        mod on_file {
            $(#[tokio::test] async fn $name() { super::$name(super::Files::new()).await; })*
        }
    };
}

on_both! {
    an_empty_store_gives_the_lease_and_no_position
    what_was_saved_is_there_after_a_restart
    another_instance_waits_and_gets_what_was_given_back
    a_lease_that_ran_out_is_taken_and_its_holder_fenced
    a_holder_that_renews_keeps_an_expired_lease
    the_same_instance_takes_over_at_once_but_not_twice
    two_of_one_name_do_not_evict_each_other_for_ever
    a_flushed_store_is_written_again_from_memory
    a_rolled_back_store_is_written_again_from_memory
    anothers_record_fences_even_with_an_older_position
    nothing_is_written_without_the_lease
    another_source_or_topic_is_foreign
    a_changed_list_of_collections_resumes
    a_newer_version_is_refused_by_name
    a_damaged_record_is_never_an_empty_one
    a_damaged_record_under_its_holder_is_written_again_from_memory
    of_many_claims_at_once_one_wins
}

async fn an_empty_store_gives_the_lease_and_no_position(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    assert_eq!(store.peek().await.unwrap(), None);
    assert_eq!(backend.get("cell").await, None, "to look is not to write");
    assert_eq!(owned(store.acquire().await.unwrap()), None);
    assert_eq!(store.peek().await.unwrap(), None, "a lease is not a position");
}

async fn what_was_saved_is_there_after_a_restart(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    owned(store.acquire().await.unwrap());
    for n in 1..=5 {
        store.save(&token(n), LINEAGE).await.unwrap();
    }
    let peeked = backend.store("cell", "spectator").peek().await.unwrap().unwrap();
    assert_same(&peeked.token, &token(5));
    assert_eq!(peeked.holder.as_deref(), Some("a"));
    assert_eq!(peeked.incarnation, 1);
    store.release().await.unwrap();
    drop(store);

    let record = owned(backend.store("cell", "a").acquire().await.unwrap()).unwrap();
    assert_same(&record.token, &token(5));
    assert_eq!(record.lineage, LINEAGE);
    assert_eq!(record.identity, identity());
    assert_eq!(record.incarnation, 2);
    assert!(record.saved_at_ms > 1_600_000_000_000, "Unix milliseconds: {}", record.saved_at_ms);
}

async fn another_instance_waits_and_gets_what_was_given_back(backend: impl Backend) {
    let mut first = backend.store("cell", "a");
    owned(first.acquire().await.unwrap());
    first.save(&token(1), LINEAGE).await.unwrap();

    let mut second = backend.store("cell", "b");
    let (holder, expires_in) = held(second.acquire().await.unwrap());
    assert_eq!(holder, "a");
    assert!(expires_in > Duration::ZERO && expires_in <= LONG, "{expires_in:?}");

    first.release().await.unwrap();
    let record = second.peek().await.unwrap().unwrap();
    assert_eq!(record.holder, None);
    assert_same(&owned(second.acquire().await.unwrap()).unwrap().token, &token(1));
}

async fn a_lease_that_ran_out_is_taken_and_its_holder_fenced(backend: impl Backend) {
    let mut first = backend.store_of("cell", identity(), "a", SHORT);
    owned(first.acquire().await.unwrap());
    first.save(&token(1), LINEAGE).await.unwrap();

    let mut second = backend.store_of("cell", identity(), "b", SHORT);
    let record = loop {
        match second.acquire().await.unwrap() {
            Acquisition::Owned(record) => break record,
            Acquisition::Held { expires_in, .. } => tokio::time::sleep(expires_in).await,
            Acquisition::Foreign(text) => panic!("{text}"),
        }
    };
    assert_same(&record.unwrap().token, &token(1));
    second.save(&token(2), LINEAGE).await.unwrap();

    let failures = [
        first.save(&token(3), LINEAGE).await.unwrap_err(),
        first.renew().await.unwrap_err(),
        first.release().await.unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.fault, Fault::Fenced, "{failure}");
        assert!(failure.message.contains("belongs to b"), "{failure}");
    }
    assert_same(&second.peek().await.unwrap().unwrap().token, &token(2));
    second.save(&token(3), LINEAGE).await.unwrap();
}

async fn a_holder_that_renews_keeps_an_expired_lease(backend: impl Backend) {
    let mut store = backend.store_of("cell", identity(), "a", Duration::ZERO);
    owned(store.acquire().await.unwrap());
    store.renew().await.unwrap();
    store.save(&token(1), LINEAGE).await.unwrap();
    store.renew().await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(1));
}

async fn the_same_instance_takes_over_at_once_but_not_twice(backend: impl Backend) {
    let mut killed = backend.store("cell", "a");
    owned(killed.acquire().await.unwrap());
    killed.save(&token(1), LINEAGE).await.unwrap();

    let mut restarted = backend.store("cell", "a");
    let record = owned(restarted.acquire().await.unwrap()).unwrap();
    assert_same(&record.token, &token(1));
    assert_eq!(record.incarnation, 2);
    assert_eq!(killed.save(&token(2), LINEAGE).await.unwrap_err().fault, Fault::Fenced);

    let mut third = backend.store("cell", "a");
    let (holder, expires_in) = held(third.acquire().await.unwrap());
    assert_eq!(holder, "a");
    assert!(expires_in <= LONG, "{expires_in:?}");
    restarted.save(&token(2), LINEAGE).await.unwrap();
}

async fn two_of_one_name_do_not_evict_each_other_for_ever(backend: impl Backend) {
    let ttl = Duration::from_millis(200);
    let mut first = backend.store_of("cell", identity(), "a", ttl);
    owned(first.acquire().await.unwrap());
    let mut second = backend.store_of("cell", identity(), "a", ttl);
    owned(second.acquire().await.unwrap());

    // The evicted one comes back. However long it waits, the other goes on renewing and keeps the lease.
    let mut back = backend.store_of("cell", identity(), "a", ttl);
    for _ in 0..5 {
        let (_, expires_in) = held(back.acquire().await.unwrap());
        second.renew().await.unwrap();
        let a_while = ttl / 4;
        tokio::time::sleep(expires_in.min(a_while)).await;
        second.renew().await.unwrap();
    }
}

async fn a_flushed_store_is_written_again_from_memory(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();

    backend.put("cell", None).await;
    store.renew().await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(1));

    backend.put("cell", None).await;
    store.save(&token(2), LINEAGE).await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(2));

    backend.put("cell", None).await;
    assert_same(&owned(store.acquire().await.unwrap()).unwrap().token, &token(2));
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(2));
}

async fn a_rolled_back_store_is_written_again_from_memory(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();
    let older = backend.get("cell").await.unwrap();
    store.save(&token(2), LINEAGE).await.unwrap();

    backend.put("cell", Some(&older)).await;
    store.renew().await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(2));

    backend.put("cell", Some(&older)).await;
    assert_same(&owned(store.acquire().await.unwrap()).unwrap().token, &token(2));
    store.save(&token(3), LINEAGE).await.unwrap();
    assert_same(&store.peek().await.unwrap().unwrap().token, &token(3));
}

async fn anothers_record_fences_even_with_an_older_position(backend: impl Backend) {
    let mut other = backend.store("cell", "b");
    owned(other.acquire().await.unwrap());
    other.save(&token(1), LINEAGE).await.unwrap();
    let theirs = backend.get("cell").await.unwrap();
    backend.put("cell", None).await;

    let mut store = backend.store("cell", "a");
    assert_eq!(owned(store.acquire().await.unwrap()), None);
    store.save(&token(9), LINEAGE).await.unwrap();
    backend.put("cell", Some(&theirs)).await;
    assert_eq!(store.save(&token(10), LINEAGE).await.unwrap_err().fault, Fault::Fenced);
    assert_eq!(backend.get("cell").await.unwrap(), theirs);
}

async fn nothing_is_written_without_the_lease(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    assert_eq!(store.save(&token(1), LINEAGE).await.unwrap_err().fault, Fault::Fenced);
    assert_eq!(store.renew().await.unwrap_err().fault, Fault::Fenced);
    owned(store.acquire().await.unwrap());
    store.release().await.unwrap();
    assert_eq!(store.save(&token(1), LINEAGE).await.unwrap_err().fault, Fault::Fenced);
    assert_eq!(store.peek().await.unwrap(), None);
}

async fn another_source_or_topic_is_foreign(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();
    store.release().await.unwrap();
    let before = backend.get("cell").await;

    let others = [
        (StoreIdentity { source: "rs1/game_db".to_owned(), ..identity() }, "rs1/game_db"),
        (StoreIdentity { topics: vec!["elsewhere".to_owned()], ..identity() }, "elsewhere"),
    ];
    for (other, named) in others {
        let mut store = backend.store_of("cell", other, "a", LONG);
        match store.acquire().await.unwrap() {
            Acquisition::Foreign(text) => assert!(text.contains(named) && text.contains("cell"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(backend.get("cell").await, before, "a foreign record is left as it is");
}

async fn a_changed_list_of_collections_resumes(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();
    store.release().await.unwrap();

    let mut more = identity();
    more.collections.push("teams".to_owned());
    more.topics.push("cdc.game_db.teams".to_owned());
    let mut store = backend.store_of("cell", more.clone(), "a", LONG);
    let record = owned(store.acquire().await.unwrap()).unwrap();
    assert_same(&record.token, &token(1));
    assert_eq!(store.peek().await.unwrap().unwrap().identity, more);
}

async fn a_newer_version_is_refused_by_name(backend: impl Backend) {
    let content = r#"{"version":2,"something":"else"}"#;
    backend.put("cell", Some(content)).await;
    let mut store = backend.store("cell", "a");
    for failure in [store.acquire().await.unwrap_err(), store.peek().await.unwrap_err()] {
        assert_eq!(failure.fault, Fault::Fatal);
        assert!(failure.message.contains("version 2"), "{failure}");
    }
    assert_eq!(backend.get("cell").await.as_deref(), Some(content));
}

async fn a_damaged_record_is_never_an_empty_one(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();
    let whole = backend.get("cell").await.unwrap();

    let torn = &whole[..whole.len() / 2];
    let flipped = whole.replacen("6B045F8E", "6B045F8F", 1).replacen("gAA", "gAB", 1);
    let flipped = flipped.replacen("\"sequence\":", "\"sequence\":1", 1);
    assert_ne!(flipped, whole);
    for damaged in ["", "\0\0\0\0", "null", "{}", "82AB", torn, &flipped] {
        backend.put("cell", Some(damaged)).await;
        let mut fresh = backend.store("cell", "a");
        for failure in [fresh.acquire().await.unwrap_err(), fresh.peek().await.unwrap_err()] {
            assert_eq!(failure.fault, Fault::HistoryLost, "{damaged:?}: {failure}");
            assert!(failure.message.contains("cdc token reset"), "{failure}");
            assert!(
                failure.message.contains("restore") || failure.message.contains(".previous"),
                "{failure}"
            );
        }
        assert_eq!(backend.get("cell").await.as_deref(), Some(damaged), "left for a person to look at");
    }
}

async fn a_damaged_record_under_its_holder_is_written_again_from_memory(backend: impl Backend) {
    let mut store = backend.store("cell", "a");
    owned(store.acquire().await.unwrap());
    store.save(&token(1), LINEAGE).await.unwrap();
    for (n, damaged) in (2..).zip(["", "null", "{\"version\":1,", "82AB"]) {
        backend.put("cell", Some(damaged)).await;
        store.save(&token(n), LINEAGE).await.unwrap();
        assert_same(&store.peek().await.unwrap().unwrap().token, &token(n));
    }
    // A newer release's record is whole, and somebody else's.
    let newer = r#"{"version":2,"something":"else"}"#;
    backend.put("cell", Some(newer)).await;
    assert_eq!(store.save(&token(9), LINEAGE).await.unwrap_err().fault, Fault::Fatal);
    assert_eq!(backend.get("cell").await.as_deref(), Some(newer));
}

async fn of_many_claims_at_once_one_wins(backend: impl Backend) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let mut store = backend.store("cell", &format!("instance-{n}"));
        tasks.spawn(async move { store.acquire().await.unwrap() });
    }
    let all = tasks.join_all().await;
    let won = all.iter().filter(|acquisition| matches!(acquisition, Acquisition::Owned(None))).count();
    let wait = all.iter().filter(|acquisition| matches!(acquisition, Acquisition::Held { .. })).count();
    assert_eq!((won, wait), (1, 7), "{all:?}");
}
