use cdc_machine::{Dependency, SeqNo};

use super::*;
use crate::{RejectedParked, Row};

type Retried = RetryOutcome<&'static str>;

const RETRY: TimerKind = TimerKind::ParkedRetry(WorkerId(0));

fn blocked(worker: u32, id: u64) -> Fact {
    failed(worker, id, Fault::Blocked, Reject::UniqueViolation)
}

fn still(of: &[(u32, u64)]) -> Retried {
    RetryOutcome::Done { parked: parked(of), is_changed: false, rejected: vec![] }
}

fn resolved(of: &[(u32, u64)]) -> Retried {
    RetryOutcome::Done { parked: parked(of), is_changed: true, rejected: vec![] }
}

/// One row of partition 0 is parked by worker 0, committed, and its retry is timed. The next request is
/// number 6.
fn with_one_parked(config: Config) -> Bench {
    let mut bench = Bench::writing(config);
    assert_eq!(bench.step(blocked(0, 3)), ["WriteBatch w0 4 [0:0] park"]);
    let lines = bench.step(written_with(0, 4, &[(0, 1)]));
    assert_eq!(lines, ["SetTimer ParkedRetry#0 50ms", "CommitOffsets 5 [0@0 1]"]);
    bench.step(committed(5));
    assert_eq!(bench.machine.parked_rows(), 1);
    bench
}

/// The same with its retry, request 6, under way.
pub(super) fn retrying(config: Config) -> Bench {
    let mut bench = with_one_parked(config);
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 6 [0@0]"]);
    bench
}

#[test]
fn a_blocked_batch_is_written_again_as_a_whole_with_leave_to_park() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (0, 1, 0)]));
    assert_eq!(bench.step(blocked(0, 3)), ["WriteBatch w0 4 [0:0 0:1] park"]);
    // Both settle: one is in its table, the other durable where it is parked.
    let lines = bench.step(written_with(0, 4, &[(0, 1)]));
    assert_eq!(lines, ["SetTimer ParkedRetry#0 50ms", "CommitOffsets 5 [0@0 2]"]);
}

#[test]
fn leave_to_park_outlasts_a_failed_try() {
    let mut bench = Bench::writing(small());
    bench.step(blocked(0, 3));
    assert_eq!(bench.step(transient(0, 4)), ["SetTimer WriteRetry#0 1s"]);
    assert_eq!(bench.expire(TimerKind::WriteRetry(WorkerId(0))), ["WriteBatch w0 5 [0:0] park"]);
}

#[test]
fn a_bad_row_among_blocked_ones_is_found_by_halving() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (0, 1, 0)]));
    bench.step(blocked(0, 3));
    let poison = |id| failed(0, id, Fault::Poison, Reject::CheckViolation);
    assert_eq!(bench.step(poison(4)), ["WriteBatch w0 5 [0:0]"]);
    assert_eq!(bench.step(blocked(0, 5)), ["WriteBatch w0 6 [0:0] park"]);
    let lines = bench.step(written_with(0, 6, &[(0, 1)]));
    assert_eq!(
        lines,
        ["SetTimer ParkedRetry#0 50ms", "WriteBatch w0 7 [0:1] fence", "CommitOffsets 8 [0@0 1]"]
    );
    assert_eq!(bench.step(poison(7)), ["DeadLetter 9 0:1 check_violation x3"]);
}

#[test]
fn a_row_that_even_parking_refuses_is_a_bad_one() {
    let mut bench = Bench::writing(small());
    bench.step(blocked(0, 3));
    assert_eq!(bench.step(blocked(0, 4)), ["DeadLetter 5 0:0 unique_violation x2"]);
}

#[test]
fn only_batches_of_the_same_worker_and_partition_look_for_parked_rows() {
    let mut bench = with_one_parked(small());
    bench.step(records(&[(1, 0, 0), (0, 1, 1)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(0))), ["WriteBatch w0 6 [1:0]"]);
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(1))), ["WriteBatch w1 7 [0:1]"]);
    bench.step(written(0, 6));
    bench.step(records(&[(0, 2, 0)]));
    let lines = bench.expire(TimerKind::Linger(WorkerId(0)));
    assert_eq!(lines[0], "WriteBatch w0 8 [0:2] fence");
}

#[test]
fn a_newer_row_that_takes_the_parked_one_s_place_ends_the_retries() {
    let mut bench = with_one_parked(small());
    bench.step(records(&[(0, 1, 0)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(0))), ["WriteBatch w0 6 [0:1] fence"]);
    let lines = bench.step(written_with(0, 6, &[(0, 0)]));
    assert_eq!(lines, ["CancelTimer ParkedRetry#0"]);
    assert_eq!(bench.machine.parked_rows(), 0);
}

#[test]
fn a_retry_waits_for_its_writer_and_batches_for_the_retry() {
    let mut bench = with_one_parked(small());
    bench.step(records(&[(0, 1, 0)]));
    bench.expire(TimerKind::Linger(WorkerId(0)));
    assert_eq!(bench.expire(RETRY), NOTHING);
    bench.step(records(&[(0, 2, 0)]));
    let lines = bench.step(written_with(0, 6, &[(0, 1)]));
    assert_eq!(lines, ["RetryParked w0 7 [0@0]"]);
    assert_eq!(bench.step(retried(0, 7, resolved(&[(0, 0)])))[0], "WriteBatch w0 8 [0:2]");
}

#[test]
fn a_retry_that_changes_nothing_comes_later_and_later() {
    let mut bench = retrying(small());
    let mut id = 6;
    for wait in ["100ms", "200ms", "400ms", "800ms", "1.6s", "2s", "2s"] {
        let lines = bench.step(retried(0, id, still(&[(0, 1)])));
        assert_eq!(lines, [format!("SetTimer ParkedRetry#{} {wait}", id - 5)]);
        id += 1;
        assert_eq!(bench.expire(RETRY), [format!("RetryParked w0 {id} [0@0]")]);
    }
}

#[test]
fn a_row_written_meanwhile_makes_the_next_retry_come_soon() {
    let mut bench = retrying(small());
    for id in 6..16 {
        bench.step(retried(0, id, still(&[(0, 1)])));
        bench.expire(RETRY);
    }
    bench.step(records(&[(0, 1, 1)]));
    bench.expire(TimerKind::Linger(WorkerId(1)));
    // While it runs.
    bench.step(written(1, 17));
    let lines = bench.step(retried(0, 16, still(&[(0, 1)])));
    assert_eq!(lines, ["SetTimer ParkedRetry#11 500ms"]);
    // While it waits.
    bench.expire(RETRY);
    bench.step(retried(0, 18, still(&[(0, 1)])));
    bench.step(records(&[(0, 2, 1)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(1))), ["WriteBatch w1 19 [0:2]"]);
    assert_eq!(bench.step(written(1, 19))[0], "SetTimer ParkedRetry#13 500ms");
}

#[test]
fn a_retry_that_opens_a_cycle_stirs_the_other_workers_up() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0]));
    let parked = vec![(WorkerId(0), 1), (WorkerId(1), 1)];
    let partitions = vec![Acquired { parked, ..acquired(0, 0, Some(0), None) }];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(2), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines[1..3], ["SetTimer ParkedRetry#0 50ms", "SetTimer ParkedRetry#0 50ms"]);
    let other = TimerKind::ParkedRetry(WorkerId(1));
    assert_eq!(bench.expire(other), ["RetryParked w1 3 [0@0]"]);
    assert_eq!(bench.step(retried(1, 3, still(&[(0, 1)]))), ["SetTimer ParkedRetry#1 100ms"]);
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 4 [0@0]"]);
    let lines = bench.step(retried(0, 4, resolved(&[(0, 1)])));
    assert_eq!(lines, ["SetTimer ParkedRetry#2 100ms", "SetTimer ParkedRetry#1 50ms"]);
}

#[test]
fn a_revoked_partition_s_rows_are_left_to_its_next_owner() {
    let mut bench = with_one_parked(small());
    assert_eq!(bench.step(revoking(9, &[0])), ["ConfirmRevoked 9", "CancelTimer ParkedRetry#0"]);
    assert_eq!(bench.machine.parked_rows(), 0);
}

#[test]
fn the_answer_to_a_retry_of_a_lost_partition_changes_nothing() {
    let mut bench = retrying(small());
    assert_eq!(bench.step(lost(&[0])), NOTHING);
    assert_eq!(bench.step(retried(0, 6, still(&[(0, 1)]))), NOTHING);
    assert_eq!(bench.machine.parked_rows(), 0);
    assert_eq!(bench.step(retried(0, 6, still(&[(0, 1)]))), NOTHING);
    assert_eq!(bench.machine.stale_inputs(), 1);
}

/// The simulator found it: the timer of the next assignment's retry ran on beside the wait for PostgreSQL.
#[test]
fn the_late_failure_of_a_retry_stops_the_timer_of_the_next_assignment_s() {
    let mut bench = retrying(small());
    bench.step(lost(&[0]));
    bench.step(assigned(&[0]));
    let partitions = vec![Acquired { parked: vec![(WorkerId(0), 1)], ..acquired(0, 2, Some(1), None) }];
    let taken = Taken { partitions, held: vec![] };
    bench.step(Input::PartitionsAcquired { id: EffectId(7), result: Ok(taken) });
    let lines = bench.step(retried(0, 6, RetryOutcome::Failed { fault: Fault::Unreachable }));
    assert_eq!(lines, ["SetTimer OutageRetry#0 1s", "CancelTimer ParkedRetry#1"]);
}

#[test]
fn a_refused_retry_gives_its_partition_up() {
    let mut bench = retrying(small());
    let lines = bench.step(retried(0, 6, RetryOutcome::Refused { partitions: partitions(&[0]) }));
    assert_eq!(lines, ["AcquirePartitions 7 [0@2]"]);
}

#[test]
fn a_failed_retry_is_a_failed_write() {
    let mut bench = retrying(small());
    let failed = |id, fault| retried(0, id, RetryOutcome::Failed { fault });
    assert_eq!(bench.step(failed(6, Fault::Transient)), ["SetTimer ParkedRetry#1 1s"]);
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 7 [0@0]"]);
    assert_eq!(bench.step(failed(7, Fault::Poison)), ["SetTimer ParkedRetry#2 100ms"]);
    bench.expire(RETRY);
    bench.step(failed(8, Fault::Fatal));
    assert_eq!(bench.at(), stopped(Cause::Failed(Dependency::Postgres)));
}

#[test]
fn a_retry_waits_with_everything_else_for_a_server_that_is_out_of_reach() {
    let mut bench = retrying(small());
    let failed = |id| retried(0, id, RetryOutcome::Failed { fault: Fault::Unreachable });
    assert_eq!(bench.step(failed(6)), ["SetTimer OutageRetry#0 1s"]);
    assert_eq!(bench.expire(TimerKind::OutageRetry), ["RetryParked w0 7 [0@0]"]);
    assert_eq!(bench.step(failed(7)), ["SetTimer OutageRetry#1 2s"]);
    bench.expire(TimerKind::OutageRetry);
    assert_eq!(bench.step(retried(0, 8, still(&[(0, 1)]))), ["SetTimer ParkedRetry#1 100ms"]);
}

/// Syncers that retry their parked rows side by side want the same values: two of them meet again and again.
#[test]
fn a_retry_that_another_transaction_was_in_the_way_of_just_comes_later() {
    let mut bench = retrying(small());
    for (number, wait) in ["100ms", "200ms", "400ms", "800ms", "1.6s", "2s"].into_iter().enumerate() {
        let deadlock = RetryOutcome::Failed { fault: Fault::RetryNow };
        let lines = bench.step(retried(0, 6 + number as u64, deadlock));
        assert_eq!(lines, [format!("SetTimer ParkedRetry#{} {wait}", 1 + number)]);
        assert_eq!(bench.expire(RETRY), [format!("RetryParked w0 {} [0@0]", 7 + number)]);
    }
}

/// The row of partition 0 with this offset cannot be written any more.
fn refused_row(epoch: u64, offset: i64) -> Retried {
    let (partition, epoch) = (Partition(0), Epoch(epoch));
    let row = Row { partition, epoch, seq: SeqNo(0), offset, route: 0, bytes: 0, handle: "" };
    let (reason, detail) = (Reject::CheckViolation, Arc::from("detail"));
    let rejected =
        vec![RejectedParked { row, reason, sqlstate: SqlState::new("23514"), detail, attempts: 3 }];
    RetryOutcome::Done { parked: parked(&[(0, 1)]), is_changed: false, rejected }
}

fn dead_lettered(id: u64) -> Fact {
    Input::DeadLettered { id: EffectId(id), result: Ok(()) }
}

#[test]
fn a_parked_row_that_fails_for_another_reason_leaves_once_its_dead_letter_is_durable() {
    let mut bench = retrying(small());
    let lines = bench.step(retried(0, 6, refused_row(0, 0)));
    assert_eq!(lines, ["SetTimer ParkedRetry#1 100ms", "DeadLetter 7 0:0 check_violation 23514 x3"]);
    // Meanwhile it is tried, and refused, again: one dead letter is enough.
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 8 [0@0]"]);
    assert_eq!(bench.step(retried(0, 8, refused_row(0, 0))), ["SetTimer ParkedRetry#2 200ms"]);
    assert_eq!(bench.step(dead_lettered(7)), ["SetTimer ParkedRetry#3 200ms"]);
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 9 [0@0] without 0:0"]);
    // Nobody knows whether that was carried out.
    bench.step(retried(0, 9, RetryOutcome::Failed { fault: Fault::Transient }));
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 10 [0@0] without 0:0"]);
    assert_eq!(bench.step(retried(0, 10, resolved(&[(0, 0)]))), NOTHING);
    assert_eq!(bench.machine.parked_rows(), 0);
}

#[test]
fn a_parked_row_that_fails_for_another_reason_follows_the_policy_for_bad_records() {
    let mut bench = retrying(Config { on_bad_record: OnBadRecord::Skip, ..small() });
    let lines = bench.step(retried(0, 6, refused_row(0, 0)));
    let expected =
        ["SetTimer ParkedRetry#1 100ms", "SetTimer ParkedRetry#2 100ms", "Skip 0:0 check_violation"];
    assert_eq!(lines, expected);
    assert_eq!(bench.expire(RETRY), ["RetryParked w0 7 [0@0] without 0:0"]);

    let mut bench = retrying(Config { on_bad_record: OnBadRecord::Stop, ..small() });
    let lines = bench.step(retried(0, 6, refused_row(0, 0)));
    assert_eq!(lines[1..], ["Stop BadRecord at 0:0 check_violation"]);
    assert_eq!(bench.at(), stopped(Cause::BadRecord));
}

#[test]
fn a_parked_row_that_is_put_aside_is_its_next_owner_s_where_the_partition_is_lost() {
    let mut bench = retrying(small());
    bench.step(retried(0, 6, refused_row(0, 0)));
    bench.step(lost(&[0]));
    assert_eq!(bench.step(dead_lettered(7)), NOTHING);
    assert_eq!(bench.machine.parked_rows(), 0);
}

#[test]
fn a_drain_waits_for_a_retry_and_begins_none() {
    let mut bench = retrying(small());
    bench.step(drain());
    assert_eq!(bench.at(), DRAINING);
    assert_eq!(bench.step(retried(0, 6, still(&[(0, 1)]))), ["LeaveGroup 7"]);
}

#[test]
fn by_policy_too_many_parked_rows_end_the_service() {
    let stopping = Config { max_parked_rows: 1, on_table_error: OnTableError::Stop, ..small() };
    let mut bench = with_one_parked(stopping);
    bench.step(records(&[(0, 1, 1)]));
    bench.expire(TimerKind::Linger(WorkerId(1)));
    assert_eq!(bench.step(blocked(1, 6)), ["Stop ParkedFull"]);
    assert_eq!(Cause::ParkedFull.exit_code(), 65);
}

#[test]
fn a_batch_that_deadlocks_again_and_again_is_halved() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (0, 1, 0)]));
    let deadlock = |id| failed(0, id, Fault::RetryNow, Reject::Database);
    assert_eq!(bench.step(deadlock(3)), ["WriteBatch w0 4 [0:0 0:1]"]);
    assert_eq!(bench.step(deadlock(4)), ["WriteBatch w0 5 [0:0 0:1]"]);
    assert_eq!(bench.step(deadlock(5)), ["WriteBatch w0 6 [0:0]"]);
    assert_eq!(bench.step(written(0, 6))[0], "WriteBatch w0 7 [0:1]");
}
