use super::*;
use cdc_machine::Dependency;

#[test]
fn a_lease_that_somebody_holds_is_waited_for_without_counting_a_retry() {
    let mut b = Bench::new(small());
    b.start();
    let held = |id, expires_in| Input::LeaseTaken {
        id: EffectId(id),
        result: Err(LeaseRefusal::Held { expires_in }),
    };
    assert_eq!(b.step(held(0, 2 * SECOND)), ["SetTimer LeaseWait#0 after=2.1s"]);
    assert_eq!((b.at(), b.machine.store_attempt(&b.config).0), (CONNECTING, 0));
    let due = b.expiry(TimerKind::LeaseWait);
    assert_eq!(b.step(due), ["AcquireLease id=1 over_damage=false"]);
    assert_eq!(b.step(held(1, 60 * SECOND)), ["SetTimer LeaseWait#1 after=5s"]);
}

#[test]
fn a_record_of_another_source_stops_the_service() {
    let mut b = Bench::new(small());
    b.start();
    assert_eq!(
        b.step(Input::LeaseTaken { id: EffectId(0), result: Err(LeaseRefusal::OtherSource) }),
        ["Stop cause=OtherSource"]
    );
    assert_eq!(b.at(), stopped(Cause::OtherSource));
}

#[test]
fn a_store_that_does_not_answer_is_tried_again_three_times() {
    let mut b = Bench::new(small());
    b.start();
    for (id, seconds) in [(0, 1), (1, 2), (2, 4)] {
        let failed =
            Input::LeaseTaken { id: EffectId(id), result: Err(LeaseRefusal::Failed(Fault::Transient)) };
        assert_eq!(b.step(failed), [format!("SetTimer Reconnect#{id} after={seconds}s")]);
        let due = b.expiry(TimerKind::Reconnect);
        assert_eq!(b.step(due), [format!("AcquireLease id={} over_damage=false", id + 1)]);
    }
    b.step(Input::LeaseTaken { id: EffectId(3), result: Err(LeaseRefusal::Failed(Fault::Transient)) });
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
        b.start();
        b.step(Input::LeaseTaken { id: EffectId(0), result: Err(LeaseRefusal::Failed(fault)) });
        assert_eq!(b.at(), stopped(cause));
    }
}

#[test]
fn the_lease_is_renewed_at_its_pace() {
    let mut b = Bench::streaming(small());
    let due = b.expiry(TimerKind::LeaseRenew);
    assert_eq!(b.step(due), ["RenewLease id=2", "SetTimer LeaseRenew#1 after=1s"]);
    assert_eq!(
        b.step(Input::LeaseRenewed { id: EffectId(2), result: Ok(()) }),
        ["SetTimer LeaseRenew#2 after=5s"]
    );
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
            b.step(Input::LeaseRenewed { id: EffectId(next), result: Err(Fault::Transient) });
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
    assert_eq!(effects, ["PurgeQueued", "Stop cause=LeaseLost"]);
}

#[test]
fn a_lease_taken_by_another_ends_everything_and_saves_nothing() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0]));
    let due = b.expiry(TimerKind::LeaseRenew);
    b.step(due);
    let fenced = Input::LeaseRenewed { id: EffectId(2), result: Err(Fault::Fenced) };
    assert_eq!(b.step(fenced), ["PurgeQueued", "Stop cause=LeaseLost"]);
}

#[test]
fn the_lease_is_renewed_while_draining() {
    let mut b = Bench::reading(small(), &[11]);
    b.step(drain());
    let due = b.expiry(TimerKind::LeaseRenew);
    assert_eq!(b.step(due), ["RenewLease id=2", "SetTimer LeaseRenew#1 after=1s"]);
    assert_eq!(b.at(), DRAINING);
}
