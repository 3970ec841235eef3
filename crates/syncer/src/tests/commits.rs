use super::*;

/// Feature: cdc-pipeline, Property 11: Offset Commit After Database Write
/// Validates: Requirements 4.5
#[test]
fn an_offset_waits_for_all_before_it() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (0, 1, 0), (0, 2, 1), (0, 3, 1)]));
    assert_eq!(bench.step(written(1, 4)), NOTHING);
    assert_eq!(bench.step(written(0, 3)), ["CommitOffsets 5 [0@0 4]"]);
}

/// Feature: cdc-pipeline, Property 13: Buffer Clear After Flush
/// Validates: Requirements 5.4
#[test]
fn after_a_flush_and_its_commit_nothing_is_buffered() {
    let mut bench = Bench::committing(small());
    assert_eq!(bench.machine.buffered_records(), 1);
    assert_eq!(bench.step(committed(4)), ["SetTimer CommitSpacing#0 10ms"]);
    assert_eq!((bench.machine.buffered_records(), bench.machine.buffered_bytes()), (0, 0));
}

#[test]
fn commits_keep_their_distance() {
    let mut bench = Bench::committing(small());
    bench.step(committed(4));
    bench.step(records(&[(0, 1, 0), (0, 2, 0)]));
    assert_eq!(bench.step(written(0, 5)), NOTHING);
    assert_eq!(bench.expire(TimerKind::CommitSpacing), ["CommitOffsets 6 [0@0 3]"]);
}

#[test]
fn what_is_written_during_a_commit_goes_into_the_next() {
    let mut bench = Bench::committing(Config { commit_spacing: Duration::ZERO, ..small() });
    bench.step(records(&[(0, 1, 0), (0, 2, 0)]));
    assert_eq!(bench.step(written(0, 5)), NOTHING);
    assert_eq!(bench.step(committed(4)), ["CommitOffsets 6 [0@0 3]"]);
}

/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn a_failed_commit_is_tried_again_five_times() {
    let mut bench = Bench::committing(small());
    for (retry, seconds) in [1, 2, 4, 8, 16].into_iter().enumerate() {
        let lines = bench.step(commit_failed(4 + retry as u64, Fault::Transient, &[]));
        assert_eq!(lines, [format!("SetTimer CommitRetry#{retry} {seconds}s")]);
        assert_eq!(bench.at(), STREAMING);
        let lines = bench.expire(TimerKind::CommitRetry);
        assert_eq!(lines, [format!("CommitOffsets {} [0@0 1]", 5 + retry)]);
    }
    assert_eq!(bench.step(commit_failed(9, Fault::Transient, &[])), ["Stop Unavailable(Kafka)"]);
    assert_eq!(bench.at(), stopped(Cause::Unavailable(Dependency::Kafka)));
}

#[test]
fn a_commit_that_the_ledger_fails_blames_postgres() {
    for (fault, cause) in [
        (Fault::Transient, Cause::Unavailable(Dependency::Postgres)),
        (Fault::Auth, Cause::Refused(Dependency::Postgres)),
        (Fault::Fatal, Cause::Failed(Dependency::Postgres)),
    ] {
        let mut bench = Bench::committing(small());
        for id in 4..=9 {
            let from = Dependency::Postgres;
            bench.step(Input::OffsetsCommitted {
                id: EffectId(id),
                result: Err(CommitFailure { from, fault, refused: Vec::new() }),
            });
            if bench.at() != STREAMING {
                break;
            }
            bench.expire(TimerKind::CommitRetry);
        }
        assert_eq!(bench.at(), stopped(cause));
    }
}

#[test]
fn a_rebalance_uses_up_no_retry() {
    let mut bench = Bench::committing(small());
    for turn in 0..8 {
        let lines = bench.step(commit_failed(4 + turn, Fault::Fenced, &[]));
        assert_eq!(lines, [format!("SetTimer CommitRetry#{turn} 1s")]);
        bench.expire(TimerKind::CommitRetry);
    }
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn a_partition_that_the_commit_lost_is_taken_again() {
    let mut bench = Bench::committing(small());
    let lines = bench.step(commit_failed(4, Fault::Fenced, &[0]));
    assert_eq!(lines, ["AcquirePartitions 5 [0@2]"]);
    assert_eq!(bench.machine.buffered_records(), 0);
}

#[test]
fn a_commit_for_what_is_lost_meanwhile_is_not_tried_again() {
    let mut bench = Bench::committing(small());
    bench.step(lost(&[0]));
    assert_eq!(bench.step(commit_failed(4, Fault::Transient, &[])), NOTHING);
}
