use super::*;

#[test]
fn first_the_database_then_the_group() {
    let mut bench = Bench::new(small());
    assert_eq!(bench.at(), CONNECTING);
    assert_eq!(bench.step(Input::Start), ["ConnectDatabase 0"]);
    assert_eq!(bench.at(), CONNECTING);
    assert_eq!(bench.step(Input::DatabaseConnected { id: EffectId(0), result: Ok(()) }), ["JoinGroup 1"]);
    assert_eq!(bench.at(), CONNECTING);
    assert_eq!(bench.step(Input::GroupJoined { id: EffectId(1), result: Ok(()) }), NOTHING);
    assert_eq!(bench.at(), STREAMING);
}

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
///
/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn the_database_is_tried_again_five_times() {
    let mut bench = Bench::new(small());
    bench.step(Input::Start);
    for (retry, seconds) in [1, 2, 4, 8, 16].into_iter().enumerate() {
        let id = EffectId(retry as u64);
        let lines = bench.step(Input::DatabaseConnected { id, result: Err(Fault::Transient) });
        assert_eq!(lines, [format!("SetTimer Reconnect#{retry} {seconds}s")]);
        assert_eq!(bench.at(), CONNECTING);
        assert_eq!(bench.expire(TimerKind::Reconnect), [format!("ConnectDatabase {}", retry + 1)]);
    }
    let lines = bench.step(Input::DatabaseConnected { id: EffectId(5), result: Err(Fault::Transient) });
    assert_eq!(lines, ["Stop Unavailable(Postgres)"]);
    assert_eq!(bench.at(), stopped(Cause::Unavailable(Dependency::Postgres)));
}

#[test]
fn a_refused_password_is_not_tried_again() {
    let mut bench = Bench::new(small());
    bench.step(Input::Start);
    let lines = bench.step(Input::DatabaseConnected { id: EffectId(0), result: Err(Fault::Auth) });
    assert_eq!(lines, ["Stop Refused(Postgres)"]);
    let mut bench = Bench::new(small());
    bench.step(Input::Start);
    bench.step(Input::DatabaseConnected { id: EffectId(0), result: Ok(()) });
    let lines = bench.step(Input::GroupJoined { id: EffectId(1), result: Err(Fault::Auth) });
    assert_eq!(lines, ["Stop Refused(Kafka)"]);
}

/// Before the group is joined, so that it throws nobody out.
#[test]
fn a_name_that_another_process_has_is_not_joined_with() {
    let mut bench = Bench::new(small());
    bench.step(Input::Start);
    let lines = bench.step(Input::DatabaseConnected { id: EffectId(0), result: Err(Fault::Fenced) });
    assert_eq!(lines, ["Stop LeaseLost"]);
    assert_eq!(Cause::LeaseLost.exit_code(), 75);
}

#[test]
fn a_group_that_cannot_be_joined_is_tried_again() {
    let mut bench = Bench::new(small());
    bench.step(Input::Start);
    bench.step(Input::DatabaseConnected { id: EffectId(0), result: Ok(()) });
    let lines = bench.step(Input::GroupJoined { id: EffectId(1), result: Err(Fault::Transient) });
    assert_eq!(lines, ["SetTimer Reconnect#0 1s"]);
    assert_eq!(bench.expire(TimerKind::Reconnect), ["JoinGroup 2"]);
    assert_eq!(bench.at(), CONNECTING);
}

/// Feature: cdc-pipeline, Property 10: Consumer Error Resilience
/// Validates: Requirements 4.4
#[test]
fn a_dead_consumer_is_replaced_and_what_it_had_is_dropped() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (1, 0, 0), (0, 1, 0)]));
    let lines = bench.step(Input::ConsumerFailed { fault: Fault::Transient });
    assert_eq!(lines, ["SetTimer Reconnect#0 1s"]);
    assert_eq!(bench.at(), CONNECTING);
    assert_eq!(bench.machine.buffered_records(), 0);
    // The batch in flight settles nothing any more, and nothing is left behind it.
    assert_eq!(bench.step(written(0, 3)), NOTHING);
    assert_eq!(bench.expire(TimerKind::Reconnect), ["JoinGroup 4"]);
    bench.step(Input::GroupJoined { id: EffectId(4), result: Ok(()) });
    assert_eq!(bench.at(), STREAMING);
    assert_eq!(bench.step(assigned(&[0])), ["AcquirePartitions 5 [0@2]"]);
}

#[test]
fn another_process_with_our_name_ends_this_one() {
    let mut bench = fenced_once();
    bench.step(Input::GroupJoined { id: EffectId(2), result: Ok(()) });
    let lines = bench.step(Input::ConsumerFailed { fault: Fault::Fenced });
    assert_eq!(lines.last().map(String::as_str), Some("Stop LeaseLost"));
}

/// Fenced for the first time, and joining anew.
fn fenced_once() -> Bench {
    let mut bench = Bench::joined(small());
    let lines = bench.step(Input::ConsumerFailed { fault: Fault::Fenced });
    assert_eq!(lines, ["SetTimer Fencing#0 60s", "SetTimer Reconnect#0 1s"]);
    assert_eq!(bench.at(), CONNECTING);
    assert_eq!(bench.expire(TimerKind::Reconnect), ["JoinGroup 2"]);
    bench
}

/// librdkafka fences itself where an outage outlasted its session: it sends a commit under a member id that it
/// has given up. The second process is then nobody but this one.
#[test]
fn one_fencing_alone_is_got_over() {
    let mut bench = fenced_once();
    bench.step(Input::GroupJoined { id: EffectId(2), result: Ok(()) });
    assert_eq!(bench.at(), STREAMING);
    assert_eq!(bench.expire(TimerKind::Fencing), NOTHING);
    let lines = bench.step(Input::ConsumerFailed { fault: Fault::Fenced });
    assert_eq!(lines, ["SetTimer Fencing#1 60s", "SetTimer Reconnect#1 2s"]);
}

#[test]
fn late_answers_and_unasked_ones_are_counted_apart() {
    let mut bench = Bench::joined(small());
    assert_eq!(bench.step(Input::DatabaseConnected { id: EffectId(0), result: Ok(()) }), NOTHING);
    assert_eq!((bench.machine.stale_inputs(), bench.machine.unexpected_inputs()), (1, 0));
    assert_eq!(bench.step(written(0, 77)), NOTHING);
    assert_eq!((bench.machine.stale_inputs(), bench.machine.unexpected_inputs()), (1, 1));
    assert_eq!(bench.expire(TimerKind::Drain), NOTHING);
    assert_eq!((bench.machine.stale_inputs(), bench.machine.unexpected_inputs()), (1, 2));
    assert_eq!(bench.at(), STREAMING);
}
