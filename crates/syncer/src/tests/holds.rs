use super::*;

const UNWRITABLE: HoldReason = HoldReason::Unwritable;

fn held(worker: u32, id: u64, holds: Vec<Hold>) -> Fact {
    done(worker, id, WriteOutcome::Held { holds })
}

fn reasons(bench: &Bench) -> Vec<(u32, &'static str)> {
    bench.machine.holds().iter().map(|(partition, held)| (partition.0, held.reason.as_str())).collect()
}

/// Offsets 0 of partitions 0 and 1 in one batch of worker 0, request 3.
fn writing_both() -> Bench {
    let mut bench = Bench::streaming(small());
    let lines = bench.step(records(&[(0, 0, 0), (1, 0, 0)]));
    assert_eq!(lines, ["WriteBatch w0 3 [0:0 1:0]", "Fetch 2 records 980 bytes"]);
    bench
}

/// The same with partition 0 held, and partition 1 written again without it.
fn with_a_held_one(reason: HoldReason) -> Bench {
    let mut bench = writing_both();
    bench.step(held(0, 3, vec![hold(0, reason)]));
    assert_eq!(reasons(&bench), [(0, reason.as_str())]);
    bench
}

#[test]
fn a_table_that_cannot_be_written_holds_its_partition_and_the_others_go_on() {
    let mut bench = writing_both();
    let lines = bench.step(held(0, 3, vec![hold(0, UNWRITABLE)]));
    assert_eq!(lines, ["StopFetching [0]", "SetTimer HeldTable#0 30s", "WriteBatch w0 4 [1:0]"]);
    assert_eq!(reasons(&bench), [(0, "unwritable")]);
    assert_eq!(bench.step(written(0, 4)), ["CommitOffsets 5 [1@1 1]"]);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn partitions_of_the_topic_that_the_batch_does_not_have_are_held_with_it() {
    let mut bench = Bench::writing(small());
    let lines = bench.step(held(0, 3, vec![hold(0, UNWRITABLE), hold(1, UNWRITABLE)]));
    assert_eq!(lines, ["StopFetching [0 1]", "SetTimer HeldTable#0 30s"]);
    assert_eq!(reasons(&bench), [(0, "unwritable"), (1, "unwritable")]);
    // What was fetched before that is dropped.
    assert_eq!(bench.step(records(&[(0, 1, 0), (1, 0, 1)])), NOTHING);
    assert_eq!(bench.machine.stale_records(), 2);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn a_held_partition_is_looked_at_again_before_it_is_read() {
    let mut bench = with_a_held_one(UNWRITABLE);
    assert_eq!(bench.expire(TimerKind::HeldTable), ["AcquirePartitions 5 [0@2]"]);
    let still = Hold { epoch: Epoch(2), ..hold(0, HoldReason::TableMissing) };
    let lines = bench.step(Input::PartitionsAcquired {
        id: EffectId(5),
        result: Ok(Taken { partitions: vec![], held: vec![still] }),
    });
    assert_eq!(lines, ["SetTimer HeldTable#1 30s"]);
    assert_eq!(reasons(&bench), [(0, "table_missing")]);

    assert_eq!(bench.expire(TimerKind::HeldTable), ["AcquirePartitions 6 [0@2]"]);
    assert_eq!(reasons(&bench), [(0, "table_missing")], "until it is known to be mended");
    let partitions = vec![acquired(0, 2, Some(0), None)];
    let lines = bench
        .step(Input::PartitionsAcquired { id: EffectId(6), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(lines, ["StartFetching [0@2 0]"]);
    assert_eq!(reasons(&bench), []);
}

#[test]
fn where_only_a_lock_is_in_the_way_it_is_looked_at_sooner() {
    let mut bench = writing_both();
    let lines = bench.step(held(0, 3, vec![hold(0, HoldReason::Locked)]));
    assert_eq!(lines, ["StopFetching [0]", "SetTimer LockedTable#0 3s", "WriteBatch w0 4 [1:0]"]);
    assert_eq!(bench.expire(TimerKind::LockedTable), ["AcquirePartitions 5 [0@2]"]);
}

#[test]
fn a_table_that_cannot_be_written_is_known_before_its_topic_is_read() {
    let mut bench = Bench::joined(small());
    bench.step(assigned(&[0, 1]));
    let partitions = vec![acquired(1, 1, Some(0), None)];
    let held = vec![hold(0, HoldReason::Claimed)];
    let lines =
        bench.step(Input::PartitionsAcquired { id: EffectId(2), result: Ok(Taken { partitions, held }) });
    assert_eq!(
        lines,
        [
            "StartFetching [1@1 0]",
            "StopFetching [0]",
            "SetTimer HeldTable#0 30s",
            "Fetch 4 records 1000 bytes"
        ]
    );
    assert_eq!(reasons(&bench), [(0, "claimed")]);
}

#[test]
fn a_table_that_changes_while_nothing_is_written_is_found_by_the_look_at_the_ledger() {
    let mut bench = Bench::streaming(Config { ledger_check: Duration::from_secs(5), ..small() });
    assert_eq!(bench.expire(TimerKind::LedgerCheck), ["CheckLedger 3 [0@0 1@1]"]);
    let held = vec![hold(1, HoldReason::TableReplaced)];
    let lines = bench
        .step(Input::LedgerChecked { id: EffectId(3), result: Ok(LedgerCheck { refused: vec![], held }) });
    assert_eq!(lines, ["StopFetching [1]", "SetTimer HeldTable#0 30s", "SetTimer LedgerCheck#1 5s"]);
    assert_eq!(reasons(&bench), [(1, "table_replaced")]);
}

/// A batch of another worker may still be under way, and may even be written: it settles nothing of what comes after.
#[test]
fn rows_that_were_in_hand_when_their_partition_was_held_settle_nothing() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (0, 1, 1)]));
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(0))), ["WriteBatch w0 3 [0:0]"]);
    assert_eq!(bench.expire(TimerKind::Linger(WorkerId(1))), ["WriteBatch w1 4 [0:1]"]);
    bench.step(held(0, 3, vec![hold(0, UNWRITABLE)]));
    assert_eq!(bench.expire(TimerKind::HeldTable), ["AcquirePartitions 5 [0@2]"]);
    let partitions = vec![acquired(0, 2, Some(0), None)];
    bench.step(Input::PartitionsAcquired { id: EffectId(5), result: Ok(Taken { partitions, held: vec![] }) });
    assert_eq!(bench.step(written(1, 4)), NOTHING);
    assert_eq!(bench.machine.stale_records(), 1);
}

#[test]
fn a_held_partition_goes_back_to_the_group_at_once() {
    let mut bench = with_a_held_one(UNWRITABLE);
    assert_eq!(bench.step(revoking(50, &[0])), ["ConfirmRevoked 50", "CancelTimer HeldTable#0"]);
    assert_eq!(reasons(&bench), []);

    let mut bench = with_a_held_one(UNWRITABLE);
    assert_eq!(bench.step(lost(&[0])), ["CancelTimer HeldTable#0"]);
    assert_eq!(reasons(&bench), []);
}

#[test]
fn a_drain_does_not_wait_for_a_held_table() {
    let mut bench = with_a_held_one(UNWRITABLE);
    let lines = bench.step(drain());
    assert_eq!(lines, ["Pause", "CancelTimer HeldTable#0", "SetTimer Drain#0 25s"]);
    assert_eq!(bench.step(written(0, 4)), ["CommitOffsets 5 [1@1 1]"]);
    assert_eq!(bench.step(committed(5)), ["SetTimer CommitSpacing#0 10ms", "LeaveGroup 6"]);
}

#[test]
fn a_partition_that_is_on_its_way_back_is_not_held() {
    let mut bench = Bench::writing(small());
    assert_eq!(bench.step(revoking(50, &[0])), ["SetTimer Revocation#0 6s"]);
    let lines = bench.step(held(0, 3, vec![hold(0, UNWRITABLE)]));
    assert_eq!(lines, ["ConfirmRevoked 50", "CancelTimer Revocation#0"]);
    assert_eq!(reasons(&bench), []);
}

#[test]
fn by_policy_the_service_ends_but_never_for_a_lock() {
    let stopping = || Config { on_table_error: OnTableError::Stop, ..small() };
    let mut bench = Bench::writing(stopping());
    let lines = bench.step(held(0, 3, vec![hold(0, UNWRITABLE)]));
    assert_eq!(lines, ["Stop TableUnwritable"]);
    assert_eq!(bench.at(), stopped(Cause::TableUnwritable));
    assert_eq!(reasons(&bench), [(0, "unwritable")], "the log says which");

    let mut bench = Bench::writing(stopping());
    let lines = bench.step(held(0, 3, vec![hold(0, HoldReason::Locked)]));
    assert_eq!(lines, ["StopFetching [0]", "SetTimer LockedTable#0 3s"]);
}

/// Such an answer would come for ever.
#[test]
fn an_answer_that_names_nothing_of_the_batch_uses_up_a_retry() {
    let mut bench = Bench::writing(small());
    let lines = bench.step(held(0, 3, vec![]));
    assert_eq!(lines, ["SetTimer WriteRetry(WorkerId(0))#0 1s".replace("(WorkerId(0))", "")]);
}
