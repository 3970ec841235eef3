use super::*;

fn abort() -> Fact {
    Input::Signal(Signal::Abort)
}

/// Feature: cdc-pipeline, Property 20: Graceful Shutdown Token Save
/// Validates: Requirements 9.4
#[test]
fn a_drain_waits_for_the_reports_then_saves_then_gives_the_lease_back() {
    let mut b = Bench::reading(small(), &[11, 12]);
    assert_eq!(b.step(drain()), ["CloseStream epoch=0", "SetTimer Drain#0 after=25s"]);
    assert_eq!(b.at(), DRAINING);
    assert_eq!(b.step(delivered(&[1])), NOTHING);
    assert_eq!(
        b.step(delivered(&[0])),
        ["SaveToken id=2 token=12 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    assert_eq!(b.step(saved(2)), ["CancelTimer LeaseRenew#0", "ReleaseLease id=3"]);
    assert_eq!(b.step(Input::LeaseReleased { id: EffectId(3), result: () }), ["Stop cause=Drained"]);
    assert_eq!(b.at(), stopped(Cause::Drained));
}

#[test]
fn a_batch_that_comes_after_the_drain_began_is_dropped() {
    let mut b = Bench::reading(small(), &[11]);
    b.step(drain());
    assert_eq!(b.step(batch(0, &[12])), NOTHING);
    assert_eq!((b.machine.in_flight(), b.machine.stale_inputs()), (1, 1));
}

#[test]
fn idle_positions_are_saved_at_the_end_too() {
    let mut b = Bench::streaming(small());
    b.step(idle(0, 11));
    let effects = b.step(drain());
    assert!(effects.contains(&String::from("SaveToken id=2 token=11 lineage=7 change=[]")), "{effects:?}");
}

#[test]
fn a_save_under_way_is_waited_for_and_followed_by_the_last_one() {
    let mut b = Bench::reading(small(), &[11, 12, 13]);
    b.step(delivered(&[0, 1]));
    b.step(drain());
    assert_eq!(b.step(delivered(&[2])), NOTHING);
    assert_eq!(
        b.step(saved(2)),
        ["SaveToken id=3 token=13 lineage=7 change=[]", "SetTimer SaveSpacing#1 after=10ms"]
    );
}

#[test]
fn a_failed_save_is_tried_again_while_draining() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(drain());
    b.step(delivered(&[0, 1]));
    b.step(Input::TokenSaved { id: EffectId(2), result: Err(Fault::Transient) });
    assert_eq!(b.at(), DRAINING);
    let due = b.expiry(TimerKind::SaveRetry);
    assert_eq!(b.step(due)[0], "SaveToken id=3 token=12 lineage=7 change=[]");
}

#[test]
fn a_report_that_fails_makes_the_drain_incomplete() {
    let mut b = Bench::reading(small(), &[11, 12, 13]);
    b.step(drain());
    assert_eq!(b.step(failed(1, Fault::Transient)), ["PurgeQueued"]);
    assert_eq!(b.step(failed(2, Fault::Transient)), NOTHING);
    assert_eq!(
        b.step(delivered(&[0])),
        ["SaveToken id=2 token=11 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    b.step(saved(2));
    b.step(Input::LeaseReleased { id: EffectId(3), result: () });
    assert_eq!(b.at(), stopped(Cause::DrainIncomplete));
}

#[test]
fn a_producer_that_dies_makes_the_drain_incomplete() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(drain());
    b.step(delivered(&[0]));
    assert_eq!(
        b.step(Input::ProducerLost { fault: Fault::Fatal }),
        ["PurgeQueued", "SaveToken id=2 token=11 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    b.step(saved(2));
    b.step(Input::LeaseReleased { id: EffectId(3), result: () });
    assert_eq!(b.at(), stopped(Cause::DrainIncomplete));
}

#[test]
fn a_drain_between_a_failure_and_its_rewind_is_incomplete() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(failed(0, Fault::Transient));
    assert_eq!(b.step(drain()), ["SetTimer Drain#0 after=25s"]);
    b.step(delivered(&[1]));
    b.step(Input::LeaseReleased { id: EffectId(2), result: () });
    assert_eq!(b.at(), stopped(Cause::DrainIncomplete));
}

#[test]
fn a_drain_that_takes_too_long_saves_what_it_can_and_stops() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0]));
    b.step(drain());
    let due = b.expiry(TimerKind::Drain);
    assert_eq!(
        b.step(due),
        [
            "PurgeQueued",
            "CancelTimer SaveDelay#0",
            "SaveToken id=2 token=11 lineage=7 change=[]",
            "SetTimer SaveSpacing#0 after=10ms",
            "Stop cause=DrainTimedOut"
        ]
    );
    assert_eq!(b.at(), stopped(Cause::DrainTimedOut));
}

#[test]
fn a_second_signal_stops_at_once() {
    for second in [drain(), abort()] {
        let mut b = Bench::reading(small(), &[11]);
        b.step(drain());
        assert_eq!(b.step(second), ["Stop cause=Aborted"]);
        assert_eq!(b.at(), stopped(Cause::Aborted));
    }
    let mut b = Bench::streaming(small());
    assert_eq!(b.step(abort()), ["Stop cause=Aborted"]);
}

#[test]
fn a_signal_during_an_end_for_another_cause_keeps_the_cause() {
    let mut b = Bench::reading(small(), &[11]);
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::HistoryLost) });
    assert_eq!(b.step(drain()), NOTHING);
    b.step(delivered(&[0]));
    b.step(saved(2));
    b.step(Input::LeaseReleased { id: EffectId(3), result: () });
    assert_eq!(b.at(), stopped(Cause::HistoryLost));
}

#[test]
fn a_drain_before_the_start_ends_at_once() {
    let mut b = Bench::new(small());
    assert_eq!(b.step(drain()), ["Stop cause=Drained"]);
}

#[test]
fn a_drain_while_the_lease_is_asked_for_gives_it_back() {
    let mut b = Bench::new(small());
    b.start();
    assert_eq!(b.step(drain()), ["SetTimer Drain#0 after=25s"]);
    assert_eq!(b.step(acquired(0, Some(10))), ["ReleaseLease id=1"]);
    assert_eq!(b.step(Input::LeaseReleased { id: EffectId(1), result: () }), ["Stop cause=Drained"]);
}

#[test]
fn a_drain_while_somebody_else_holds_the_lease_ends_at_once() {
    let mut b = Bench::new(small());
    b.start();
    b.step(Input::LeaseTaken { id: EffectId(0), result: Err(LeaseRefusal::Held { expires_in: SECOND }) });
    assert_eq!(
        b.step(drain()),
        ["CancelTimer LeaseWait#0", "SetTimer Drain#0 after=25s", "Stop cause=Drained"]
    );
}

#[test]
fn a_drain_while_a_stream_opens_closes_it() {
    let mut b = Bench::new(small());
    b.start();
    b.step(acquired(0, Some(10)));
    b.step(ready(1, true));
    assert_eq!(
        b.step(drain()),
        [
            "CloseStream epoch=0",
            "SetTimer Drain#0 after=25s",
            "CancelTimer LeaseRenew#0",
            "ReleaseLease id=2"
        ]
    );
    assert_eq!(b.step(opened(0, 10)), NOTHING);
}

#[test]
fn a_stopped_machine_says_nothing_ever_again() {
    let mut b = Bench::reading(small(), &[11]);
    b.step(abort());
    for late in [delivered(&[0]), saved(2), drain(), batch(0, &[12]), b.expiry(TimerKind::LeaseRenew)] {
        assert_eq!(b.step(late), NOTHING);
    }
    assert_eq!(b.at(), stopped(Cause::Aborted));
}
