//! Topics of which too many rows are parked: nothing more is read of them, and the parked rows are tried again.

use super::*;

const RETRY: TimerKind = TimerKind::ParkedRetry(WorkerId(0));

fn blocked(worker: u32, id: u64) -> Fact {
    failed(worker, id, Fault::Blocked, Reject::UniqueViolation)
}

fn reasons(bench: &Bench) -> Vec<(u32, &'static str)> {
    bench.machine.holds().iter().map(|(partition, held)| (partition.0, held.reason.as_str())).collect()
}

/// One row of partition 0 is parked, which is as many as may be, and its offset committed. The next request is
/// number 6.
fn with_one_parked() -> Bench {
    let mut bench = of_two_topics(Config { max_parked_rows: 1, ..small() });
    bench.step(records(&[(0, 0, 0)]));
    bench.expire(TimerKind::Linger(WorkerId(0)));
    assert_eq!(bench.step(blocked(0, 3)), ["WriteBatch w0 4 [0:0] park"]);
    bench.step(written_with(0, 4, &[(0, 1)]));
    bench.step(committed(5));
    bench
}

/// Another one was blocked: its partition is taken anew, in epoch 2, and not read. The next request is number 8.
fn full() -> Bench {
    let mut bench = with_one_parked();
    bench.step(records(&[(0, 1, 0)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(0))), ["WriteBatch w0 6 [0:1] fence"]);
    let lines = bench.step(blocked(0, 6));
    assert_eq!(lines, ["StopFetching [0]", "CancelTimer ParkedRetry#0", "AcquirePartitions 7 [0@2]"]);
    let partitions = vec![Acquired { parked: vec![(WorkerId(0), 1)], ..acquired(0, 2, Some(1), None) }];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(7), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["SetTimer HeldTable#0 30s", "SetTimer ParkedRetry#1 50ms"]);
    assert_eq!(reasons(&bench), [(0, "parked_full")]);
    bench
}

#[test]
fn its_parked_rows_are_tried_again_while_nothing_of_it_is_read_and_the_others_go_on() {
    let mut bench = full();
    bench.step(records(&[(1, 0, 1)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(1))), ["WriteBatch w1 8 [1:0]"]);
    bench.step(written(1, 8));
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 9 [0@2]"]);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn it_is_read_on_once_fewer_are_parked() {
    let mut bench = full();
    assert_eq!(bench.expire(TimerKind::HeldTable), ["SetTimer HeldTable#1 30s"], "still full");
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 8 [0@2]"]);
    let outcome = RetryOutcome::Done { parked: parked(&[(0, 0)]), is_changed: true, rejected: vec![] };
    let freed = Input::ParkedRetried { worker: WorkerId(0), id: EffectId(8), result: outcome };
    assert_eq!(bench.step(freed), NOTHING);
    assert_eq!(bench.expire(TimerKind::HeldTable), ["AcquirePartitions 9 [0@2]"]);
    let partitions = vec![acquired(0, 2, Some(1), None)];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(9), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["StartFetching [0@2 1]"]);
    assert_eq!(reasons(&bench), []);
}

#[test]
fn rows_of_another_topic_in_the_same_batch_may_still_be_parked() {
    let mut bench = with_one_parked();
    let lines = bench.step(records(&[(0, 1, 0), (1, 0, 0)]));
    assert_eq!(lines[0], "WriteBatch w0 6 [0:1 1:0] fence");
    assert_eq!(bench.step(blocked(0, 6)), ["WriteBatch w0 7 [0:1] fence"]);
    assert_eq!(bench.step(written(0, 7)), ["WriteBatch w0 8 [1:0]"]);
    assert_eq!(bench.step(blocked(0, 8)), ["WriteBatch w0 9 [1:0] park"]);
    assert_eq!(reasons(&bench), []);
}

#[test]
fn its_partitions_go_back_to_the_group_at_once() {
    let mut bench = full();
    let lines = bench.step(revoking(50, &[0]));
    assert_eq!(lines[0], "ConfirmRevoked 50");
    assert_eq!(reasons(&bench), []);
    let mut bench = full();
    bench.step(lost(&[0]));
    assert_eq!(reasons(&bench), []);
}
