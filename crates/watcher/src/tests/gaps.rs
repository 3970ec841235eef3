//! What is given up is recorded with the position that it is given up for, and told to Kafka before the next
//! event.

use super::recreated::opened_other;
use super::*;

use cdc_machine::{Dependency, Retry};

use crate::{GapCause, Notice, OnHistoryLost, OnTooLarge};

pub(super) fn from_now() -> Config {
    Config { on_history_lost: OnHistoryLost::FromNow, ..small() }
}

pub(super) const fn notice(record: &'static str) -> Notice<&'static str> {
    Notice { record, bytes: 10 }
}

pub(super) fn saved_with_gap(id: u64) -> Fact {
    Input::TokenSaved { id: EffectId(id), result: Ok(vec![notice("gap")]) }
}

/// Resumed after token 10 with a gap that may not stand in Kafka yet.
fn resumed_with_gap(config: Config) -> Bench {
    let mut b = Bench::new(config);
    b.start();
    let known = vec![Some(KNOWN)];
    let saved = Saved::Position(Checkpoint { token: 10, lineage: Lineage(7), known });
    let unannounced = vec![notice("gap")];
    b.step(Input::LeaseTaken {
        id: EffectId(0),
        result: Ok(Taken { saved, unannounced, fresh: Lineage(9) }),
    });
    b.step(ready(1, true));
    b
}

#[test]
fn a_lost_history_goes_on_from_now_with_the_gap_in_the_same_save() {
    let mut b = Bench::reading(from_now(), &[11]);
    assert_eq!(
        b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::HistoryLost) }),
        ["CloseStream epoch=0"]
    );
    // What is in flight settles first: the gap begins behind it.
    assert_eq!(
        b.step(delivered(&[0])),
        ["SetTimer Reconnect#0 after=1s", "SetTimer SaveDelay#0 after=200ms"]
    );
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["OpenStream epoch=1 from=Now lineage=9 reading=Whole"]);
    assert_eq!(
        b.step(opened(1, 20)),
        [
            "CancelTimer SaveDelay#0",
            "SaveToken id=2 token=20 lineage=9 change=[history_lost 11..20 of [0]]",
            "SetTimer SaveSpacing#0 after=10ms"
        ]
    );
    assert_eq!(b.at(), CONNECTING);
    // Before the first event, to both partitions.
    assert_eq!(
        b.step(saved_with_gap(2)),
        ["PublishControl seq=2 records=[gap] copies=2", "Fetch epoch=1 max_events=3 max_bytes=80"]
    );
    assert_eq!(b.at(), STREAMING);
    assert_eq!(b.step(delivered(&[2])), NOTHING, "one of two copies");
    assert_eq!(b.step(delivered(&[2])), ["SetTimer SaveDelay#1 after=200ms"]);
    let due = b.expiry(TimerKind::SaveDelay);
    assert_eq!(b.step(due)[0], "SaveToken id=3 token=20 lineage=9 change=[]");
}

/// Each start finds the history lost anew: if a jump needed a retry, none would ever get over it.
#[test]
fn without_any_retry_a_lost_history_is_got_over_once() {
    let mut config = from_now();
    config.retries.mongodb = Retry::times(0);
    let mut b = Bench::new(config);
    b.start();
    let saved = Saved::Position(Checkpoint { token: 10, lineage: Lineage(7), known: vec![Some(KNOWN)] });
    let taken = Taken { saved, unannounced: vec![], fresh: Lineage(9) };
    b.step(Input::LeaseTaken { id: EffectId(0), result: Ok(taken) });
    assert_eq!(b.step(ready(1, true)), ["OpenStream epoch=0 from=After(10) lineage=7 reading=Whole"]);
    let lost = |epoch| Input::StreamOpened { epoch: Epoch(epoch), result: Err(Fault::HistoryLost) };
    assert_eq!(b.step(lost(0)), ["SetTimer Reconnect#0 after=1s"]);
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["OpenStream epoch=1 from=Now lineage=9 reading=Whole"]);
    b.step(lost(1));
    assert_eq!(b.at().1, None, "the lease is given back first");
    b.step(Input::LeaseReleased { id: EffectId(2), result: () });
    assert_eq!(
        b.at().1,
        Some(Cause::Unavailable(Dependency::MongoDb)),
        "a source that never gives one ends it"
    );
}

#[test]
fn a_gap_is_told_again_until_every_partition_has_it() {
    let mut b = resumed_with_gap(small());
    assert_eq!(
        b.step(opened(0, 10)),
        ["PublishControl seq=0 records=[gap] copies=2", "Fetch epoch=0 max_events=3 max_bytes=80"]
    );
    b.step(delivered(&[0]));
    assert_eq!(
        b.step(failed(0, Fault::Transient)),
        ["CloseStream epoch=0", "PurgeQueued", "SetTimer Reconnect#0 after=1s"]
    );
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["PrepareProducer id=2 batching=Shared { halvings: 0 }"]);
    b.step(ready(2, true));
    assert_eq!(
        b.step(opened(1, 10)),
        ["PublishControl seq=1 records=[gap] copies=2", "Fetch epoch=1 max_events=3 max_bytes=80"]
    );
}

/// Feature: cdc-pipeline, Property 4: Resume Token Save After Kafka Success
/// Validates: Requirements 2.1
#[test]
fn one_at_a_time_a_gap_is_told_acked_and_saved_before_the_next_event() {
    let letter = Config { max_replay_events: 1, token_save_interval: 1, ..small() };
    let mut b = resumed_with_gap(letter);
    assert_eq!(b.step(opened(0, 10)), ["PublishControl seq=0 records=[gap] copies=2"]);
    assert_eq!(b.at(), AWAITING_ACK);
    b.step(delivered(&[0]));
    assert_eq!(b.step(delivered(&[0]))[0], "SaveToken id=2 token=10 lineage=7 change=[]");
    assert_eq!(b.at(), SAVING_TOKEN);
    assert_eq!(b.step(saved(2)), ["Fetch epoch=0 max_events=1 max_bytes=100"]);
}

#[test]
fn a_save_before_the_gap_is_told_says_so() {
    let mut b = Bench::new(small());
    b.start();
    let saved = Saved::Position(Checkpoint { token: 10, lineage: Lineage(7), known: vec![None] });
    let unannounced = vec![notice("gap")];
    b.step(Input::LeaseTaken {
        id: EffectId(0),
        result: Ok(Taken { saved, unannounced, fresh: Lineage(9) }),
    });
    b.step(ready(1, true));
    let added = "SaveToken id=2 token=10 lineage=7 change=[collection_added ?..10 of [0]], gaps to announce";
    assert_eq!(b.step(opened(0, 10))[0], added);
    assert_eq!(b.step(saved_with_gap(2))[0], "PublishControl seq=1 records=[gap, gap] copies=2");
}

#[test]
fn an_empty_store_beside_a_full_topic_goes_on_from_now_with_a_gap() {
    let mut b = Bench::new(from_now());
    b.start();
    b.step(acquired(0, None));
    assert_eq!(b.step(ready(1, true)), ["OpenStream epoch=0 from=Now lineage=9 reading=Whole"]);
    assert_eq!(
        b.step(opened(0, 3))[0],
        "SaveToken id=2 token=3 lineage=9 change=[token_missing ?..3 of [0]]"
    );
}

#[test]
fn a_damaged_record_is_left_alone_or_taken_over_with_a_gap() {
    let mut b = Bench::new(small());
    b.start();
    assert_eq!(
        b.step(Input::LeaseTaken { id: EffectId(0), result: Err(LeaseRefusal::Damaged) }),
        ["Stop cause=TokenDamaged"]
    );

    let mut b = Bench::new(from_now());
    b.start();
    assert_eq!(
        b.step(Input::LeaseTaken { id: EffectId(0), result: Err(LeaseRefusal::Damaged) }),
        ["AcquireLease id=1 over_damage=true"]
    );
    let lost = Input::LeaseTaken {
        id: EffectId(1),
        result: Ok(Taken { saved: Saved::Lost, unannounced: vec![], fresh: Lineage(9) }),
    };
    b.step(lost);
    // An empty topic does not make it a first start.
    assert_eq!(b.step(ready(2, false)), ["OpenStream epoch=0 from=Now lineage=9 reading=Whole"]);
    assert_eq!(
        b.step(opened(0, 3))[0],
        "SaveToken id=3 token=3 lineage=9 change=[token_damaged ?..3 of [0]]"
    );
}

#[test]
fn a_newer_releases_record_is_refused_under_either_policy() {
    for config in [small(), from_now()] {
        let mut b = Bench::new(config);
        b.start();
        assert_eq!(
            b.step(Input::LeaseTaken { id: EffectId(0), result: Err(LeaseRefusal::Unreadable) }),
            ["Stop cause=TokenUnreadable"]
        );
    }
}

#[test]
fn a_start_that_fails_between_opening_and_saving_keeps_its_gap() {
    let mut b = Bench::streaming(from_now());
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::HistoryLost) });
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(opened(1, 20));
    b.step(Input::Fetched { epoch: Epoch(1), result: Err(Fault::Transient) });
    b.step(Input::TokenSaved { id: EffectId(2), result: Err(Fault::Transient) });
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["OpenStream epoch=2 from=After(20) lineage=9 reading=Whole"]);
    assert_eq!(b.step(opened(2, 20)), NOTHING, "the save backs off, and nothing is read");
    let due = b.expiry(TimerKind::SaveRetry);
    assert_eq!(b.step(due)[0], "SaveToken id=3 token=20 lineage=9 change=[history_lost 10..20 of [0]]");
}

#[test]
fn the_lineage_rises_with_each_loss() {
    let mut b = Bench::streaming(from_now());
    for (epoch, at, lineage) in [(1, 20, 9), (2, 30, 10)] {
        b.step(Input::Fetched { epoch: Epoch(epoch - 1), result: Err(Fault::HistoryLost) });
        let due = b.expiry(TimerKind::Reconnect);
        assert_eq!(
            b.step(due),
            [format!("OpenStream epoch={epoch} from=Now lineage={lineage} reading=Whole")]
        );
        b.step(opened(epoch, at));
        b.step(saved(epoch + 1));
        b.step(batch(epoch, &[]));
    }
}

#[test]
fn a_source_that_loses_what_it_has_just_given_ends_too() {
    let retries = crate::Retries { mongodb: Retry::times(1), ..crate::Retries::default() };
    let mut b = Bench::streaming(Config { retries, ..from_now() });
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::HistoryLost) });
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(Input::StreamOpened { epoch: Epoch(1), result: Err(Fault::HistoryLost) });
    assert_eq!(b.at(), DRAINING);
}

#[test]
fn a_collection_that_is_new_to_the_position_is_not_copied_yet() {
    let mut b = Bench::new(small());
    b.start();
    let saved =
        Saved::Position(Checkpoint { token: 10, lineage: Lineage(7), known: vec![Some(KNOWN), None, None] });
    b.step(Input::LeaseTaken {
        id: EffectId(0),
        result: Ok(Taken { saved, unannounced: vec![], fresh: Lineage(9) }),
    });
    let made = TopicState { was_made: true, holds_messages: false, ..TOPIC };
    b.step(Input::ProducerPrepared { id: EffectId(1), result: Ok(vec![TOPIC, made, made]) });
    // The third one does not exist: the stream will tell of its first document.
    let contents = vec![UUID, Contents::Uuid([2; 16]), Contents::Absent];
    let effects = b.step(Input::StreamOpened {
        epoch: Epoch(0),
        result: Ok(Opened { at: 10, contents, looked_at: 10 }),
    });
    assert_eq!(effects[0], "SaveToken id=2 token=10 lineage=7 change=[collection_added ?..10 of [1]]");
}

#[test]
fn what_an_old_record_does_not_say_is_no_gap() {
    let mut b = Bench::new(small());
    b.start();
    let known = Known { contents: Contents::Unknown, partitions: None, holds_messages: false };
    let saved = Saved::Position(Checkpoint { token: 10, lineage: Lineage(7), known: vec![Some(known)] });
    b.step(Input::LeaseTaken {
        id: EffectId(0),
        result: Ok(Taken { saved, unannounced: vec![], fresh: Lineage(9) }),
    });
    b.step(ready(1, true));
    assert_eq!(b.step(opened(0, 10)), ["Fetch epoch=0 max_events=4 max_bytes=100"]);
}

#[test]
fn a_collection_that_the_stream_saw_go_may_come_back() {
    let mut b = Bench::streaming(small());
    let payload = Payload::Control { notices: vec![notice("drop")], gone: vec![PLAYERS], replaced: vec![] };
    let dropped = Input::Fetched {
        epoch: Epoch(0),
        result: Ok(Batch { events: vec![Event { token: 11, payload }], idle: None }),
    };
    assert_eq!(
        b.step(dropped),
        ["PublishControl seq=0 records=[drop] copies=2", "Fetch epoch=0 max_events=3 max_bytes=80"]
    );
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::Transient) });
    b.step(delivered(&[0, 0]));
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    assert_eq!(b.step(opened_other(1, 11, 11)), ["Fetch epoch=1 max_events=3 max_bytes=100"]);
    assert_eq!(b.step(idle(1, 12)), ["Fetch epoch=1 max_events=3 max_bytes=100"]);
}

#[test]
fn a_replaced_collection_is_a_gap_that_stands_in_kafka_before_it_is_recorded() {
    let mut b = Bench::reading(small(), &[11]);
    let notices = vec![notice("rename"), notice("gap")];
    let payload = Payload::Control { notices, gone: vec![], replaced: vec![PLAYERS] };
    let renamed = Input::Fetched {
        epoch: Epoch(0),
        result: Ok(Batch { events: vec![Event { token: 12, payload }], idle: None }),
    };
    assert_eq!(
        b.step(renamed),
        ["PublishControl seq=1 records=[rename, gap] copies=2", "Fetch epoch=0 max_events=2 max_bytes=59"]
    );
    assert_eq!(b.step(delivered(&[0])), ["SetTimer SaveDelay#0 after=200ms"]);
    let due = b.expiry(TimerKind::SaveDelay);
    // A save that does not cover it does not hold it.
    assert_eq!(b.step(due)[0], "SaveToken id=2 token=11 lineage=7 change=[]");
    b.step(saved(2));
    for _ in 0..3 {
        assert_eq!(b.step(delivered(&[1])), NOTHING);
    }
    b.step(delivered(&[1]));
    let due = b.expiry(TimerKind::SaveDelay);
    assert_eq!(
        b.step(due)[0],
        "SaveToken id=3 token=12 lineage=7 change=[collection_replaced 11..12 of [0] told]"
    );
}

#[test]
fn a_replacement_that_is_read_again_is_one_gap() {
    let mut b = Bench::streaming(small());
    let payload = || Payload::Control { notices: vec![notice("gap")], gone: vec![], replaced: vec![PLAYERS] };
    let event = |epoch| Input::Fetched {
        epoch: Epoch(epoch),
        result: Ok(Batch { events: vec![Event { token: 11, payload: payload() }], idle: None }),
    };
    b.step(event(0));
    b.step(failed(0, Fault::Transient));
    b.step(failed(0, Fault::Transient));
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(ready(2, true));
    b.step(opened(1, 10));
    b.step(event(1));
    b.step(delivered(&[1, 1]));
    let due = b.expiry(TimerKind::SaveDelay);
    assert_eq!(
        b.step(due)[0],
        "SaveToken id=3 token=11 lineage=7 change=[collection_replaced 10..11 of [0] told]"
    );
}

#[test]
fn a_topic_that_has_grown_is_used_as_far_as_the_record_says() {
    let mut b = Bench::new(small());
    b.start();
    b.step(acquired(0, Some(10)));
    let grown = TopicState { partitions: 5, ..TOPIC };
    assert_eq!(
        b.step(Input::ProducerPrepared { id: EffectId(1), result: Ok(vec![grown]) }),
        ["OpenStream epoch=0 from=After(10) lineage=7 reading=Whole"]
    );
    b.step(opened(0, 10));
    // What the record says is 2: it stays so, also after the next save and the next look.
    assert_eq!(
        b.step(batch(0, &[11, 12]))[..2],
        ["Publish seq=0 record=body partitions=2", "Publish seq=1 record=body partitions=2"]
    );
    assert_eq!(
        b.machine.known().iter().map(|known| known.unwrap().partitions).collect::<Vec<_>>(),
        [Some(2)]
    );
    // Control messages go wherever anybody may read.
    let notices = vec![Notice { record: "drop", bytes: 1 }];
    let payload = Payload::Control { notices, gone: vec![], replaced: vec![] };
    let events = vec![Event { token: 13, payload }];
    assert_eq!(
        b.step(Input::Fetched { epoch: Epoch(0), result: Ok(Batch { events, idle: None }) })[0],
        "PublishControl seq=2 records=[drop] copies=5"
    );
}

#[test]
fn a_first_start_records_what_it_finds() {
    let mut b = Bench::new(small());
    b.start();
    b.step(acquired(0, None));
    let found = TopicState { partitions: 3, holds_messages: false, ..TOPIC };
    b.step(Input::ProducerPrepared { id: EffectId(1), result: Ok(vec![found]) });
    b.step(opened(0, 10));
    b.step(saved(2));
    assert_eq!(b.step(batch(0, &[11]))[0], "Publish seq=1 record=body partitions=3");
}

/// Made anew, its former messages are gone with their partitions.
#[test]
fn a_topic_that_was_made_anew_brings_its_own_number() {
    let mut b = Bench::new(from_now());
    b.start();
    b.step(acquired(0, Some(10)));
    let made = TopicState { partitions: 1, was_made: true, holds_messages: false, lineage: None };
    b.step(Input::ProducerPrepared { id: EffectId(1), result: Ok(vec![made]) });
    assert_eq!(
        b.machine.known().iter().map(|known| known.unwrap().partitions).collect::<Vec<_>>(),
        [Some(1)]
    );
}

#[test]
fn fewer_partitions_are_for_a_person() {
    for config in [small(), from_now()] {
        let mut b = Bench::new(config);
        b.start();
        b.step(acquired(0, Some(10)));
        let shrunk = TopicState { partitions: 1, ..TOPIC };
        b.step(Input::ProducerPrepared { id: EffectId(1), result: Ok(vec![shrunk]) });
        b.step(Input::LeaseReleased { id: EffectId(2), result: () });
        assert_eq!(b.at(), stopped(Cause::PartitionsChanged));
    }
}

#[test]
fn a_topic_that_is_gone_or_empty_was_lost() {
    let made = TopicState { was_made: true, holds_messages: false, ..TOPIC };
    let emptied = TopicState { was_made: false, ..made };
    for topic in [made, emptied] {
        let mut b = Bench::new(small());
        b.start();
        b.step(acquired(0, Some(10)));
        b.step(Input::ProducerPrepared { id: EffectId(1), result: Ok(vec![topic]) });
        b.step(Input::LeaseReleased { id: EffectId(2), result: () });
        assert_eq!(b.at(), stopped(Cause::TopicLost));

        let mut b = Bench::new(from_now());
        b.start();
        b.step(acquired(0, Some(10)));
        let effects = b.step(Input::ProducerPrepared { id: EffectId(1), result: Ok(vec![topic]) });
        assert_eq!(
            effects,
            ["OpenStream epoch=0 from=After(10) lineage=7 reading=Whole"],
            "the source has lost nothing"
        );
        assert_eq!(
            b.step(opened(0, 10))[0],
            "SaveToken id=2 token=10 lineage=7 change=[topic_lost ?..10 of [0]]"
        );
    }
}

#[test]
fn a_topic_that_never_held_a_message_was_not_lost() {
    let mut b = Bench::new(small());
    b.start();
    b.step(acquired(0, None));
    b.step(ready(1, false));
    b.step(opened(0, 10));
    b.step(saved(2));
    b.step(Input::ProducerLost { fault: Fault::Fatal });
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    assert_eq!(b.step(ready(3, false)), ["OpenStream epoch=1 from=After(10) lineage=9 reading=Whole"]);
    b.step(opened(1, 10));
    b.step(batch(1, &[11]));
    b.step(delivered(&[1]));
    let due = b.expiry(TimerKind::SaveDelay);
    b.step(due);
    b.step(saved(4));
    b.step(Input::ProducerLost { fault: Fault::Fatal });
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(ready(5, false));
    assert_eq!(b.at(), DRAINING);
}

/// The simulator found it: a collection whose first message was too large had its topic taken for lost at each start.
#[test]
fn a_message_that_is_too_large_for_an_empty_topic_leaves_it_empty() {
    let mut b = Bench::new(small());
    b.start();
    b.step(acquired(0, None));
    b.step(ready(1, false));
    b.step(opened(0, 10));
    b.step(saved(2));
    b.step(batch(0, &[11]));
    b.step(Input::DeliveryTooLarge { seq: SeqNo(1), marker: "marker" });
    b.step(delivered(&[1]));
    let due = b.expiry(TimerKind::SaveDelay);
    b.step(due);
    b.step(saved(3));
    b.step(Input::ProducerLost { fault: Fault::Fatal });
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    assert_eq!(b.step(ready(4, false)), ["OpenStream epoch=1 from=After(11) lineage=9 reading=Whole"]);
}

#[test]
fn a_topic_deleted_under_a_running_watcher_is_looked_at_by_a_new_producer() {
    let mut b = Bench::reading(from_now(), &[11, 12]);
    assert_eq!(b.step(failed(0, Fault::HistoryLost)), ["CloseStream epoch=0", "PurgeQueued"]);
    b.step(failed(1, Fault::Transient));
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["PrepareProducer id=2 batching=Shared { halvings: 0 }"]);
    let made = TopicState { was_made: true, holds_messages: false, ..TOPIC };
    let remade = Input::ProducerPrepared { id: EffectId(2), result: Ok(vec![made]) };
    assert_eq!(b.step(remade), ["OpenStream epoch=1 from=After(10) lineage=7 reading=Whole"]);
    assert_eq!(
        b.step(opened(1, 10))[0],
        "SaveToken id=3 token=10 lineage=7 change=[topic_lost ?..10 of [0]]"
    );
}

#[test]
fn an_event_too_large_for_a_reply_is_read_without_its_documents() {
    let mut b = Bench::reading(small(), &[11]);
    assert_eq!(
        b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::TooLarge) }),
        ["CloseStream epoch=0"]
    );
    assert_eq!(
        b.step(delivered(&[0])),
        ["OpenStream epoch=1 from=After(11) lineage=7 reading=Stripped", "SetTimer SaveDelay#0 after=200ms"]
    );
    assert_eq!(b.step(opened(1, 11)), ["Fetch epoch=1 max_events=3 max_bytes=100"]);
    let large = Event { token: 12, payload: Payload::Oversized { marker: "marker" } };
    let events = vec![large, message(13)];
    assert_eq!(
        b.step(Input::Fetched { epoch: Epoch(1), result: Ok(Batch { events, idle: None }) }),
        [
            "PublishMarker seq=1 marker=marker",
            "Publish seq=2 record=body partitions=2",
            "CloseStream epoch=1"
        ]
    );
    assert_eq!(b.step(delivered(&[2])), NOTHING);
    assert!(
        b.step(delivered(&[1]))
            .contains(&String::from("OpenStream epoch=2 from=After(13) lineage=7 reading=Whole"))
    );
}

#[test]
fn the_policy_decides_on_an_event_too_large_for_a_reply() {
    let failed = |epoch| Input::Fetched { epoch: Epoch(epoch), result: Err(Fault::TooLarge) };
    let mut b = Bench::streaming(Config { on_too_large: OnTooLarge::Stop, ..small() });
    b.step(failed(0));
    b.step(Input::LeaseReleased { id: EffectId(2), result: () });
    assert_eq!(b.at(), stopped(Cause::BadRecord));

    let mut b = Bench::streaming(Config { on_too_large: OnTooLarge::Skip, ..small() });
    b.step(failed(0));
    b.step(opened(1, 10));
    let events = vec![Event { token: 11, payload: Payload::Oversized { marker: "marker" } }];
    let effects = b.step(Input::Fetched { epoch: Epoch(1), result: Ok(Batch { events, idle: None }) });
    assert_eq!(
        effects,
        [
            "CloseStream epoch=1",
            "OpenStream epoch=2 from=After(11) lineage=7 reading=Whole",
            "SetTimer IdleSave#0 after=10s"
        ]
    );
}

#[test]
fn an_event_that_fits_by_now_is_read_as_it_is_and_the_rest_whole() {
    let mut b = Bench::streaming(small());
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::TooLarge) });
    b.step(opened(1, 10));
    b.step(batch(1, &[11]));
    b.step(delivered(&[0]));
    assert!(
        b.step(idle(1, 12))
            .contains(&String::from("OpenStream epoch=2 from=After(12) lineage=7 reading=Whole"))
    );
}

#[test]
fn an_event_that_does_not_fit_without_its_documents_either_ends_the_service() {
    let mut b = Bench::streaming(small());
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::TooLarge) });
    b.step(Input::StreamOpened { epoch: Epoch(1), result: Err(Fault::TooLarge) });
    b.step(Input::LeaseReleased { id: EffectId(2), result: () });
    assert_eq!(b.at(), stopped(Cause::BadRecord));
}

#[test]
fn causes_have_names() {
    assert_eq!(GapCause::TopicLost.as_str(), "topic_lost");
}
