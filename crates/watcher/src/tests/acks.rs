use super::*;
use cdc_machine::{Dependency, Retry};

use crate::{OnTooLarge, Retries};

fn too_large(seq: u64) -> Fact {
    Input::DeliveryTooLarge { seq: SeqNo(seq), marker: "marker" }
}

#[test]
fn a_failed_report_stops_the_reading_and_purges_what_is_queued() {
    let mut b = Bench::reading(small(), &[11, 12, 13]);
    assert_eq!(b.step(failed(1, Fault::Transient)), ["CloseStream epoch=0", "PurgeQueued"]);
    assert_eq!(b.at(), AWAITING_ACK);
    // The rest settles first, one way or the other; nothing is published meanwhile.
    assert_eq!(b.step(batch(0, &[14])), NOTHING);
    assert_eq!(b.step(failed(2, Fault::Transient)), NOTHING);
    assert_eq!(
        b.step(delivered(&[0])),
        ["SetTimer Reconnect#0 after=1s", "SetTimer SaveDelay#0 after=200ms"]
    );
    assert_eq!(b.at(), CONNECTING);
    // Nobody knows whether the client still works and whether its topics are what they were.
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["PrepareProducer id=2 batching=Shared { halvings: 0 }"]);
    let ready = ready(2, true);
    assert_eq!(b.step(ready), ["OpenStream epoch=1 from=After(11) lineage=7 reading=Whole"]);
    assert_eq!(b.step(opened(1, 11)), ["Fetch epoch=1 max_events=3 max_bytes=100"]);
    assert_eq!(b.step(batch(1, &[12]))[0], "Publish seq=3 record=body partitions=2");
}

#[test]
fn a_lost_source_waits_for_what_is_in_flight_and_purges_nothing() {
    let mut b = Bench::reading(small(), &[11, 12]);
    assert_eq!(
        b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::Transient) }),
        ["CloseStream epoch=0"]
    );
    assert_eq!(b.at(), AWAITING_ACK);
    assert_eq!(
        b.step(delivered(&[1, 0])),
        [
            "SetTimer Reconnect#0 after=1s",
            "SaveToken id=2 token=12 lineage=7 change=[]",
            "SetTimer SaveSpacing#0 after=10ms"
        ]
    );
    assert_eq!(b.at(), CONNECTING);
}

#[test]
fn a_report_that_fails_while_a_lost_source_settles_purges_after_all() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::Transient) });
    assert_eq!(b.step(failed(0, Fault::Transient)), ["PurgeQueued"]);
    b.step(delivered(&[1]));
    assert_eq!((b.machine.kafka_attempt(&b.config).0, b.machine.mongodb_attempt(&b.config).0), (1, 0));
}

/// A batch that is refused says nothing of its messages: they are read again, and each goes alone.
#[test]
fn a_refused_batch_is_read_again_one_message_at_a_time() {
    let mut b = Bench::reading(small(), &[11, 12]);
    assert_eq!(b.step(failed(0, Fault::TooLarge)), ["CloseStream epoch=0", "PurgeQueued"]);
    assert_eq!(b.at(), AWAITING_ACK);
    // No back-off, and no retry used: nothing is out of order with the broker.
    assert_eq!(b.step(failed(1, Fault::TooLarge)), ["PrepareProducer id=2 batching=Single"]);
    assert_eq!(b.machine.kafka_attempt(&b.config).0, 0);
    assert_eq!(b.step(ready(2, true)), ["OpenStream epoch=1 from=After(10) lineage=7 reading=Whole"]);
    b.step(opened(1, 10));
    // The first of them alone is too large.
    assert_eq!(b.step(batch(1, &[11]))[0], "Publish seq=2 record=body partitions=2");
    assert_eq!(b.step(too_large(2)), ["PublishMarker seq=2 marker=marker"]);
    // Past the last refused one, the rest settles, markers included, and batches are shared again.
    assert_eq!(b.step(batch(1, &[12])), ["Publish seq=3 record=body partitions=2", "CloseStream epoch=1"]);
    assert_eq!(b.at(), AWAITING_ACK);
    b.step(delivered(&[2]));
    assert_eq!(b.step(delivered(&[3]))[0], "PrepareProducer id=3 batching=Shared { halvings: 0 }");
    assert_eq!(b.step(ready(3, true))[0], "OpenStream epoch=2 from=After(12) lineage=7 reading=Whole");
}

#[test]
fn batches_are_smaller_after_one_was_refused_for_small_messages() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(failed(0, Fault::TooLarge));
    b.step(failed(1, Fault::TooLarge));
    b.step(ready(2, true));
    b.step(opened(1, 10));
    b.step(batch(1, &[11, 12]));
    assert_eq!(b.step(delivered(&[2, 3]))[0], "PrepareProducer id=3 batching=Shared { halvings: 1 }");
}

#[test]
fn a_failure_among_single_messages_leaves_them_single() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(failed(1, Fault::TooLarge));
    assert_eq!(b.step(delivered(&[0]))[0], "PrepareProducer id=2 batching=Single");
    b.step(ready(2, true));
    b.step(opened(1, 11));
    b.step(batch(1, &[12]));
    assert_eq!(b.step(failed(2, Fault::Transient))[0], "PurgeQueued");
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["PrepareProducer id=3 batching=Single"]);
    let ready = ready(3, true);
    assert_eq!(b.step(ready), ["OpenStream epoch=2 from=After(11) lineage=7 reading=Whole"]);
    b.step(opened(2, 11));
    assert_eq!(b.step(batch(2, &[12])), ["Publish seq=3 record=body partitions=2", "CloseStream epoch=2"]);
}

/// An adapter that says so of messages that went alone would be believed for ever.
#[test]
fn a_refused_batch_of_single_messages_is_a_failure() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(failed(1, Fault::TooLarge));
    b.step(delivered(&[0]));
    b.step(ready(2, true));
    b.step(opened(1, 11));
    b.step(Input::Fetched { epoch: Epoch(1), result: Ok(Batch { events: vec![], idle: None }) });
    assert_eq!(b.machine.kafka_attempt(&b.config).0, 0);
    b.step(batch(1, &[12]));
    b.step(failed(2, Fault::TooLarge));
    assert_eq!(b.machine.kafka_attempt(&b.config).0, 1);
}

#[test]
fn a_batch_refused_behind_a_failed_delivery_is_read_again_one_message_at_a_time() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(failed(0, Fault::Transient));
    assert_eq!(b.step(failed(1, Fault::TooLarge)), ["SetTimer Reconnect#0 after=1s"]);
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["PrepareProducer id=2 batching=Single"]);
}

#[test]
fn a_dead_producer_owes_no_reports_and_is_made_anew() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(delivered(&[0]));
    assert_eq!(
        b.step(Input::ProducerLost { fault: Fault::Fatal }),
        ["CloseStream epoch=0", "SetTimer Reconnect#0 after=1s"]
    );
    assert_eq!(b.at(), CONNECTING);
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["PrepareProducer id=2 batching=Shared { halvings: 0 }"]);
    let ready = ready(2, true);
    assert_eq!(b.step(ready), ["OpenStream epoch=1 from=After(11) lineage=7 reading=Whole"]);
    assert_eq!(b.step(delivered(&[1])), NOTHING);
    assert_eq!(b.machine.stale_inputs(), 1);
}

/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
///
/// Deliveries behind the message that fails are no progress, or it would be tried for ever.
#[test]
fn a_message_that_always_fails_uses_the_retries_up() {
    let retries = Retries { kafka: Retry::times(1), ..Retries::default() };
    let mut b = Bench::reading(Config { retries, ..small() }, &[11, 12]);
    b.step(failed(0, Fault::Transient));
    b.step(delivered(&[1]));
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(ready(2, true));
    b.step(opened(1, 10));
    b.step(batch(1, &[11, 12]));
    b.step(delivered(&[3]));
    b.step(failed(2, Fault::Transient));
    assert_eq!(b.at(), DRAINING);
    b.step(Input::LeaseReleased { id: EffectId(3), result: () });
    assert_eq!(b.at(), stopped(Cause::Unavailable(Dependency::Kafka)));
}

#[test]
fn a_longer_prefix_is_progress_of_kafka() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(failed(0, Fault::Transient));
    b.step(failed(1, Fault::Transient));
    assert_eq!(b.machine.kafka_attempt(&b.config), (1, Some(5)));
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(ready(2, true));
    b.step(opened(1, 10));
    b.step(batch(1, &[11, 12]));
    b.step(delivered(&[2]));
    assert_eq!(b.machine.kafka_attempt(&b.config).0, 0);
}

#[test]
fn a_refusal_by_kafka_settles_saves_and_ends() {
    let mut b = Bench::reading(small(), &[11, 12]);
    assert_eq!(
        b.step(failed(1, Fault::Auth)),
        ["CloseStream epoch=0", "SetTimer Drain#0 after=25s", "PurgeQueued"]
    );
    assert_eq!(b.at(), DRAINING);
    assert_eq!(
        b.step(delivered(&[0])),
        ["SaveToken id=2 token=11 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    assert_eq!(b.step(saved(2)), ["CancelTimer LeaseRenew#0", "ReleaseLease id=3"]);
    b.step(Input::LeaseReleased { id: EffectId(3), result: () });
    assert_eq!(b.at(), stopped(Cause::Refused(Dependency::Kafka)));
}

#[test]
fn doubled_and_unknown_reports_are_counted_apart() {
    let mut b = Bench::reading(small(), &[11]);
    b.step(delivered(&[0]));
    assert_eq!(b.step(delivered(&[0])), NOTHING);
    assert_eq!(b.step(failed(0, Fault::Fatal)), NOTHING);
    assert_eq!(b.step(too_large(0)), NOTHING);
    assert_eq!((b.machine.stale_inputs(), b.machine.unexpected_inputs()), (3, 0));
    assert_eq!(b.step(delivered(&[9])), NOTHING);
    assert_eq!(b.machine.unexpected_inputs(), 1);
}

#[test]
fn a_message_that_does_not_fit_settles_on_its_marker() {
    let mut b = Bench::reading(small(), &[11, 12]);
    assert_eq!(b.step(too_large(0)), ["PublishMarker seq=0 marker=marker"]);
    assert_eq!(b.at(), STREAMING);
    b.step(delivered(&[1]));
    assert_eq!(b.machine.in_flight(), 1);
    assert_eq!(
        b.step(delivered(&[0])),
        ["SaveToken id=2 token=12 lineage=7 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
}

#[test]
fn a_marker_that_does_not_fit_either_stops_the_service() {
    let mut b = Bench::reading(small(), &[11]);
    b.step(too_large(0));
    b.step(too_large(0));
    b.step(Input::LeaseReleased { id: EffectId(2), result: () });
    assert_eq!(b.at(), stopped(Cause::BadRecord));
}

#[test]
fn the_policy_decides_on_what_does_not_fit() {
    let mut b = Bench::reading(Config { on_too_large: OnTooLarge::Skip, ..small() }, &[11]);
    assert_eq!(b.step(too_large(0)), ["SetTimer SaveDelay#0 after=200ms"]);
    assert_eq!(b.machine.in_flight(), 0);

    let mut b = Bench::reading(Config { on_too_large: OnTooLarge::Stop, ..small() }, &[11, 12]);
    assert_eq!(b.step(too_large(1)), ["CloseStream epoch=0", "SetTimer Drain#0 after=25s", "PurgeQueued"]);
    b.step(delivered(&[0]));
    b.step(saved(2));
    b.step(Input::LeaseReleased { id: EffectId(3), result: () });
    assert_eq!(b.at(), stopped(Cause::BadRecord));
}

#[test]
fn what_does_not_fit_behind_a_failure_is_read_again() {
    let mut b = Bench::reading(small(), &[11, 12]);
    b.step(failed(0, Fault::Transient));
    assert_eq!(b.step(too_large(1)), ["SetTimer Reconnect#0 after=1s"]);
    assert_eq!(b.at(), CONNECTING);
}
