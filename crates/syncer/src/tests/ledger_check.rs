use super::*;

/// The ledger is asked every five seconds.
fn checking() -> Config {
    Config { ledger_check: Duration::from_secs(5), ..small() }
}

/// Partitions 0 and 1 are served, and the question, request 3, is under way.
fn asking() -> Bench {
    let mut bench = Bench::streaming(checking());
    assert_eq!(bench.expire(TimerKind::LedgerCheck), ["CheckLedger 3 [0@0 1@1]"]);
    bench
}

#[test]
fn the_ledger_is_asked_while_partitions_are_served() {
    let mut bench = Bench::joined(checking());
    bench.step(assigned(&[0]));
    let lines = bench.step(Input::PartitionsAcquired {
        id: EffectId(2),
        result: Ok(Taken { partitions: vec![acquired(0, 0, Some(0), None)], held: vec![] }),
    });
    assert_eq!(lines, ["StartFetching [0@0 0]", "SetTimer LedgerCheck#0 5s", "Fetch 4 records 1000 bytes"]);
    assert_eq!(bench.expire(TimerKind::LedgerCheck), ["CheckLedger 3 [0@0]"]);
    let lines = bench.step(Input::LedgerChecked {
        id: EffectId(3),
        result: Ok(LedgerCheck { refused: vec![], held: vec![] }),
    });
    assert_eq!(lines, ["SetTimer LedgerCheck#1 5s"]);
    assert_eq!(bench.step(lost(&[0])), ["CancelTimer LedgerCheck#1"]);
}

/// A PostgreSQL that was restored from a copy while nothing was written.
#[test]
fn a_partition_that_the_ledger_disowns_is_acquired_again() {
    let mut bench = asking();
    let lines = bench.step(Input::LedgerChecked {
        id: EffectId(3),
        result: Ok(LedgerCheck { refused: partitions(&[1]), held: vec![] }),
    });
    assert_eq!(lines, ["AcquirePartitions 4 [1@2]", "SetTimer LedgerCheck#1 5s"]);
    let lines = bench.step(Input::PartitionsAcquired {
        id: EffectId(4),
        result: Ok(Taken { partitions: vec![acquired(1, 2, Some(3), Some(9))], held: vec![] }),
    });
    assert_eq!(lines, ["StartFetching [1@2 3]"]);
}

#[test]
fn what_was_assigned_anew_meanwhile_is_not_meant_by_an_old_answer() {
    let mut bench = asking();
    bench.step(lost(&[1]));
    assert_eq!(bench.step(assigned(&[1])), ["AcquirePartitions 4 [1@2]"]);
    let lines = bench.step(Input::LedgerChecked {
        id: EffectId(3),
        result: Ok(LedgerCheck { refused: partitions(&[1]), held: vec![] }),
    });
    assert_eq!(lines, ["SetTimer LedgerCheck#1 5s"]);
}

#[test]
fn a_question_without_an_answer_is_asked_again_and_uses_up_no_retry() {
    let mut bench = asking();
    let failed = |id, fault| Input::LedgerChecked { id: EffectId(id), result: Err(fault) };
    assert_eq!(bench.step(failed(3, Fault::Transient)), ["SetTimer LedgerCheck#1 5s"]);
    assert_eq!(bench.machine.postgres_attempt(&bench.config).0, 0);
    assert_eq!(bench.expire(TimerKind::LedgerCheck), ["CheckLedger 4 [0@0 1@1]"]);
    assert_eq!(bench.step(failed(4, Fault::Auth)), ["Stop Refused(Postgres)"]);
}
