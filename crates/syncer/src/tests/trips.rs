//! The breaker: too many bad records of a topic hold it, and it is tried again before it is read on.

use super::*;

/// More than half of the last records, and at least two of them.
fn breaking() -> Config {
    let stop_after = StopAfter { share: StopAfter::WHOLE / 2, window: 10, at_least: 2 };
    Config { stop_after, ..small() }
}

fn bad(worker: u32, id: u64, indexes: &[usize]) -> Fact {
    let rejected = indexes.iter().map(|index| rejected(*index, Reject::Malformed)).collect();
    done(worker, id, WriteOutcome::Written { rejected, parked: vec![] })
}

fn reasons(bench: &Bench) -> Vec<(u32, &'static str)> {
    bench.machine.holds().iter().map(|(partition, held)| (partition.0, held.reason.as_str())).collect()
}

/// Offsets 0 and 1 of partition 0 were bad: its topic is held, and the other topic is read. The next request is number
/// 4, the next epoch 3.
fn held() -> Bench {
    let mut bench = of_two_topics(breaking());
    let lines = bench.step(records(&[(0, 0, 0), (0, 1, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 0:1]", "Fetch 2 records 980 bytes"]);
    assert_eq!(bench.step(bad(0, 3, &[0, 1])), ["StopFetching [0]", "SetTimer HeldTable#0 30s"]);
    assert_eq!(reasons(&bench), [(0, "too_many_bad_records")]);
    bench
}

/// The same, served again from offset 0, with offsets 0 and 1 in worker 0's batch, request 5.
fn tried_again() -> Bench {
    let mut bench = held();
    assert_eq!(bench.expire(TimerKind::HeldTable), ["AcquirePartitions 4 [0@2]"]);
    let partitions = vec![acquired(0, 2, Some(0), None)];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(4), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["StartFetching [0@2 0]"]);
    assert_eq!(reasons(&bench), []);
    let polled = vec![record(0, 2, 0, 0), record(0, 2, 1, 0)];
    let lines = bench.step(Input::Records { records: polled });
    assert_eq!(lines[0], "WriteBatch w0 5 [0:0 0:1]");
    bench
}

#[test]
fn too_many_bad_records_hold_their_topic_before_any_dead_letter_and_the_others_go_on() {
    let mut bench = held();
    let detail = bench.machine.holds().values().next().map(|held| Arc::clone(&held.detail)).unwrap();
    assert!(detail.starts_with("2 of the last 2 records cannot be written (malformed 2)"), "{detail}");
    bench.step(records(&[(1, 0, 1), (1, 1, 1)]));
    assert_eq!(bench.step(written(1, 4)), ["CommitOffsets 5 [1@1 2]"]);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn records_of_another_topic_do_not_count() {
    let mut bench = of_two_topics(breaking());
    bench.step(records(&[(0, 0, 0), (1, 0, 0)]));
    assert_eq!(
        bench.step(bad(0, 3, &[0, 1])),
        ["DeadLetter 4 0:0 malformed x1", "DeadLetter 5 1:0 malformed x1"]
    );
}

#[test]
fn what_is_tried_again_and_still_bad_stays_in_the_topic() {
    let mut bench = tried_again();
    assert_eq!(bench.step(bad(0, 5, &[0, 1])), ["StopFetching [0]", "SetTimer HeldTable#1 30s"]);
    assert_eq!(reasons(&bench), [(0, "too_many_bad_records")]);
}

#[test]
fn a_mended_topic_catches_up_by_itself() {
    let mut bench = tried_again();
    assert_eq!(bench.step(written(0, 5)), ["CommitOffsets 6 [0@2 2]"]);
    let polled = vec![record(0, 2, 2, 0), record(0, 2, 3, 0)];
    bench.step(Input::Records { records: polled });
    assert_eq!(bench.step(bad(0, 7, &[1]))[0], "DeadLetter 8 0:3 malformed x1", "as before");
}

/// One of two is not more than half.
#[test]
fn bad_ones_among_enough_good_ones_are_put_aside_in_the_end() {
    let mut bench = tried_again();
    assert_eq!(bench.step(bad(0, 5, &[0])), ["DeadLetter 6 0:0 malformed x1"]);
}

#[test]
fn a_topic_without_more_records_is_judged_by_what_it_has_shown() {
    let mut bench = of_two_topics(Config {
        stop_after: StopAfter { at_least: 4, ..breaking().stop_after },
        ..breaking()
    });
    for offsets in [[0, 1], [2, 3]] {
        bench.step(records(&offsets.map(|offset| (0, offset, 0))));
        let id = 3 + offsets[0] as u64 / 2 * 3;
        bench.step(bad(0, id, &[0, 1]));
    }
    assert_eq!(reasons(&bench), [(0, "too_many_bad_records")]);
    let lines = bench.expire(TimerKind::HeldTable);
    assert_eq!(lines, ["AcquirePartitions 7 [0@2]"]);
    let partitions = vec![acquired(0, 2, Some(0), None)];
    bench.step(Input::PartitionsAcquired { id: EffectId(7), result: Ok(Taken { partitions, held: vec![] }) });
    bench.step(Input::Records { records: vec![record(0, 2, 0, 0), record(0, 2, 1, 0)] });
    let lines = bench.step(bad(0, 8, &[1]));
    assert_eq!(lines[0], "SetTimer Probe#0 5s", "it is held back: {lines:?}");
    assert_eq!(bench.expire(TimerKind::Probe), ["SetTimer Probe#1 5s"]);
    let lines = bench.expire(TimerKind::Probe);
    assert_eq!(lines, ["DeadLetter 10 0:1 malformed x1"]);
}

#[test]
fn neither_a_drain_nor_a_revocation_waits_for_a_verdict() {
    let at_least = |bench: &mut Bench| bench.config.stop_after.at_least = 3;
    let mut bench = tried_again();
    at_least(&mut bench);
    assert_eq!(bench.step(bad(0, 5, &[1]))[0], "SetTimer Probe#0 5s");
    bench.step(drain());
    assert_eq!(bench.machine.buffered_records(), 0);

    let mut bench = tried_again();
    at_least(&mut bench);
    bench.step(bad(0, 5, &[1]));
    let lines = bench.step(revoking(50, &[0]));
    assert_eq!(lines[0], "ConfirmRevoked 50", "{lines:?}");
}
