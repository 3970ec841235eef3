use super::*;
use cdc_machine::Dependency;

fn save_failed(id: u64, fault: Fault) -> Fact {
    Input::TokenSaved { id: EffectId(id), result: Err(fault) }
}

/// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
/// Validates: Requirements 3.3
#[test]
fn a_save_covers_the_acked_prefix_and_no_more() {
    let mut b = Bench::reading(small(), &[11, 12, 13]);
    assert_eq!(b.step(delivered(&[2, 1])), NOTHING);
    assert_eq!(
        b.step(delivered(&[0])),
        ["SaveToken id=2 token=13 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn the_next_save_keeps_its_distance_while_there_is_credit() {
    let mut b = Bench::reading(Config { max_replay_events: 100, ..small() }, &[11, 12, 13, 14]);
    b.step(delivered(&[0, 1]));
    b.step(saved(2));
    assert_eq!(b.step(delivered(&[2, 3])), NOTHING);
    let due = b.expiry(TimerKind::SaveSpacing);
    assert_eq!(
        b.step(due),
        ["SaveToken id=3 token=14 lineage=7 change=[]", "SetTimer SaveSpacing#1 after=10ms"]
    );
}

#[test]
fn without_credit_a_save_starts_at_once() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0, 1]));
    b.step(batch(0, &[13, 14]));
    assert_eq!(b.at(), AWAITING_ACK);
    b.step(delivered(&[2, 3]));
    assert_eq!(b.at(), SAVING_TOKEN);
    // The spacing's timer still runs, yet there is credit now: four slots, two of them unsaved.
    assert_eq!(b.step(saved(2)), ["Fetch epoch=0 max_events=2 max_bytes=100"]);
    b.step(batch(0, &[15, 16]));
    assert_eq!(b.step(delivered(&[4])), NOTHING, "the save was started when the batch took the last credit");
}

#[test]
fn slow_traffic_is_saved_by_time() {
    let mut b = Bench::reading(small(), &[11]);
    assert_eq!(b.step(delivered(&[0])), ["SetTimer SaveDelay#0 after=200ms"]);
    let due = b.expiry(TimerKind::SaveDelay);
    assert_eq!(
        b.step(due),
        ["SaveToken id=2 token=11 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    assert_eq!(b.step(saved(2)), NOTHING);
    assert_eq!(b.machine.unsaved_events(), 0);
}

#[test]
fn a_save_by_count_makes_the_one_by_time_superfluous() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0]));
    assert_eq!(
        b.step(delivered(&[1])),
        [
            "CancelTimer SaveDelay#0",
            "SaveToken id=2 token=12 lineage=7 change=[]",
            "SetTimer SaveSpacing#0 after=10ms"
        ]
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
        assert_eq!(
            b.step(batch(0, &[u32::try_from(token).unwrap_or(0)])),
            [format!("Publish seq={n} record=body partitions=2")]
        );
        assert_eq!(b.at(), AWAITING_ACK);
        let (id, spacing) = (2 + n, n);
        assert_eq!(
            b.step(delivered(&[n])),
            [
                format!("SaveToken id={id} token={token} lineage=7 change=[]"),
                format!("SetTimer SaveSpacing#{spacing} after=10ms")
            ]
        );
        assert_eq!(b.at(), SAVING_TOKEN);
        assert_eq!(b.step(saved(id)), ["Fetch epoch=0 max_events=1 max_bytes=100"]);
        assert_eq!(b.at(), STREAMING);
    }
}

/// Feature: cdc-pipeline, Property 5: Resume Token Retry on Failure
/// Validates: Requirements 2.4
#[test]
fn a_failed_save_is_tried_again_three_times_with_the_newest_prefix() {
    let mut b = Bench::reading(small(), &[11, 12, 13]);
    b.step(delivered(&[0, 1]));
    assert_eq!(b.step(save_failed(2, Fault::Transient)), ["SetTimer SaveRetry#0 after=1s"]);
    assert_eq!(b.at(), STREAMING);
    b.step(delivered(&[2]));
    for (id, generation, seconds) in [(3, 1, 2), (4, 2, 4)] {
        let due = b.expiry(TimerKind::SaveRetry);
        assert_eq!(b.step(due)[0], format!("SaveToken id={id} token=13 lineage=7 change=[]"));
        let effects = b.step(save_failed(id, Fault::Transient));
        assert_eq!(effects, [format!("SetTimer SaveRetry#{generation} after={seconds}s")]);
    }
    let due = b.expiry(TimerKind::SaveRetry);
    b.step(due);
    assert_eq!(b.machine.store_attempt(&b.config), (3, Some(3)));
    assert_eq!(b.step(save_failed(5, Fault::Transient)), ["Stop cause=Unavailable(Redis)"]);
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
    assert_eq!(b.step(save_failed(2, Fault::Fenced)), ["PurgeQueued", "Stop cause=LeaseLost"]);
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
    b.start();
    b.step(acquired(0, None));
    b.step(ready(1, false));
    b.step(opened(0, 3));
    assert_eq!(b.step(save_failed(2, Fault::Transient)), ["SetTimer SaveRetry#0 after=1s"]);
    assert_eq!(b.at(), CONNECTING);
    let due = b.expiry(TimerKind::SaveRetry);
    assert_eq!(
        b.step(due),
        ["SaveToken id=3 token=3 lineage=9 change=[]", "SetTimer SaveSpacing#1 after=10ms"]
    );
    assert_eq!(b.step(saved(3)), ["Fetch epoch=0 max_events=4 max_bytes=100"]);
    assert_eq!(b.at(), STREAMING);
}
