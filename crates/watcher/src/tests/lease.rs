use super::*;
use cdc_machine::Dependency;

#[test]
fn a_lease_that_somebody_holds_is_waited_for_without_counting_a_retry() {
    let mut b = Bench::new(small());
    b.step(Input::Start);
    let held = |id, expires_in| Input::LeaseHeld { id: EffectId(id), expires_in };
    assert_eq!(b.step(held(0, 2 * SECOND)), ["SetTimer LeaseWait#0 2.1s"]);
    assert_eq!((b.at(), b.machine.store_attempt(&b.config).0), (CONNECTING, 0));
    let due = b.expiry(TimerKind::LeaseWait);
    assert_eq!(b.step(due), ["AcquireLease 1"]);
    assert_eq!(b.step(held(1, 60 * SECOND)), ["SetTimer LeaseWait#1 5s"]);
}

#[test]
fn a_record_of_another_source_stops_the_service() {
    let mut b = Bench::new(small());
    b.step(Input::Start);
    assert_eq!(b.step(Input::LeaseForeign { id: EffectId(0) }), ["Stop OtherSource"]);
    assert_eq!(b.at(), stopped(Cause::OtherSource));
}

#[test]
fn a_store_that_does_not_answer_is_tried_again_three_times() {
    let mut b = Bench::new(small());
    b.step(Input::Start);
    for (id, seconds) in [(0, 1), (1, 2), (2, 4)] {
        let failed = Input::LeaseFailed { id: EffectId(id), fault: Fault::Transient };
        assert_eq!(b.step(failed), [format!("SetTimer Reconnect#{id} {seconds}s")]);
        let due = b.expiry(TimerKind::Reconnect);
        assert_eq!(b.step(due), [format!("AcquireLease {}", id + 1)]);
    }
    b.step(Input::LeaseFailed { id: EffectId(3), fault: Fault::Transient });
    assert_eq!(b.at(), stopped(Cause::Unavailable(Dependency::Redis)));
}

#[test]
fn a_store_that_refuses_the_lease_stops_the_service() {
    for (fault, cause) in [
        (Fault::Auth, Cause::Refused(Dependency::Redis)),
        (Fault::HistoryLost, Cause::TokenDamaged),
        (Fault::Fatal, Cause::Failed(Dependency::Redis)),
    ] {
        let mut b = Bench::new(small());
        b.step(Input::Start);
        b.step(Input::LeaseFailed { id: EffectId(0), fault });
        assert_eq!(b.at(), stopped(cause));
    }
}

#[test]
fn the_lease_is_renewed_at_its_pace() {
    let mut b = Bench::streaming(small());
    let due = b.expiry(TimerKind::LeaseRenew);
    assert_eq!(b.step(due), ["RenewLease 2", "SetTimer LeaseRenew#1 1s"]);
    assert_eq!(b.step(Input::LeaseRenewed { id: EffectId(2) }), ["SetTimer LeaseRenew#2 5s"]);
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn a_renewal_that_fails_is_tried_again_until_the_lease_must_have_run_out() {
    let mut b = Bench::reading(small(), &[11]);
    let mut renewals = 0;
    let mut next = 2;
    while b.machine.state() != StateName::Stopped {
        let due = b.expiry(TimerKind::LeaseRenew);
        if b.step(due).iter().any(|line| line.starts_with("RenewLease")) {
            renewals += 1;
            b.step(Input::LeaseRenewFailed { id: EffectId(next), fault: Fault::Transient });
            next += 1;
        }
    }
    // After 5 s, then each second until 15 s are over.
    assert_eq!((renewals, b.at()), (10, stopped(Cause::LeaseLost)));
}

#[test]
fn a_renewal_without_an_answer_loses_the_lease_in_the_same_time() {
    let mut b = Bench::reading(small(), &[11]);
    let mut effects = Vec::new();
    for _ in 0..11 {
        let due = b.expiry(TimerKind::LeaseRenew);
        effects = b.step(due);
    }
    assert_eq!(effects, ["PurgeQueued", "Stop LeaseLost"]);
}

#[test]
fn a_lease_taken_by_another_ends_everything_and_saves_nothing() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0]));
    let due = b.expiry(TimerKind::LeaseRenew);
    b.step(due);
    let fenced = Input::LeaseRenewFailed { id: EffectId(2), fault: Fault::Fenced };
    assert_eq!(b.step(fenced), ["PurgeQueued", "Stop LeaseLost"]);
}

#[test]
fn the_lease_is_renewed_while_draining() {
    let mut b = Bench::reading(small(), &[11]);
    b.step(drain());
    let due = b.expiry(TimerKind::LeaseRenew);
    assert_eq!(b.step(due), ["RenewLease 2", "SetTimer LeaseRenew#1 1s"]);
    assert_eq!(b.at(), DRAINING);
}
