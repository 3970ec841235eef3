use super::*;

#[test]
fn a_fetch_asks_for_no_more_than_every_queue_takes() {
    let mut bench = Bench::streaming(small());
    // Worker 0 writes two rows and has credit for two more; worker 1 is empty.
    let lines = bench.step(records(&[(0, 0, 0), (0, 1, 0), (0, 2, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 0:1]", "Fetch 1 records 970 bytes"]);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn a_full_queue_ends_fetching_and_later_pauses_the_consumer() {
    let mut bench = Bench::streaming(small());
    let lines = bench.step(records(&[(0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 0:1]", "SetTimer Pause#0 500ms"]);
    assert_eq!(bench.at(), AWAITING_ACK);
    assert_eq!(bench.expire(TimerKind::Pause), ["Pause"]);
    assert_eq!(bench.at(), AWAITING_ACK);
    let lines = bench.step(written(0, 3));
    assert_eq!(
        lines,
        ["WriteBatch w0 4 [0:2 0:3]", "CommitOffsets 5 [0@0 2]", "Resume", "Fetch 2 records 960 bytes"]
    );
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn credit_that_returns_in_time_pauses_nothing() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0)]));
    let lines = bench.step(written(0, 3));
    assert_eq!(
        lines,
        [
            "WriteBatch w0 4 [0:2 0:3]",
            "CommitOffsets 5 [0@0 2]",
            "CancelTimer Pause#0",
            "Fetch 2 records 960 bytes"
        ]
    );
}

#[test]
fn fetches_do_not_dribble() {
    let mut bench = Bench::streaming(Config { channel_buffer: 8, max_fetch_records: 9, ..small() });
    // Of the ten rows that queue 0 takes nine are taken: one is less than a quarter of the channel.
    let of: Vec<_> = (0..9).map(|offset| (0, offset, 0)).collect();
    assert_eq!(bench.step(records(&of)), ["WriteBatch w0 3 [0:0 0:1]", "SetTimer Pause#0 500ms"]);
    assert_eq!(bench.at(), AWAITING_ACK);
}

#[test]
fn bytes_bound_what_is_buffered_up_to_the_commit() {
    let mut bench = Bench::streaming(Config { max_buffered_bytes: 40, ..small() });
    let lines = bench.step(records(&[(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 1:0]", "WriteBatch w1 4 [0:1 1:1]", "SetTimer Pause#0 500ms"]);
    assert_eq!(bench.at(), AWAITING_ACK);
    assert_eq!(bench.step(written(0, 3)), ["CommitOffsets 5 [0@0 1 1@1 1]"]);
    assert_eq!(bench.step(written(1, 4)), NOTHING);
    // All is written; only the commit gives credit.
    assert_eq!(bench.at(), SAVING_TOKEN);
    assert!(bench.machine.is_full(&bench.config), "nothing more is read");
    let lines = bench.step(committed(5));
    assert_eq!(lines, ["SetTimer CommitSpacing#0 10ms", "CancelTimer Pause#0", "Fetch 4 records 20 bytes"]);
    assert_eq!(bench.at(), STREAMING);
    assert!(!bench.machine.is_full(&bench.config), "what is in hand leaves room");
}

#[test]
fn without_credit_a_commit_does_not_keep_its_distance() {
    let mut bench = Bench::committing(Config { max_buffered_bytes: 30, ..small() });
    bench.step(committed(4));
    bench.step(records(&[(0, 1, 0), (0, 2, 0), (0, 3, 1)]));
    assert_eq!(bench.at(), AWAITING_ACK);
    assert_eq!(bench.step(written(0, 5)), ["CancelTimer CommitSpacing#0", "CommitOffsets 6 [0@0 3]"]);
}

#[test]
fn one_record_larger_than_all_credit_passes_alone() {
    let mut bench = Bench::streaming(Config { max_buffered_bytes: 5, ..small() });
    let lines = bench.step(records(&[(0, 0, 0)]));
    assert_eq!(lines, ["SetTimer Linger#0 5ms", "SetTimer Pause#0 500ms"]);
    assert_eq!(bench.at(), AWAITING_ACK);
    bench.expire(TimerKind::Linger(WorkerId(0)));
    bench.step(written(0, 3));
    assert_eq!(bench.at(), SAVING_TOKEN);
    let lines = bench.step(committed(4));
    assert_eq!(lines, ["SetTimer CommitSpacing#0 10ms", "CancelTimer Pause#0", "Fetch 4 records 5 bytes"]);
}

#[test]
fn a_partition_that_starts_while_paused_is_paused_too() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0)]));
    bench.expire(TimerKind::Pause);
    assert_eq!(bench.step(assigned(&[2])), ["AcquirePartitions 4 [2@2]"]);
    let partitions = vec![acquired(2, 2, None, None)];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(4), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["StartFetching [2@2 all]", "Pause"]);
}
