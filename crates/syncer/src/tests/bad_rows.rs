use crate::OnUniqueViolation;

use super::*;

fn with_one_rejected(reason: Reject) -> Fact {
    done(0, 3, WriteOutcome::Written { rejected: vec![rejected(0, reason)], parked: vec![] })
}

fn writing_two(config: Config) -> Bench {
    let mut bench = Bench::streaming(config);
    bench.step(records(&[(0, 0, 0), (0, 1, 0)]));
    bench
}

#[test]
fn a_bad_row_settles_once_its_dead_letter_is_durable() {
    let mut bench = writing_two(small());
    assert_eq!(bench.step(with_one_rejected(Reject::Malformed)), ["DeadLetter 4 0:0 malformed x1"]);
    assert_eq!(
        bench.step(Input::DeadLettered { id: EffectId(4), result: Ok(()) }),
        ["CommitOffsets 5 [0@0 2]"]
    );
}

#[test]
fn a_skipped_row_settles_at_once() {
    let mut bench = writing_two(Config { on_bad_record: OnBadRecord::Skip, ..small() });
    let lines = bench.step(with_one_rejected(Reject::Malformed));
    assert_eq!(lines, ["Skip 0:0 malformed", "CommitOffsets 4 [0@0 2]"]);
}

#[test]
fn a_bad_row_ends_the_service_where_the_policy_says_so() {
    let mut bench = writing_two(Config { on_bad_record: OnBadRecord::Stop, ..small() });
    let lines = bench.step(with_one_rejected(Reject::Malformed));
    assert_eq!(lines, ["Stop BadRecord at 0:0 malformed"]);
    assert_eq!(bench.at(), stopped(Cause::BadRecord));
}

/// The first bad record of the batch is another one.
#[test]
fn the_record_that_ends_the_service_is_the_one_whose_policy_says_so() {
    let config =
        Config { on_bad_record: OnBadRecord::Stop, on_unique_violation: OnUniqueViolation::Skip, ..small() };
    let mut bench = writing_two(config);
    let rejected = vec![rejected(0, Reject::UniqueViolation), rejected(1, Reject::Malformed)];
    let lines = bench.step(done(0, 3, WriteOutcome::Written { rejected, parked: vec![] }));
    assert_eq!(lines, ["Skip 0:0 unique_violation", "Stop BadRecord at 0:1 malformed"]);
}

#[test]
fn unique_violations_have_a_policy_of_their_own() {
    let config =
        Config { on_bad_record: OnBadRecord::Stop, on_unique_violation: OnUniqueViolation::Skip, ..small() };
    let mut bench = Bench::writing(config);
    let lines = bench.step(failed(0, 3, Fault::Blocked, Reject::UniqueViolation));
    assert_eq!(lines, ["Skip 0:0 unique_violation", "CommitOffsets 4 [0@0 1]"]);
}

#[test]
fn a_failed_dead_letter_is_sent_again_after_a_wait() {
    let mut bench = writing_two(small());
    bench.step(with_one_rejected(Reject::Malformed));
    let failed = |id| Input::DeadLettered { id: EffectId(id), result: Err(Fault::Transient) };
    assert_eq!(bench.step(failed(4)), ["SetTimer DeadLetterRetry#0 1s"]);
    assert_eq!(bench.expire(TimerKind::DeadLetterRetry), ["DeadLetter 5 0:0 malformed x1"]);
    assert_eq!(bench.step(failed(5)), ["SetTimer DeadLetterRetry#1 2s"]);
}

#[test]
fn one_outage_of_the_broker_uses_up_one_retry() {
    let mut bench = writing_two(small());
    let rejected = vec![rejected(1, Reject::Malformed), rejected(0, Reject::Malformed)];
    let lines = bench.step(done(0, 3, WriteOutcome::Written { rejected, parked: vec![] }));
    assert_eq!(lines, ["DeadLetter 4 0:0 malformed x1", "DeadLetter 5 0:1 malformed x1"]);
    let failed = |id| Input::DeadLettered { id: EffectId(id), result: Err(Fault::Transient) };
    assert_eq!(bench.step(failed(4)), ["SetTimer DeadLetterRetry#0 1s"]);
    assert_eq!(bench.step(failed(5)), NOTHING);
    assert_eq!(bench.machine.kafka_attempt(&bench.config), (1, Some(5)));
}

#[test]
fn a_lost_partition_takes_its_dead_letters_along() {
    let mut bench = writing_two(small());
    bench.step(with_one_rejected(Reject::Malformed));
    bench.step(lost(&[0]));
    let failed = Input::DeadLettered { id: EffectId(4), result: Err(Fault::Transient) };
    assert_eq!(bench.step(failed), NOTHING);
}

/// More than half of the last records, and at least two of them.
fn with_a_breaker(config: Config) -> Config {
    let stop_after = StopAfter { share: StopAfter::WHOLE / 2, window: 10, at_least: 2 };
    Config { stop_after, ..config }
}

/// Half of a batch is poison: nothing of it reaches the dead letters before the end.
#[test]
fn by_policy_a_batch_with_too_many_bad_rows_stops_the_service_before_any_dead_letter() {
    let mut bench = writing_two(Config { on_table_error: OnTableError::Stop, ..with_a_breaker(small()) });
    let rejected = vec![rejected(0, Reject::Malformed), rejected(1, Reject::MissingValue)];
    let lines = bench.step(done(0, 3, WriteOutcome::Written { rejected, parked: vec![] }));
    assert_eq!(lines, ["Stop TooManyBadRecords"]);
    assert_eq!(bench.at(), stopped(Cause::TooManyBadRecords));
}

#[test]
fn rows_that_only_postgresql_finds_bad_count_one_by_one() {
    let mut bench = writing_two(with_a_breaker(small()));
    let poison = |id| failed(0, id, Fault::Poison, Reject::OutOfRange);
    assert_eq!(bench.step(poison(3)), ["WriteBatch w0 4 [0:0]"]);
    let lines = bench.step(poison(4));
    assert_eq!(lines, ["WriteBatch w0 5 [0:1]", "DeadLetter 6 0:0 out_of_range 22003 x2"]);
    assert_eq!(bench.step(poison(5)), ["StopFetching [0 1]", "SetTimer HeldTable#0 30s"]);
}

#[test]
fn good_rows_keep_the_breaker_still() {
    let mut bench = writing_two(with_a_breaker(small()));
    bench.step(with_one_rejected(Reject::Malformed));
    bench.step(records(&[(0, 2, 0), (0, 3, 0)]));
    let rejected = vec![rejected(1, Reject::Malformed)];
    let lines = bench.step(done(0, 5, WriteOutcome::Written { rejected, parked: vec![] }));
    assert_eq!(lines[0], "DeadLetter 6 0:3 malformed x1", "2 of 4 are not more than half");
}

#[test]
fn records_that_are_given_up_by_policy_do_not_trip_the_breaker() {
    let mut bench = writing_two(Config { on_bad_record: OnBadRecord::Skip, ..with_a_breaker(small()) });
    let rejected = vec![rejected(0, Reject::Malformed), rejected(1, Reject::Malformed)];
    let lines = bench.step(done(0, 3, WriteOutcome::Written { rejected, parked: vec![] }));
    assert_eq!(lines, ["Skip 0:0 malformed", "Skip 0:1 malformed", "CommitOffsets 4 [0@0 2]"]);
}

/// The window lives in memory: after a rebalance the count goes on, after a restart it begins anew.
#[test]
fn rows_of_an_assignment_that_is_gone_do_not_count() {
    let mut bench = writing_two(with_a_breaker(small()));
    bench.step(lost(&[0]));
    let rejected = vec![rejected(0, Reject::Malformed), rejected(1, Reject::Malformed)];
    assert_eq!(bench.step(done(0, 3, WriteOutcome::Written { rejected, parked: vec![] })), NOTHING);
}
