use super::*;
use crate::writers::OVERTAKEN_MAX;

/// Rows 0:0 and 0:1 in worker 0's batch, request 3.
fn writing_two(config: Config) -> Bench {
    let mut bench = Bench::streaming(config);
    let lines = bench.step(records(&[(0, 0, 0), (0, 1, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 0:1]", "Fetch 2 records 980 bytes"]);
    bench
}

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
///
/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn a_write_is_tried_again_three_times() {
    let mut bench = Bench::writing(small());
    for (retry, seconds) in [1, 2, 4].into_iter().enumerate() {
        let lines = bench.step(transient(0, 3 + retry as u64));
        assert_eq!(lines, [format!("SetTimer WriteRetry#{retry} {seconds}s")]);
        let lines = bench.expire(TimerKind::WriteRetry(WorkerId(0)));
        assert_eq!(lines, [format!("WriteBatch w0 {} [0:0]", 4 + retry)]);
    }
    assert_eq!(bench.step(transient(0, 6)), ["Stop Unavailable(Postgres)"]);
    assert_eq!(bench.at(), stopped(Cause::Unavailable(Dependency::Postgres)));
}

#[test]
fn progress_starts_the_count_of_retries_over() {
    let mut bench = Bench::writing(small());
    bench.step(transient(0, 3));
    bench.expire(TimerKind::WriteRetry(WorkerId(0)));
    bench.step(records(&[(0, 1, 0)]));
    assert_eq!(bench.step(written(0, 4)), ["WriteBatch w0 5 [0:1]", "CommitOffsets 6 [0@0 1]"]);
    assert_eq!(bench.step(transient(0, 5)), ["SetTimer WriteRetry#1 1s"]);
}

#[test]
fn a_deadlock_is_tried_again_at_once_but_not_for_ever() {
    let mut bench = Bench::writing(small());
    let deadlock = |id| failed(0, id, Fault::RetryNow, Reject::Database);
    assert_eq!(bench.step(deadlock(3)), ["WriteBatch w0 4 [0:0]"]);
    assert_eq!(bench.step(deadlock(4)), ["WriteBatch w0 5 [0:0]"]);
    assert_eq!(bench.step(deadlock(5)), ["SetTimer WriteRetry#0 4s"]);
    assert_eq!(bench.expire(TimerKind::WriteRetry(WorkerId(0))), ["WriteBatch w0 6 [0:0]"]);
    assert_eq!(bench.step(deadlock(6)), ["Stop Unavailable(Postgres)"]);
}

/// Whoever was in the way has gone on.
#[test]
fn a_row_that_others_overtake_again_and_again_does_not_end_the_service() {
    let mut bench = Bench::writing(small());
    let deadlock = |id| failed(0, id, Fault::RetryNow, Reject::Database);
    bench.step(deadlock(3));
    bench.step(records(&[(1, 0, 1)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(1))), ["WriteBatch w1 5 [1:0]"]);
    bench.step(written(1, 5));
    assert_eq!(bench.step(deadlock(4)), ["WriteBatch w0 7 [0:0]"]);
    assert_eq!(bench.step(deadlock(7)), ["SetTimer WriteRetry#0 4s"]);
    assert_eq!(bench.expire(TimerKind::WriteRetry(WorkerId(0))), ["WriteBatch w0 8 [0:0]"]);
    assert_eq!(bench.step(deadlock(8)), ["WriteBatch w0 9 [0:0]"], "the count has started over");
    assert_eq!(bench.step(deadlock(9)), ["WriteBatch w0 10 [0:0]"]);
    bench.step(deadlock(10));
    bench.expire(TimerKind::WriteRetry(WorkerId(0)));
    assert_eq!(bench.step(deadlock(11)), ["Stop Unavailable(Postgres)"], "nobody else has written since");
}

/// Worker 1 writes and commits one row more while worker 0's request is under way.
fn overtake(bench: &mut Bench, offset: i64) {
    bench.step(records(&[(1, offset, 1)]));
    let lines = bench.expire(TimerKind::Linger(WorkerId(1)));
    let lines = bench.step(written(1, number(&lines, "WriteBatch w1")));
    bench.step(committed(number(&lines, "CommitOffsets")));
}

/// The request's number.
fn number(lines: &[String], order: &str) -> u64 {
    let rest = lines.iter().find_map(|line| line.strip_prefix(order)).unwrap();
    rest.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_row_that_others_overtake_for_ever_ends_the_service_in_the_end() {
    let retries = Retries { postgres_write: Retry::times(1), ..small().retries };
    let mut bench = Bench::writing(Config { retries, commit_spacing: Duration::ZERO, ..small() });
    let deadlock = |id| failed(0, id, Fault::RetryNow, Reject::Database);
    let (mut id, mut offset) = (3, 0);
    for is_last in [false, true] {
        id = number(&bench.step(deadlock(id)), "WriteBatch w0");
        for _ in 0..OVERTAKEN_MAX {
            overtake(&mut bench, offset);
            offset += 1;
            id = number(&bench.step(deadlock(id)), "WriteBatch w0");
        }
        if !is_last {
            // Its own progress starts the count over.
            bench.step(records(&[(0, 1, 0)]));
            let lines = bench.step(written(0, id));
            id = number(&lines, "WriteBatch w0");
            bench.step(committed(number(&lines, "CommitOffsets")));
        }
    }
    overtake(&mut bench, offset);
    assert_eq!(bench.step(deadlock(id)), ["Stop Unavailable(Postgres)"]);
}

#[test]
fn a_poisoned_batch_is_halved_until_the_row_stands_alone() {
    let mut bench = writing_two(small());
    let poison = |id| failed(0, id, Fault::Poison, Reject::OutOfRange);
    assert_eq!(bench.step(poison(3)), ["WriteBatch w0 4 [0:0]"]);
    assert_eq!(bench.step(written(0, 4)), ["WriteBatch w0 5 [0:1]", "CommitOffsets 6 [0@0 1]"]);
    assert_eq!(bench.step(poison(5)), ["DeadLetter 7 0:1 out_of_range 22003 x2"]);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn the_halves_of_a_batch_keep_their_order_over_a_retry() {
    let mut bench = writing_two(small());
    bench.step(failed(0, 3, Fault::Poison, Reject::OutOfRange));
    assert_eq!(bench.step(transient(0, 4)), ["SetTimer WriteRetry#0 1s"]);
    assert_eq!(bench.expire(TimerKind::WriteRetry(WorkerId(0))), ["WriteBatch w0 5 [0:0]"]);
    assert_eq!(bench.step(written(0, 5)), ["WriteBatch w0 6 [0:1]", "CommitOffsets 7 [0@0 1]"]);
}

#[test]
fn a_refused_partition_is_taken_again_and_the_rest_of_the_batch_written() {
    let mut bench = Bench::streaming(small());
    let lines = bench.step(records(&[(0, 0, 0), (1, 0, 0), (0, 1, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 1:0]", "Fetch 1 records 970 bytes"]);
    let lines = bench.step(refused(0, 3, &[0]));
    assert_eq!(lines, ["WriteBatch w0 4 [1:0]", "AcquirePartitions 5 [0@2]"]);
    assert_eq!(bench.machine.buffered_records(), 1);
}

#[test]
fn a_batch_refused_whole_frees_its_writer() {
    let mut bench = Bench::writing(small());
    assert_eq!(bench.step(refused(0, 3, &[0])), ["AcquirePartitions 4 [0@2]"]);
    assert_eq!(bench.machine.buffered_records(), 0);
}

#[test]
fn a_refusal_that_names_nothing_of_the_batch_is_retried_with_a_wait() {
    let mut bench = Bench::writing(small());
    assert_eq!(bench.step(refused(0, 3, &[1])), ["SetTimer WriteRetry#0 1s"]);
}

/// Feature: cdc-pipeline, Property 26: Error Type Classification
/// Validates: Requirements 12.5
#[test]
fn faults_that_no_retry_mends_end_the_service() {
    for (fault, cause) in [
        (Fault::Auth, Cause::Refused(Dependency::Postgres)),
        (Fault::Fatal, Cause::Failed(Dependency::Postgres)),
    ] {
        let mut bench = Bench::writing(small());
        bench.step(failed(0, 3, fault, Reject::Database));
        assert_eq!(bench.at(), stopped(cause));
    }
}

#[test]
fn a_batch_of_a_lost_partition_is_not_written_again() {
    let mut bench = Bench::writing(small());
    bench.step(transient(0, 3));
    bench.step(lost(&[0]));
    assert_eq!(bench.expire(TimerKind::WriteRetry(WorkerId(0))), NOTHING);
}
