use super::*;
use cdc_machine::Dependency;

fn save_failed(id: u64, fault: Fault) -> Fact {
    Input::SaveFailed { id: EffectId(id), fault }
}

/// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
/// Validates: Requirements 3.3
#[test]
fn a_save_covers_the_acked_prefix_and_no_more() {
    let mut b = Bench::reading(small(), &[11, 12, 13]);
    assert_eq!(b.step(delivered(&[2, 1])), NOTHING);
    assert_eq!(b.step(delivered(&[0])), ["SaveToken 2 13 in 7", "SetTimer SaveSpacing#0 10ms"]);
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn the_next_save_keeps_its_distance_while_there_is_room() {
    let mut b = Bench::reading(Config { max_replay_events: 100, ..small() }, &[11, 12, 13, 14]);
    b.step(delivered(&[0, 1]));
    b.step(saved(2));
    assert_eq!(b.step(delivered(&[2, 3])), NOTHING);
    let due = b.expiry(TimerKind::SaveSpacing);
    assert_eq!(b.step(due), ["SaveToken 3 14 in 7", "SetTimer SaveSpacing#1 10ms"]);
}

#[test]
fn without_room_a_save_starts_at_once() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0, 1]));
    b.step(batch(0, &[13, 14]));
    assert_eq!(b.at(), AWAITING_ACK);
    b.step(delivered(&[2, 3]));
    assert_eq!(b.at(), SAVING_TOKEN);
    // The spacing's timer still runs, yet there is room now: four slots, two of them unsaved.
    assert_eq!(b.step(saved(2)), ["Pull 0 2 events 100 bytes"]);
    b.step(batch(0, &[15, 16]));
    assert_eq!(b.step(delivered(&[4])), NOTHING, "the save was started when the batch took the last room");
}

#[test]
fn slow_traffic_is_saved_by_time() {
    let mut b = Bench::reading(small(), &[11]);
    assert_eq!(b.step(delivered(&[0])), ["SetTimer SaveDelay#0 200ms"]);
    let due = b.expiry(TimerKind::SaveDelay);
    assert_eq!(b.step(due), ["SaveToken 2 11 in 7", "SetTimer SaveSpacing#0 10ms"]);
    assert_eq!(b.step(saved(2)), NOTHING);
    assert_eq!(b.machine.unsaved_events(), 0);
}

#[test]
fn a_save_by_count_makes_the_one_by_time_superfluous() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0]));
    assert_eq!(
        b.step(delivered(&[1])),
        ["CancelTimer SaveDelay#0", "SaveToken 2 12 in 7", "SetTimer SaveSpacing#0 10ms"]
    );
    assert_eq!(b.step(Input::Timer(TimerId { kind: TimerKind::SaveDelay, generation: 0 })), NOTHING);
    assert_eq!(b.machine.stale_inputs(), 1);
}

/// Feature: cdc-pipeline, Property 4: Resume Token Save After Kafka Success
/// Validates: Requirements 2.1
#[test]
fn one_event_and_one_save_at_a_time_is_the_letter_of_the_specification() {
    let letter = Config { max_replay_events: 1, token_save_interval: 1, ..small() };
    let mut b = Bench::streaming(letter);
    for n in 0..20_u64 {
        let token = 11 + n;
        assert_eq!(b.step(batch(0, &[u32::try_from(token).unwrap_or(0)])), [format!("Publish {n} body")]);
        assert_eq!(b.at(), AWAITING_ACK);
        let (id, spacing) = (2 + n, n);
        assert_eq!(
            b.step(delivered(&[n])),
            [format!("SaveToken {id} {token} in 7"), format!("SetTimer SaveSpacing#{spacing} 10ms")]
        );
        assert_eq!(b.at(), SAVING_TOKEN);
        assert_eq!(b.step(saved(id)), ["Pull 0 1 events 100 bytes"]);
        assert_eq!(b.at(), STREAMING);
    }
}

/// Feature: cdc-pipeline, Property 5: Resume Token Retry on Failure
/// Validates: Requirements 2.4
#[test]
fn a_failed_save_is_tried_again_three_times_with_the_newest_prefix() {
    let mut b = Bench::reading(small(), &[11, 12, 13]);
    b.step(delivered(&[0, 1]));
    assert_eq!(b.step(save_failed(2, Fault::Transient)), ["SetTimer SaveRetry#0 1s"]);
    assert_eq!(b.at(), STREAMING);
    b.step(delivered(&[2]));
    for (id, generation, seconds) in [(3, 1, 2), (4, 2, 4)] {
        let due = b.expiry(TimerKind::SaveRetry);
        assert_eq!(b.step(due)[0], format!("SaveToken {id} 13 in 7"));
        let effects = b.step(save_failed(id, Fault::Transient));
        assert_eq!(effects, [format!("SetTimer SaveRetry#{generation} {seconds}s")]);
    }
    let due = b.expiry(TimerKind::SaveRetry);
    b.step(due);
    assert_eq!(b.machine.store_attempt(&b.config), (3, Some(3)));
    assert_eq!(b.step(save_failed(5, Fault::Transient)), ["Stop Unavailable(Redis)"]);
    assert_eq!(b.at(), stopped(Cause::Unavailable(Dependency::Redis)));
}

#[test]
fn a_save_that_works_starts_the_retries_over() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0, 1]));
    b.step(save_failed(2, Fault::Transient));
    let due = b.expiry(TimerKind::SaveRetry);
    b.step(due);
    b.step(saved(3));
    assert_eq!(b.machine.store_attempt(&b.config).0, 0);
}

#[test]
fn a_fenced_save_purges_and_saves_nothing_more() {
    let mut b = Bench::reading(small(), &[11, 12, 13]);
    b.step(delivered(&[0, 1]));
    assert_eq!(b.step(save_failed(2, Fault::Fenced)), ["PurgeQueued", "Stop LeaseLost"]);
    assert_eq!(b.at(), stopped(Cause::LeaseLost));
}

#[test]
fn a_store_that_refuses_ends_the_service() {
    for (fault, cause) in
        [(Fault::Auth, Cause::Refused(Dependency::Redis)), (Fault::Fatal, Cause::Failed(Dependency::Redis))]
    {
        let mut b = Bench::reading(small(), &[11, 12]);
        b.step(delivered(&[0, 1]));
        b.step(save_failed(2, fault));
        assert_eq!(b.at(), stopped(cause));
    }
}

#[test]
fn a_first_start_that_cannot_be_recorded_reads_nothing() {
    let mut b = Bench::new(small());
    b.step(Input::Start);
    b.step(acquired(0, None));
    b.step(ready(1, false));
    b.step(opened(0, 3));
    assert_eq!(b.step(save_failed(2, Fault::Transient)), ["SetTimer SaveRetry#0 1s"]);
    assert_eq!(b.at(), CONNECTING);
    let due = b.expiry(TimerKind::SaveRetry);
    assert_eq!(b.step(due), ["SaveToken 3 3 in 9", "SetTimer SaveSpacing#1 10ms"]);
    assert_eq!(b.step(saved(3)), ["Pull 0 4 events 100 bytes"]);
    assert_eq!(b.at(), STREAMING);
}
