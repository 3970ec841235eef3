use super::*;

/// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
/// Validates: Requirements 1.1
///
/// Feature: cdc-pipeline, Property 7: Async Producer Non-Blocking Behavior
/// Validates: Requirements 3.2
#[test]
fn a_batch_goes_to_kafka_in_order_and_the_next_pull_waits_for_no_report() {
    let mut b = Bench::streaming(small());
    assert_eq!(b.step(batch(0, &[11, 12])), ["Publish 0 body", "Publish 1 body", "Pull 0 2 events 98 bytes"]);
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn without_room_nothing_is_pulled() {
    let mut b = Bench::streaming(small());
    let effects = b.step(batch(0, &[11, 12, 13, 14]));
    assert_eq!(effects, ["Publish 0 body", "Publish 1 body", "Publish 2 body", "Publish 3 body"]);
    assert_eq!(b.at(), AWAITING_ACK);
}

#[test]
fn a_lone_event_larger_than_the_byte_bound_passes_and_holds_the_next_pull_back() {
    let mut b = Bench::streaming(small());
    let event =
        Event { token: 11, payload: Payload::Message { record: "large", bytes: 500, collection: PLAYERS } };
    let large = Input::Batch { epoch: Epoch(0), events: vec![event], idle: None };
    assert_eq!(b.step(large), ["Publish 0 large"]);
    assert_eq!(b.at(), AWAITING_ACK);
    assert_eq!(b.step(delivered(&[0])), ["SetTimer SaveDelay#0 200ms", "Pull 0 3 events 100 bytes"]);
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn a_pull_asks_for_at_most_max_pull_events() {
    let mut b = Bench::streaming(Config { max_pull_events: 3, ..small() });
    assert_eq!(b.step(batch(0, &[])), ["Pull 0 3 events 100 bytes"]);
}

#[test]
fn a_pull_asks_for_at_most_max_pull_bytes() {
    let mut b = Bench::streaming(Config { max_pull_bytes: 60, ..small() });
    assert_eq!(b.step(batch(0, &[])), ["Pull 0 4 events 60 bytes"]);
}

#[test]
fn an_event_that_carries_nothing_waits_its_turn_and_takes_no_room() {
    let mut b = Bench::streaming(small());
    let events = vec![message(11), Event { token: 12, payload: Payload::Skip }];
    assert_eq!(
        b.step(Input::Batch { epoch: Epoch(0), events, idle: None }),
        ["Publish 0 body", "Pull 0 3 events 99 bytes"]
    );
    b.step(delivered(&[0]));
    let due = b.expiry(TimerKind::SaveDelay);
    assert_eq!(b.step(due), ["SaveToken 2 12 in 7", "SetTimer SaveSpacing#0 10ms"]);
}

#[test]
fn tokens_that_do_not_increase_are_a_bug() {
    for tokens in [&[10][..], &[12, 12], &[12, 11]] {
        let mut b = Bench::streaming(small());
        let effects = b.step(batch(0, tokens));
        assert!(effects.last().is_some_and(|last| last.starts_with("Stop Invariant")), "{effects:?}");
        assert_eq!(b.machine.state(), StateName::Stopped);
    }
}

#[test]
fn more_events_than_asked_for_are_a_bug() {
    let mut b = Bench::streaming(small());
    let effects = b.step(batch(0, &[11, 12, 13, 14, 15]));
    assert_eq!(effects.len(), 1);
    assert_eq!(b.machine.state(), StateName::Stopped);
}

#[test]
fn an_idle_position_that_says_nothing_new_opens_nothing() {
    let mut b = Bench::streaming(small());
    assert_eq!(b.step(idle(0, 10)), ["Pull 0 4 events 100 bytes"]);
    assert_eq!(b.step(idle(0, 11)), ["SetTimer IdleSave#0 10s", "Pull 0 4 events 100 bytes"]);
    assert_eq!(b.step(idle(0, 12)), ["Pull 0 4 events 100 bytes"]);
    let due = b.expiry(TimerKind::IdleSave);
    assert_eq!(b.step(due), ["SaveToken 2 12 in 7", "SetTimer SaveSpacing#0 10ms"]);
    assert_eq!(b.at(), STREAMING);
}

/// A step's output is the batch's events and one pull; nothing else grows with it.
#[test]
fn a_batch_of_a_thousand_is_one_step() {
    let mut b = Bench::streaming(Config::default());
    let tokens: Vec<u32> = (11..1011).collect();
    let effects = b.step(batch(0, &tokens));
    assert_eq!(effects.len(), 1001);
    assert_eq!((b.machine.in_flight(), b.machine.unsaved_events()), (1000, 1000));
}
