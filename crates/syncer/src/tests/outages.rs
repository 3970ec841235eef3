//! A PostgreSQL that is out of reach: one schedule for whatever is written or asked.

use super::parked::retrying;
use super::*;

fn unreachable(worker: u32, id: u64) -> Fact {
    failed(worker, id, Fault::Unreachable, Reject::Database)
}

/// Offset 0 in worker 0's batch, request 3, and offset 1 in worker 1's, request 4.
fn both_writing() -> Bench {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (0, 1, 1)]));
    bench.expire(TimerKind::Linger(WorkerId(0)));
    bench.expire(TimerKind::Linger(WorkerId(1)));
    bench
}

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
///
/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn a_write_uses_the_schedule_of_a_connection() {
    let mut bench = Bench::writing(small());
    for (retry, seconds) in [1, 2, 4, 8, 16].into_iter().enumerate() {
        let lines = bench.step(unreachable(0, 3 + retry as u64));
        assert_eq!(lines, [format!("SetTimer OutageRetry#{retry} {seconds}s")]);
        let lines = bench.expire(TimerKind::OutageRetry);
        assert_eq!(lines, [format!("WriteBatch w0 {} [0:0]", 4 + retry)]);
    }
    assert_eq!(bench.step(unreachable(0, 8)), ["Stop Unavailable(Postgres)"]);
    assert_eq!(bench.at(), stopped(Cause::Unavailable(Dependency::Postgres)));
}

/// Somebody may be making it.
#[test]
fn a_database_that_is_not_there_any_more_is_waited_for_in_the_same_way() {
    let once = Retries { postgres_connect: Retry::times(1), ..small().retries };
    let mut bench = Bench::writing(Config { retries: once, ..small() });
    let unfit = |id| failed(0, id, Fault::Unfit, Reject::Database);
    assert_eq!(bench.step(unfit(3)), ["SetTimer OutageRetry#0 1s"]);
    bench.expire(TimerKind::OutageRetry);
    assert_eq!(bench.step(unfit(4)), ["Stop Unsupported(Postgres)"]);
}

#[test]
fn workers_that_fail_of_one_outage_use_up_one_retry() {
    let mut bench = both_writing();
    assert_eq!(bench.step(unreachable(0, 3)), ["SetTimer OutageRetry#0 1s"]);
    assert_eq!(bench.step(unreachable(1, 4)), NOTHING);
    let lines = bench.expire(TimerKind::OutageRetry);
    assert_eq!(lines, ["WriteBatch w0 5 [0:0]", "WriteBatch w1 6 [0:1]"]);
    assert_eq!(bench.step(unreachable(1, 6)), ["SetTimer OutageRetry#1 2s"]);
    assert_eq!(bench.step(unreachable(0, 5)), NOTHING);
}

/// One of them had to wait for its connection's time-out.
#[test]
fn one_that_is_late_to_fail_of_the_try_before_uses_up_none() {
    let mut bench = both_writing();
    bench.step(unreachable(0, 3));
    assert_eq!(bench.expire(TimerKind::OutageRetry), ["WriteBatch w0 5 [0:0]"]);
    assert_eq!(bench.step(unreachable(1, 4)), ["SetTimer OutageRetry#1 1s"]);
    assert_eq!(bench.step(unreachable(0, 5)), NOTHING);
    assert_eq!(bench.expire(TimerKind::OutageRetry), ["WriteBatch w0 6 [0:0]", "WriteBatch w1 7 [0:1]"]);
    assert_eq!(bench.step(unreachable(0, 6)), ["SetTimer OutageRetry#2 2s"]);
}

#[test]
fn the_first_that_gets_through_has_all_others_try_at_once() {
    let mut bench = both_writing();
    bench.step(unreachable(0, 3));
    let lines = bench.step(written(1, 4));
    assert_eq!(lines, ["CancelTimer OutageRetry#0", "WriteBatch w0 5 [0:0]"]);
    assert_eq!(bench.step(unreachable(0, 5)), ["SetTimer OutageRetry#1 1s"], "the count has started over");
}

#[test]
fn a_commit_and_an_acquisition_that_wait_for_the_same_server_are_tried_at_once_too() {
    let mut bench = Bench::committing(small());
    bench.step(assigned(&[2]));
    bench.step(acquire_failed(5, Dependency::Postgres, Fault::Unreachable));
    let (id, from, fault) = (EffectId(4), Dependency::Postgres, Fault::Unreachable);
    let failed = Input::OffsetsCommitted { id, result: Err(CommitFailure { from, fault, refused: vec![] }) };
    assert_eq!(bench.step(failed), ["SetTimer CommitRetry#0 1s"]);
    bench.step(records(&[(0, 1, 0), (0, 2, 1)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(0))), ["WriteBatch w0 6 [0:1]"]);
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(1))), ["WriteBatch w1 7 [0:2]"]);
    assert_eq!(bench.step(unreachable(0, 6)), ["SetTimer OutageRetry#0 1s"]);
    let lines = bench.step(written(1, 7));
    let timers = ["CancelTimer OutageRetry#0", "CancelTimer CommitRetry#0", "CancelTimer AcquireRetry#0"];
    assert_eq!(lines[..3], timers);
    assert_eq!(
        lines[3..],
        ["WriteBatch w0 8 [0:1]", "CommitOffsets 9 [0@0 1]", "AcquirePartitions 10 [2@2]"]
    );
}

/// Nothing of it had to be asked of PostgreSQL.
#[test]
fn a_batch_of_bad_records_alone_is_no_sign_of_an_end() {
    let mut bench = both_writing();
    bench.step(unreachable(0, 3));
    let outcome = WriteOutcome::Written { rejected: vec![rejected(0, Reject::Malformed)], parked: vec![] };
    assert_eq!(bench.step(done(1, 4, outcome)), ["DeadLetter 5 0:1 malformed x1"]);
}

#[test]
fn what_the_server_answered_uses_the_schedule_of_writes() {
    let mut bench = Bench::writing(small());
    bench.step(unreachable(0, 3));
    bench.expire(TimerKind::OutageRetry);
    assert_eq!(bench.step(transient(0, 4)), ["SetTimer WriteRetry#0 1s"]);
    bench.expire(TimerKind::WriteRetry(WorkerId(0)));
    assert_eq!(bench.step(unreachable(0, 5)), ["SetTimer OutageRetry#1 2s"]);
}

#[test]
fn an_idle_syncer_uses_it_for_its_questions_to_the_ledger() {
    let config = Config { ledger_check: Duration::from_secs(5), ..small() };
    let once = Retries { postgres_connect: Retry::times(1), ..config.retries };
    let mut bench = Bench::streaming(Config { retries: once, ..config });
    let unanswered = |id| Input::LedgerChecked { id: EffectId(id), result: Err(Fault::Unreachable) };
    assert_eq!(bench.expire(TimerKind::LedgerCheck), ["CheckLedger 3 [0@0 1@1]"]);
    assert_eq!(bench.step(unanswered(3)), ["SetTimer OutageRetry#0 1s", "SetTimer LedgerCheck#1 5s"]);
    assert_eq!(bench.expire(TimerKind::OutageRetry), NOTHING);
    bench.expire(TimerKind::LedgerCheck);
    let answered =
        Input::LedgerChecked { id: EffectId(4), result: Ok(LedgerCheck { refused: vec![], held: vec![] }) };
    assert_eq!(bench.step(answered), ["SetTimer LedgerCheck#2 5s"]);
    bench.expire(TimerKind::LedgerCheck);
    assert_eq!(bench.step(unanswered(5)), ["SetTimer OutageRetry#1 1s", "SetTimer LedgerCheck#3 5s"]);
    bench.expire(TimerKind::OutageRetry);
    bench.expire(TimerKind::LedgerCheck);
    assert_eq!(bench.step(unanswered(6)), ["Stop Unavailable(Postgres)"]);
}

/// A standby answers questions, and writes nothing.
#[test]
fn an_answered_question_is_no_progress_while_something_is_to_be_written() {
    let mut bench = Bench::streaming(Config { ledger_check: Duration::from_secs(5), ..small() });
    bench.step(records(&[(0, 0, 0)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(0))), ["WriteBatch w0 3 [0:0]"]);
    assert_eq!(bench.expire(TimerKind::LedgerCheck), ["CheckLedger 4 [0@0 1@1]"]);
    assert_eq!(bench.step(unreachable(0, 3)), ["SetTimer OutageRetry#0 1s"]);
    let answered =
        Input::LedgerChecked { id: EffectId(4), result: Ok(LedgerCheck { refused: vec![], held: vec![] }) };
    assert_eq!(bench.step(answered), ["SetTimer LedgerCheck#1 5s"]);
    bench.expire(TimerKind::OutageRetry);
    assert_eq!(bench.step(unreachable(0, 5)), ["SetTimer OutageRetry#1 2s"]);
}

#[test]
fn nor_while_parked_rows_are_to_be_tried_again() {
    let mut bench = retrying(Config { ledger_check: Duration::from_secs(5), ..small() });
    assert_eq!(bench.expire(TimerKind::LedgerCheck), ["CheckLedger 7 [0@0 1@1]"]);
    let failed = retried(0, 6, RetryOutcome::Failed { fault: Fault::Unreachable });
    assert_eq!(bench.step(failed), ["SetTimer OutageRetry#0 1s"]);
    let answered =
        Input::LedgerChecked { id: EffectId(7), result: Ok(LedgerCheck { refused: vec![], held: vec![] }) };
    assert_eq!(bench.step(answered), ["SetTimer LedgerCheck#1 5s"]);
    assert_eq!(bench.expire(TimerKind::OutageRetry), ["RetryParked w0 8 [0@0]"]);
}

#[test]
fn a_batch_of_a_lost_partition_waits_for_nothing() {
    let mut bench = Bench::writing(small());
    bench.step(lost(&[0]));
    assert_eq!(bench.step(unreachable(0, 3)), NOTHING);
}
