use super::*;

#[test]
fn a_partition_with_nothing_in_hand_is_given_back_at_once() {
    let mut bench = Bench::streaming(small());
    assert_eq!(bench.step(revoking(50, &[0])), ["ConfirmRevoked 50"]);
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn rows_are_written_and_committed_before_the_partition_is_given_back() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0), (1, 0, 1)]));
    let lines = bench.step(revoking(50, &[0]));
    assert_eq!(lines, ["SetTimer Revocation#0 6s", "WriteBatch w0 3 [0:0]", "CancelTimer Linger#0"]);
    // The other partition goes on.
    assert_eq!(bench.at(), STREAMING);
    assert_eq!(bench.step(written(0, 3)), ["CommitOffsets 4 [0@0 1]"]);
    let lines = bench.step(committed(4));
    assert_eq!(lines, ["SetTimer CommitSpacing#0 10ms", "ConfirmRevoked 50", "CancelTimer Revocation#0"]);
    assert_eq!(bench.machine.buffered_records(), 1);
}

#[test]
fn all_partitions_going_the_state_says_so() {
    let mut bench = Bench::streaming(small());
    bench.step(records(&[(0, 0, 0)]));
    bench.step(revoking(50, &[0, 1]));
    assert_eq!(bench.at(), AWAITING_ACK);
    bench.step(written(0, 3));
    assert_eq!(bench.at(), AWAITING_ACK);
    bench.step(committed(4));
    assert_eq!(bench.at(), STREAMING);
}

#[test]
fn a_revocation_does_not_wait_for_the_spacing_of_commits() {
    let mut bench = Bench::committing(small());
    bench.step(committed(4));
    bench.step(records(&[(0, 1, 0), (0, 2, 0)]));
    bench.step(written(0, 5));
    let lines = bench.step(revoking(50, &[0]));
    assert_eq!(lines, ["SetTimer Revocation#0 6s", "CancelTimer CommitSpacing#0", "CommitOffsets 6 [0@0 3]"]);
}

#[test]
fn nothing_more_is_accepted_of_what_is_being_given_back() {
    let mut bench = Bench::writing(small());
    bench.step(revoking(50, &[0]));
    bench.step(records(&[(0, 1, 0), (1, 0, 1)]));
    assert_eq!(bench.machine.stale_records(), 1);
    assert_eq!(bench.machine.buffered_records(), 2);
}

#[test]
fn a_database_that_is_away_does_not_hold_the_group_up() {
    let mut bench = Bench::writing(small());
    bench.step(records(&[(0, 1, 0), (1, 0, 0)]));
    bench.step(transient(0, 3));
    assert_eq!(bench.step(revoking(50, &[0])), ["SetTimer Revocation#0 6s"]);
    assert_eq!(bench.expire(TimerKind::Revocation), ["ConfirmRevoked 50"]);
    assert_eq!(bench.machine.buffered_records(), 1);
    // Only the row of the kept partition is left to be written.
    assert_eq!(bench.expire(TimerKind::WriteRetry(WorkerId(0))), ["SetTimer Linger#1 5ms"]);
}

#[test]
fn a_partition_lost_during_its_revocation_needs_no_commit() {
    let mut bench = Bench::writing(small());
    bench.step(revoking(50, &[0]));
    assert_eq!(bench.step(lost(&[0])), ["ConfirmRevoked 50", "CancelTimer Revocation#0"]);
}

#[test]
fn a_partition_refused_during_its_revocation_is_not_taken_again() {
    let mut bench = Bench::writing(small());
    bench.step(revoking(50, &[0]));
    assert_eq!(bench.step(refused(0, 3, &[0])), ["ConfirmRevoked 50", "CancelTimer Revocation#0"]);
}
