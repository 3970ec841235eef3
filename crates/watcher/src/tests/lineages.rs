//! Rows keep off every event of a lineage below theirs, so none may be given out that is.

use super::gaps::from_now;
use super::*;

/// The topic's end shows a position of this lineage.
fn ready_in(id: u64, lineage: u32) -> Fact {
    let topics = vec![TopicState { lineage: Some(Lineage(lineage)), ..TOPIC }];
    Input::ProducerPrepared { id: EffectId(id), result: Ok(topics) }
}

#[test]
fn a_record_made_anew_has_a_lineage_above_the_clock_and_the_topics_end() {
    // The clock says 9.
    for (at_the_end, made) in [(3, 9), (8, 9), (9, 10), (50, 51)] {
        for lost in [Saved::Nothing, Saved::Lost] {
            let mut b = Bench::new(from_now());
            b.start();
            b.step(Input::LeaseTaken {
                id: EffectId(0),
                result: Ok(Taken { saved: lost, unannounced: vec![], fresh: Lineage(9) }),
            });
            assert_eq!(
                b.step(ready_in(1, at_the_end)),
                [format!("OpenStream epoch=0 from=Now lineage={made} reading=Whole")]
            );
        }
    }
}

#[test]
fn an_older_record_goes_on_in_the_newest_lineage_of_the_topic() {
    // The record says 7.
    for (at_the_end, then) in [(6, 7), (7, 7), (8, 8), (50, 50)] {
        let mut b = Bench::new(from_now());
        b.start();
        b.step(acquired(0, Some(10)));
        assert_eq!(
            b.step(ready_in(1, at_the_end)),
            [format!("OpenStream epoch=0 from=After(10) lineage={then} reading=Whole")]
        );
        let fetch = "Fetch epoch=0 max_events=4 max_bytes=100";
        let (next, seq) = if then == 7 {
            assert_eq!(b.step(opened(0, 10)), [fetch]);
            (2, 0)
        } else {
            // A lineage that has risen is on record before anything is read in it.
            let save = format!("SaveToken id=2 token=10 lineage={then} change=[]");
            assert_eq!(b.step(opened(0, 10)), [&*save, "SetTimer SaveSpacing#0 after=10ms"]);
            assert_eq!(b.at(), CONNECTING);
            assert_eq!(b.step(saved(2)), [fetch]);
            (3, 1)
        };
        b.step(batch(0, &[11]));
        b.step(delivered(&[seq]));
        let due = b.expiry(TimerKind::SaveDelay);
        assert_eq!(b.step(due)[0], format!("SaveToken id={next} token=11 lineage={then} change=[]"));
        // What is lost from here on begins above it.
        b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::HistoryLost) });
        let due = b.expiry(TimerKind::Reconnect);
        assert_eq!(
            b.step(due),
            [format!("OpenStream epoch=1 from=Now lineage={} reading=Whole", 9.max(then + 1))]
        );
    }
}

/// Streaming in lineage 7, with the producer lost; the new one finds another process's lineage at the topic's end.
fn beside_a_later_lineage() -> Bench {
    let mut b = Bench::streaming(small());
    b.step(Input::ProducerLost { fault: Fault::Transient });
    let due = b.expiry(TimerKind::Reconnect);
    assert_eq!(b.step(due), ["PrepareProducer id=2 batching=Shared { halvings: 0 }"]);
    assert_eq!(b.step(ready_in(2, 21)), ["OpenStream epoch=1 from=After(10) lineage=21 reading=Whole"]);
    assert_eq!(
        b.step(opened(1, 10)),
        ["SaveToken id=3 token=10 lineage=21 change=[]", "SetTimer SaveSpacing#0 after=10ms"]
    );
    b
}

#[test]
fn whose_record_another_process_has_taken_over_publishes_nothing_in_the_lineage_of_that_one() {
    let mut b = beside_a_later_lineage();
    let fenced = Input::TokenSaved { id: EffectId(3), result: Err(Fault::Fenced) };
    assert_eq!(b.step(fenced), ["Stop cause=LeaseLost"]);
    assert_eq!(b.at(), stopped(Cause::LeaseLost));
}

#[test]
fn a_save_of_the_lineage_before_does_not_stand_for_the_one_that_has_risen() {
    let mut b = Bench::reading(small(), &[11]);
    b.step(delivered(&[0]));
    let due = b.expiry(TimerKind::SaveDelay);
    assert_eq!(b.step(due)[0], "SaveToken id=2 token=11 lineage=7 change=[]");
    b.step(Input::ProducerLost { fault: Fault::Transient });
    let due = b.expiry(TimerKind::Reconnect);
    b.step(due);
    assert_eq!(b.step(ready_in(3, 21)), ["OpenStream epoch=1 from=After(11) lineage=21 reading=Whole"]);
    assert_eq!(b.step(opened(1, 11)), NOTHING);
    assert_eq!(b.at(), CONNECTING);
    let lines = b.step(saved(2));
    assert_eq!(lines[0], "SaveToken id=4 token=11 lineage=21 change=[]");
    assert_eq!(b.at(), CONNECTING);
    assert_eq!(b.step(saved(4)), ["Fetch epoch=1 max_events=4 max_bytes=100"]);
}
