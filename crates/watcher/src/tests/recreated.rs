//! Other documents stand behind a collection's name than the position knows: the stream may tell why.

use super::gaps::{notice, saved_with_gap};
use super::*;

/// Opened over another collection than the position knows; it was looked at when all before `looked_at` had
/// happened.
pub(super) fn opened_other(epoch: u64, at: u32, looked_at: u32) -> Fact {
    Input::StreamOpened {
        epoch: Epoch(epoch),
        result: Ok(Opened { at, contents: vec![Contents::Uuid([2; 16])], looked_at }),
    }
}

fn told(epoch: u64, token: u32, payload: Payload<&'static str>) -> Fact {
    Input::Fetched {
        epoch: Epoch(epoch),
        result: Ok(Batch { events: vec![Event { token, payload }], idle: None }),
    }
}

/// Resumed after token 10, over another collection than the position knows.
fn recreated(looked_at: u32) -> Bench {
    let mut b = Bench::new(small());
    b.start();
    b.step(acquired(0, Some(10)));
    b.step(ready(1, true));
    assert_eq!(
        b.step(opened_other(0, 10, looked_at)),
        ["Fetch epoch=0 max_events=4 max_bytes=100"],
        "the stream may tell why"
    );
    b
}

#[test]
fn a_collection_recreated_while_nobody_watched_is_no_gap_where_the_stream_tells_of_it() {
    for gone in [true, false] {
        let mut b = recreated(20);
        b.step(batch(0, &[11]));
        let (gone, replaced) = if gone { (vec![PLAYERS], vec![]) } else { (vec![], vec![PLAYERS]) };
        let is_gap = !replaced.is_empty();
        b.step(told(0, 12, Payload::Control { notices: vec![notice("told")], gone, replaced }));
        let save = [b.step(delivered(&[0, 1, 1])), b.step(idle(0, 25))].concat().concat();
        assert_eq!(save.contains("collection_replaced 11..12 of [0] told"), is_gap, "{save}");
        assert!(!save.contains("recreated"), "{save}");
    }
}

#[test]
fn a_collection_of_which_the_stream_tells_nothing_was_replaced_behind_its_back() {
    let mut b = recreated(12);
    let spaced = ["Publish seq=0 record=body partitions=2", "Fetch epoch=0 max_events=3 max_bytes=99"];
    assert_eq!(b.step(batch(0, &[11])), spaced, "it has not come that far");
    b.step(delivered(&[0]));
    assert_eq!(
        b.step(idle(0, 12))[..2],
        ["CloseStream epoch=0", "OpenStream epoch=1 from=After(12) lineage=7 reading=Whole"],
        "nothing more is read"
    );
    let effects = b.step(opened_other(1, 12, 13));
    assert!(
        effects.contains(&String::from(
            "SaveToken id=2 token=12 lineage=7 change=[collection_recreated ?..12 of [0]]"
        )),
        "{effects:?}"
    );
    assert_eq!(b.step(saved_with_gap(2))[0], "PublishControl seq=3 records=[gap] copies=2");
    // It is known from now on.
    b.step(Input::Fetched { epoch: Epoch(1), result: Err(Fault::Transient) });
    b.step(delivered(&[3, 3]));
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(opened_other(2, 12, 13));
    let effects = b.step(idle(2, 14));
    assert_eq!(effects[0], "Fetch epoch=2 max_events=3 max_bytes=100", "{effects:?}");
}

#[test]
fn what_was_not_explained_before_a_rewind_is_looked_at_again() {
    let mut b = recreated(11);
    assert_eq!(b.step(batch(0, &[11])), ["Publish seq=0 record=body partitions=2", "CloseStream epoch=0"]);
    // The gap waits behind an event that does not arrive.
    b.step(failed(0, Fault::Transient));
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    let ready = ready(2, true);
    assert_eq!(b.step(ready), ["OpenStream epoch=1 from=After(10) lineage=7 reading=Whole"]);
    b.step(opened_other(1, 10, 12));
    assert_eq!(
        b.step(batch(1, &[11])),
        ["Publish seq=1 record=body partitions=2", "Fetch epoch=1 max_events=3 max_bytes=99"]
    );
    b.step(delivered(&[1]));
    assert_eq!(b.step(idle(1, 13))[0], "CloseStream epoch=1");
    let effects = b.step(opened_other(2, 13, 13));
    assert!(effects.concat().contains("collection_recreated ?..13 of [0]"), "{effects:?}");
}
