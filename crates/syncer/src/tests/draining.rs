use super::*;

/// Feature: cdc-pipeline, Property 19: Graceful Shutdown Buffer Flush
/// Validates: Requirements 9.3
#[test]
fn a_drain_writes_commits_and_leaves_the_group() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0)]));
    let lines = bench.step(drain());
    assert_eq!(lines, ["Pause", "WriteBatch w0 3 [0:0]", "CancelTimer Linger#0", "SetTimer Drain#0 25s"]);
    assert_eq!(bench.at(), DRAINING);
    assert_eq!(bench.step(written(0, 3)), ["CommitOffsets 4 [0@0 1]"]);
    assert_eq!(bench.step(committed(4)), ["SetTimer CommitSpacing#0 10ms", "LeaveGroup 5"]);
    assert_eq!(bench.at(), DRAINING);
    assert_eq!(bench.step(Input::GroupLeft { id: EffectId(5), result: () }), ["Stop Drained"]);
    assert_eq!(bench.at(), stopped(Cause::Drained));
}

#[test]
fn records_that_come_after_the_drain_began_are_not_accepted() {
    let mut bench = Bench::writing(small());
    bench.step(drain());
    assert_eq!(bench.step(records(&[(0, 1, 0)])), NOTHING);
    assert_eq!(bench.machine.buffered_records(), 1);
}

#[test]
fn a_drain_before_the_group_is_joined_ends_at_once() {
    let mut bench = Bench::new(small());
    assert_eq!(bench.step(drain()), ["Stop Drained"]);
    let mut bench = Bench::new(small());
    bench.step(Input::Start);
    bench.step(Input::DatabaseConnected { id: EffectId(0), result: Err(Fault::Transient) });
    assert_eq!(bench.step(drain()), ["CancelTimer Reconnect#0", "Stop Drained"]);
}

#[test]
fn a_drain_while_joining_leaves_the_group() {
    let mut bench = Bench::new(small());
    bench.step(Input::Start);
    bench.step(Input::DatabaseConnected { id: EffectId(0), result: Ok(()) });
    assert_eq!(bench.step(drain()), ["Pause", "LeaveGroup 2", "SetTimer Drain#0 25s"]);
    assert_eq!(bench.step(Input::GroupJoined { id: EffectId(1), result: Ok(()) }), NOTHING);
    assert_eq!(bench.step(Input::GroupLeft { id: EffectId(2), result: () }), ["Stop Drained"]);
}

#[test]
fn a_drain_has_an_end() {
    let mut bench = Bench::writing(small());
    bench.step(drain());
    bench.step(transient(0, 3));
    assert_eq!(bench.expire(TimerKind::Drain), ["Stop DrainTimedOut"]);
    assert_eq!(bench.at(), stopped(Cause::DrainTimedOut));
}

#[test]
fn a_group_that_cannot_be_left_in_time_takes_nothing_with_it() {
    let mut bench = Bench::streaming(small());
    assert_eq!(bench.step(drain()), ["Pause", "LeaveGroup 3", "SetTimer Drain#0 25s"]);
    assert_eq!(bench.expire(TimerKind::Drain), ["Stop Drained"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut bench = Bench::writing(small());
    bench.step(drain());
    assert_eq!(bench.step(drain()), ["Stop Aborted"]);
    let mut bench = Bench::writing(small());
    assert_eq!(bench.step(Input::Signal(Signal::Abort)), ["Stop Aborted"]);
    assert_eq!(bench.at(), stopped(Cause::Aborted));
}

#[test]
fn a_consumer_that_dies_with_rows_in_hand_leaves_the_drain_incomplete() {
    let mut bench = Bench::writing(small());
    bench.step(drain());
    assert_eq!(bench.step(Input::ConsumerFailed { fault: Fault::Transient }), NOTHING);
    assert_eq!(bench.at(), DRAINING);
    assert_eq!(bench.step(written(0, 3)), ["Stop DrainIncomplete"]);
}

#[test]
fn leaving_the_group_gives_its_partitions_back() {
    let mut bench = Bench::streaming(small());
    assert_eq!(bench.step(drain()), ["Pause", "LeaveGroup 3", "SetTimer Drain#0 25s"]);
    assert_eq!(bench.step(revoking(50, &[0, 1])), ["ConfirmRevoked 50"]);
    assert_eq!(bench.step(Input::GroupLeft { id: EffectId(3), result: () }), ["Stop Drained"]);
}

#[test]
fn a_drain_takes_nothing_on() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0]));
    assert_eq!(bench.step(drain()), ["Pause", "LeaveGroup 3", "SetTimer Drain#0 25s"]);
    let partitions = vec![acquired(0, 0, None, None)];
    assert_eq!(
        bench.step(Input::PartitionsAcquired {
            id: EffectId(2),
            result: Ok(Taken { partitions, held: vec![] })
        }),
        NOTHING
    );
    assert_eq!(bench.step(assigned(&[1])), NOTHING);
}

#[test]
fn a_stopped_machine_does_nothing() {
    let mut bench = Bench::writing(small());
    bench.step(Input::Signal(Signal::Abort));
    assert_eq!(bench.step(written(0, 3)), NOTHING);
    assert_eq!(bench.step(Input::Start), NOTHING);
    assert_eq!(bench.at(), stopped(Cause::Aborted));
}
