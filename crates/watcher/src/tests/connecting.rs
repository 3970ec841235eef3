use super::*;
use cdc_machine::{Dependency, Retry};

use crate::Retries;

#[test]
fn a_first_start_records_its_position_before_it_reads() {
    let mut b = Bench::new(small());
    assert_eq!(b.start(), ["AcquireLease id=0 over_damage=false"]);
    assert_eq!(
        b.step(acquired(0, None)),
        ["SetTimer LeaseRenew#0 after=5s", "PrepareProducer id=1 batching=Shared { halvings: 0 }"]
    );
    let ready = ready(1, false);
    assert_eq!(b.step(ready), ["OpenStream epoch=0 from=Now lineage=9 reading=Whole"]);
    let opened = opened(0, 3);
    assert_eq!(
        b.step(opened),
        ["SaveToken id=2 token=3 lineage=9 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    assert_eq!(b.at(), CONNECTING);
    assert_eq!(b.step(saved(2)), ["Fetch epoch=0 max_events=4 max_bytes=100"]);
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn a_restart_resumes_after_the_saved_token_in_its_lineage() {
    let mut b = Bench::new(small());
    b.start();
    b.step(acquired(0, Some(10)));
    let ready = ready(1, true);
    assert_eq!(b.step(ready), ["OpenStream epoch=0 from=After(10) lineage=7 reading=Whole"]);
    assert_eq!(b.step(opened(0, 10)), ["Fetch epoch=0 max_events=4 max_bytes=100"]);
    assert_eq!(b.at(), STREAMING);
}

#[test]
fn an_empty_store_beside_a_full_topic_is_a_lost_token() {
    let mut b = Bench::new(small());
    b.start();
    b.step(acquired(0, None));
    let ready = ready(1, true);
    assert_eq!(
        b.step(ready),
        ["SetTimer Drain#0 after=25s", "CancelTimer LeaseRenew#0", "ReleaseLease id=2"]
    );
    assert_eq!(b.step(Input::LeaseReleased { id: EffectId(2), result: () }), ["Stop cause=TokenMissing"]);
    assert_eq!(b.at(), stopped(Cause::TokenMissing));
}

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
///
/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn a_source_that_does_not_open_is_tried_again_five_times() {
    let mut b = Bench::streaming(small());
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::Transient) });
    for (retry, seconds) in [2, 4, 8, 16].into_iter().enumerate() {
        let epoch = retry as u64 + 1;
        let due = b.expiry(TimerKind::Reconnect);
        assert_eq!(b.step(due), [format!("OpenStream epoch={epoch} from=After(10) lineage=7 reading=Whole")]);
        let failed = Input::StreamOpened { epoch: Epoch(epoch), result: Err(Fault::Transient) };
        assert_eq!(b.step(failed), [format!("SetTimer Reconnect#{epoch} after={seconds}s")]);
        assert_eq!(b.at(), CONNECTING);
    }
    assert_eq!(b.machine.mongodb_attempt(&b.config), (5, Some(5)));
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(Input::StreamOpened { epoch: Epoch(5), result: Err(Fault::Transient) });
    b.step(Input::LeaseReleased { id: EffectId(2), result: () });
    assert_eq!(b.at(), stopped(Cause::Unavailable(Dependency::MongoDb)));
}

#[test]
fn an_idle_token_is_progress_of_the_source_and_an_answer_without_any_is_not() {
    let mut b = Bench::streaming(small());
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::Transient) });
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    b.step(opened(1, 10));
    assert_eq!(b.machine.mongodb_attempt(&b.config).0, 1);
    b.step(batch(1, &[]));
    assert_eq!(b.machine.mongodb_attempt(&b.config).0, 1, "it still searches its history");
    b.step(idle(1, 11));
    assert_eq!(b.machine.mongodb_attempt(&b.config).0, 0);
}

#[test]
fn a_producer_that_cannot_be_made_is_tried_again_then_given_up() {
    let retries = Retries { kafka: Retry::times(1), ..Retries::default() };
    let mut b = Bench::new(Config { retries, ..small() });
    b.start();
    b.step(acquired(0, Some(10)));
    let failed = |id| Input::ProducerPrepared { id: EffectId(id), result: Err(Fault::Transient) };
    assert_eq!(b.step(failed(1)), ["SetTimer Reconnect#0 after=1s"]);
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["PrepareProducer id=2 batching=Shared { halvings: 0 }"]);
    b.step(failed(2));
    assert_eq!(b.at(), DRAINING);
    b.step(Input::LeaseReleased { id: EffectId(3), result: () });
    assert_eq!(b.at(), stopped(Cause::Unavailable(Dependency::Kafka)));
}

/// Feature: cdc-pipeline, Property 26: Error Type Classification
/// Validates: Requirements 12.5
#[test]
fn what_no_retry_mends_ends_the_service() {
    for (fault, cause) in [
        (Fault::Auth, Cause::Refused(Dependency::MongoDb)),
        (Fault::Fatal, Cause::Failed(Dependency::MongoDb)),
        (Fault::HistoryLost, Cause::HistoryLost),
    ] {
        let mut b = Bench::streaming(small());
        assert_eq!(
            b.step(Input::Fetched { epoch: Epoch(0), result: Err(fault) }),
            [
                "CloseStream epoch=0",
                "SetTimer Drain#0 after=25s",
                "CancelTimer LeaseRenew#0",
                "ReleaseLease id=2"
            ]
        );
        b.step(Input::LeaseReleased { id: EffectId(2), result: () });
        assert_eq!(b.at(), stopped(cause));
    }
}

#[test]
fn a_second_start_is_nothing_that_can_happen() {
    let mut b = Bench::streaming(small());
    assert_eq!(b.step(Input::Start), NOTHING);
    assert_eq!((b.at(), b.machine.unexpected_inputs()), (STREAMING, 1));
}

#[test]
fn answers_to_what_is_gone_change_nothing_and_are_counted() {
    let mut b = Bench::streaming(small());
    b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::Transient) });
    let before = b.machine.clone();
    for late in [
        batch(0, &[11]),
        opened(0, 10),
        Input::StreamOpened { epoch: Epoch(0), result: Err(Fault::Fatal) },
        Input::Fetched { epoch: Epoch(0), result: Err(Fault::Fatal) },
        acquired(0, None),
        ready(1, false),
        Input::ProducerPrepared { id: EffectId(1), result: Err(Fault::Fatal) },
        Input::LeaseRenewed { id: EffectId(1), result: Ok(()) },
        Input::LeaseReleased { id: EffectId(1), result: () },
        saved(1),
        Input::TokenSaved { id: EffectId(1), result: Err(Fault::Fatal) },
    ] {
        assert_eq!(b.step(late), NOTHING);
    }
    assert_eq!((b.machine.stale_inputs(), b.machine.unexpected_inputs()), (11, 0));
    assert_eq!(b.machine.situation(), before.situation());
    assert_eq!(b.step(saved(99)), NOTHING);
    assert_eq!(b.machine.unexpected_inputs(), 1);
}
