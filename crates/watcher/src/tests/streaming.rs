use super::*;

/// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
/// Validates: Requirements 1.1
///
/// Feature: cdc-pipeline, Property 7: Async Producer Non-Blocking Behavior
/// Validates: Requirements 3.2
#[test]
fn a_batch_goes_to_kafka_in_order_and_the_next_fetch_waits_for_no_report() {
    let mut b = Bench::streaming(small());
    assert_eq!(
        b.step(batch(0, &[11, 12])),
        [
            "Publish seq=0 record=body partitions=2",
            "Publish seq=1 record=body partitions=2",
            "Fetch epoch=0 max_events=2 max_bytes=98"
        ]
    );
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn without_credit_nothing_is_fetched() {
    let mut b = Bench::streaming(small());
    let effects = b.step(batch(0, &[11, 12, 13, 14]));
    assert_eq!(
        effects,
        [
            "Publish seq=0 record=body partitions=2",
            "Publish seq=1 record=body partitions=2",
            "Publish seq=2 record=body partitions=2",
            "Publish seq=3 record=body partitions=2"
        ]
    );
    assert_eq!(b.at(), AWAITING_ACK);
}

#[test]
fn a_lone_event_larger_than_the_byte_bound_passes_and_holds_the_next_fetch_back() {
    let mut b = Bench::streaming(small());
    let event =
        Event { token: 11, payload: Payload::Message { record: "large", bytes: 500, collection: PLAYERS } };
    let large = Input::Fetched { epoch: Epoch(0), result: Ok(Batch { events: vec![event], idle: None }) };
    assert_eq!(b.step(large), ["Publish seq=0 record=large partitions=2"]);
    assert_eq!(b.at(), AWAITING_ACK);
    assert_eq!(
        b.step(delivered(&[0])),
        ["SetTimer SaveDelay#0 after=200ms", "Fetch epoch=0 max_events=3 max_bytes=100"]
    );
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn a_fetch_asks_for_at_most_max_fetch_events() {
    let mut b = Bench::streaming(Config { max_fetch_events: 3, ..small() });
    assert_eq!(b.step(batch(0, &[])), ["Fetch epoch=0 max_events=3 max_bytes=100"]);
}

#[test]
fn a_fetch_asks_for_at_most_max_fetch_bytes() {
    let mut b = Bench::streaming(Config { max_fetch_bytes: 60, ..small() });
    assert_eq!(b.step(batch(0, &[])), ["Fetch epoch=0 max_events=4 max_bytes=60"]);
}

#[test]
fn an_event_that_carries_nothing_waits_its_turn_and_takes_no_credit() {
    let mut b = Bench::streaming(small());
    let events = vec![message(11), Event { token: 12, payload: Payload::Skip }];
    assert_eq!(
        b.step(Input::Fetched { epoch: Epoch(0), result: Ok(Batch { events, idle: None }) }),
        ["Publish seq=0 record=body partitions=2", "Fetch epoch=0 max_events=3 max_bytes=99"]
    );
    b.step(delivered(&[0]));
    let due = b.expiry(TimerKind::SaveDelay);
    assert_eq!(
        b.step(due),
        ["SaveToken id=2 token=12 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
}

#[test]
fn tokens_that_do_not_increase_are_a_bug() {
    for tokens in [&[10][..], &[12, 12], &[12, 11]] {
        let mut b = Bench::streaming(small());
        let effects = b.step(batch(0, tokens));
        assert!(effects.last().is_some_and(|last| last.starts_with("Stop cause=Invariant")), "{effects:?}");
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
    assert_eq!(b.step(idle(0, 10)), ["Fetch epoch=0 max_events=4 max_bytes=100"]);
    assert_eq!(
        b.step(idle(0, 11)),
        ["SetTimer IdleSave#0 after=10s", "Fetch epoch=0 max_events=4 max_bytes=100"]
    );
    assert_eq!(b.step(idle(0, 12)), ["Fetch epoch=0 max_events=4 max_bytes=100"]);
    let due = b.expiry(TimerKind::IdleSave);
    assert_eq!(
        b.step(due),
        ["SaveToken id=2 token=12 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    assert_eq!(b.at(), STREAMING);
}

/// A step's output is the batch's events and one fetch; nothing else grows with it.
#[test]
fn a_batch_of_a_thousand_is_one_step() {
    let mut b = Bench::streaming(Config::default());
    let tokens: Vec<u32> = (11..1011).collect();
    let effects = b.step(batch(0, &tokens));
    assert_eq!(effects.len(), 1001);
    assert_eq!((b.machine.in_flight(), b.machine.unsaved_events()), (1000, 1000));
}
