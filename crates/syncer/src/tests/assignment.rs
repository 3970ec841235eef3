use super::*;

#[test]
fn an_assignment_takes_its_row_in_the_ledger_before_it_fetches() {
    let mut bench = Bench::joined(small());
    assert_eq!(bench.step(assigned(&[0, 1])), ["AcquirePartitions 2 [0@0 1@1]"]);
    let partitions = vec![acquired(0, 0, None, Some(9)), acquired(1, 1, Some(8), Some(5))];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(2), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["StartFetching [0@0 all 1@1 5]", "Fetch 4 records 1000 bytes"]);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn the_ledger_wins_over_a_group_that_is_ahead_or_unknown() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0, 1]));
    let partitions = vec![acquired(0, 0, Some(8), Some(9)), acquired(1, 1, Some(8), None)];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(2), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["StartFetching [0@0 8 1@1 8]", "Fetch 4 records 1000 bytes"]);
}

#[test]
fn one_look_at_the_ledger_at_a_time() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0]));
    assert_eq!(bench.step(assigned(&[1])), NOTHING);
    let partitions = vec![acquired(0, 0, Some(0), None)];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(2), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["StartFetching [0@0 0]", "AcquirePartitions 3 [1@1]", "Fetch 4 records 1000 bytes"]);
}

#[test]
fn a_failed_look_is_tried_again_without_what_is_gone_meanwhile() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0, 1]));
    let lines = bench.step(acquire_failed(2, Dependency::Postgres, Fault::Transient));
    assert_eq!(lines, ["SetTimer AcquireRetry#0 1s"]);
    assert_eq!(bench.step(revoking(50, &[0])), ["ConfirmRevoked 50"]);
    assert_eq!(bench.expire(TimerKind::AcquireRetry), ["AcquirePartitions 3 [1@1]"]);
}

#[test]
fn a_look_that_fails_for_good_ends_the_service() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0]));
    let lines = bench.step(acquire_failed(2, Dependency::Postgres, Fault::Fatal));
    assert_eq!(lines, ["Stop Failed(Postgres)"]);
    assert_eq!(bench.at(), stopped(Cause::Failed(Dependency::Postgres)));
}

#[test]
fn a_look_that_never_succeeds_blames_who_failed() {
    for from in [Dependency::Postgres, Dependency::Kafka] {
        let mut bench = Bench::joined(small());
        bench.step(assigned(&[0]));
        for id in 2..7 {
            bench.step(acquire_failed(id, from, Fault::Transient));
            bench.expire(TimerKind::AcquireRetry);
        }
        bench.step(acquire_failed(7, from, Fault::Transient));
        assert_eq!(bench.at(), stopped(Cause::Unavailable(from)));
    }
}

#[test]
fn what_was_lost_before_its_row_was_taken_is_not_fetched() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0]));
    assert_eq!(bench.step(lost(&[0])), NOTHING);
    let partitions = vec![acquired(0, 0, Some(0), None)];
    assert_eq!(
        bench.step(Input::PartitionsAcquired {
            id: EffectId(2),
            result: Ok(Taken { partitions, held: vec![] })
        }),
        NOTHING
    );
}

#[test]
fn records_of_an_assignment_that_is_gone_are_dropped_and_counted() {
    let mut bench = Bench::streaming(small());
    bench.step(lost(&[1]));
    let lines = bench.step(records(&[(1, 0, 0), (1, 1, 1)]));
    assert_eq!(lines, ["Fetch 4 records 1000 bytes"]);
    assert_eq!(bench.machine.stale_records(), 2);
}

#[test]
fn lost_rows_leave_the_queues_without_a_commit() {
    let mut bench = Bench::streaming(small());
    assert_eq!(
        bench.step(records(&[(0, 0, 0), (1, 0, 1)])),
        ["SetTimer Linger#0 5ms", "SetTimer Linger#0 5ms", "Fetch 3 records 980 bytes"]
    );
    assert_eq!(bench.step(lost(&[1])), ["CancelTimer Linger#0"]);
    assert_eq!(bench.machine.buffered_records(), 1);
}

#[test]
fn offsets_that_fall_within_an_assignment_are_a_bug() {
    let mut bench = Bench::streaming(small());
    let lines = bench.step(records(&[(0, 7, 0), (0, 7, 0)]));
    assert_eq!(lines, ["Stop Invariant(\"a partition's offsets rise within an assignment\")"]);
}

#[test]
fn gaps_between_offsets_are_normal() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 7, 0), (0, 900, 0)]));
    assert_eq!(bench.step(written(0, 3)), ["CommitOffsets 4 [0@0 901]"]);
}

/// Partition 0 wants offset 5 of a log that begins at 10.
fn behind(config: Config) -> (Bench, Vec<String>) {
    let mut bench = Bench::joined(config);
    bench.step(assigned(&[0, 1]));
    let log = LogBounds { first: 10, end: 20 };
    let partitions =
        vec![Acquired { log, ..acquired(0, 0, Some(5), Some(5)) }, acquired(1, 1, Some(8), None)];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(2), result: Ok(Taken { partitions, held: vec![] }) });
    (bench, lines)
}

#[test]
fn a_gap_is_recorded_before_reading_goes_on_behind_it() {
    let (mut bench, lines) = behind(small());
    let expected =
        ["StartFetching [1@1 8]", "MoveOffsets 3 [0@0 5 to 10 expired]", "Fetch 4 records 1000 bytes"];
    assert_eq!(lines, expected);
    let lines = bench.step(Input::OffsetsMoved { id: EffectId(3), result: Ok(vec![]) });
    assert_eq!(lines, ["StartFetching [0@0 10]"]);
}

#[test]
fn a_partition_that_the_log_does_not_have_is_waited_for_without_using_up_retries() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0, 1]));
    let partitions = vec![acquired(0, 0, Some(5), None)];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(2), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["StartFetching [0@0 5]", "SetTimer AcquireRetry#0 1s", "Fetch 4 records 1000 bytes"]);
    for n in 0..20 {
        assert_eq!(bench.expire(TimerKind::AcquireRetry), [format!("AcquirePartitions {} [1@1]", n + 3)]);
        let lines = bench.step(Input::PartitionsAcquired {
            id: EffectId(n + 3),
            result: Ok(Taken { partitions: vec![], held: vec![] }),
        });
        assert_eq!(lines, [format!("SetTimer AcquireRetry#{} 1s", n + 1)]);
    }
    // Once the group has taken it back nobody looks for it any more.
    assert_eq!(bench.step(Input::Lost { partitions: vec![Partition(1)] }), ["CancelTimer AcquireRetry#20"]);
}

#[test]
fn latest_goes_on_at_the_end_of_the_log() {
    let (_, lines) = behind(Config { offset_reset: OffsetPolicy::Latest, ..small() });
    assert_eq!(lines[1], "MoveOffsets 3 [0@0 5 to 20 expired]");
}

#[test]
fn stop_ends_the_service_and_moves_nothing() {
    let (bench, lines) = behind(Config { offset_reset: OffsetPolicy::Stop, ..small() });
    assert_eq!(lines, ["Stop OffsetLost"]);
    assert_eq!(bench.at(), stopped(Cause::OffsetLost));
}

#[test]
fn a_gap_that_is_not_recorded_is_looked_at_again() {
    let (mut bench, _) = behind(small());
    let lines = bench.step(acquire_failed(3, Dependency::Postgres, Fault::Transient));
    assert_eq!(lines, ["SetTimer AcquireRetry#0 1s"]);
    assert_eq!(bench.expire(TimerKind::AcquireRetry), ["AcquirePartitions 4 [0@0]"]);

    let (mut bench, _) = behind(small());
    let lines = bench.step(Input::OffsetsMoved { id: EffectId(3), result: Ok(partitions(&[0])) });
    assert_eq!(lines, ["SetTimer AcquireRetry#0 1s"]);
}

#[test]
fn a_partition_that_is_gone_when_its_gap_is_recorded_is_not_fetched() {
    let (mut bench, _) = behind(small());
    bench.step(lost(&[0]));
    assert_eq!(bench.step(Input::OffsetsMoved { id: EffectId(3), result: Ok(vec![]) }), NOTHING);
}

/// Retention overtook a running consumer: it is made anew, and what it gets next is the log's business.
#[test]
fn a_consumer_whose_offset_left_the_log_joins_again() {
    let mut bench = Bench::streaming(small());
    let lines = bench.step(Input::ConsumerFailed { fault: Fault::HistoryLost });
    assert_eq!(lines, ["SetTimer Reconnect#0 1s"]);
    assert_eq!(bench.expire(TimerKind::Reconnect), ["JoinGroup 3"]);
}
