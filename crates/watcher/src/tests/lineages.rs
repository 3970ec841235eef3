//! Rows keep off every event of a lineage below theirs, so none may be given out that is.

use super::gaps::from_now;
use super::*;

/// The topic's end shows a position of this lineage.
fn ready_in(id: u64, lineage: u32) -> Fact {
    let topics = vec![TopicState { lineage: Some(Lineage(lineage)), ..TOPIC }];
    Input::ProducerReady { id: EffectId(id), topics }
}

#[test]
fn a_record_made_anew_has_a_lineage_above_the_clock_and_the_topics_end() {
    // The clock says 9.
    for (at_the_end, made) in [(3, 9), (8, 9), (9, 10), (50, 51)] {
        for lost in [Saved::Nothing, Saved::Lost] {
            let mut b = Bench::new(from_now());
            b.step(Input::Start);
            b.step(Input::LeaseAcquired {
                id: EffectId(0),
                saved: lost,
                unannounced: vec![],
                fresh: Lineage(9),
            });
            assert_eq!(b.step(ready_in(1, at_the_end)), [format!("OpenStream 0 now in {made}")]);
        }
    }
}

#[test]
fn an_older_record_goes_on_in_the_newest_lineage_of_the_topic() {
    // The record says 7.
    for (at_the_end, then) in [(6, 7), (7, 7), (8, 8), (50, 50)] {
        let mut b = Bench::new(from_now());
        b.step(Input::Start);
        b.step(acquired(0, Some(10)));
        assert_eq!(b.step(ready_in(1, at_the_end)), [format!("OpenStream 0 after 10 in {then}")]);
        b.step(opened(0, 10));
        b.step(batch(0, &[11]));
        b.step(delivered(&[0]));
        let due = b.expiry(TimerKind::SaveDelay);
        assert_eq!(b.step(due)[0], format!("SaveToken 2 11 in {then}"));
        // What is lost from here on begins above it.
        b.step(Input::SourceFailed { epoch: Epoch(0), fault: Fault::HistoryLost });
        let due = b.expiry(TimerKind::Reconnect);
        assert_eq!(b.step(due), [format!("OpenStream 1 now in {}", 9.max(then + 1))]);
    }
}
