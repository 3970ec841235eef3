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
        b.step(opened(0, 10));
        b.step(batch(0, &[11]));
        b.step(delivered(&[0]));
        let due = b.expiry(TimerKind::SaveDelay);
        assert_eq!(b.step(due)[0], format!("SaveToken id=2 token=11 lineage={then} change=[]"));
        // What is lost from here on begins above it.
        b.step(Input::Fetched { epoch: Epoch(0), result: Err(Fault::HistoryLost) });
        let due = b.expiry(TimerKind::Reconnect);
        assert_eq!(
            b.step(due),
            [format!("OpenStream epoch=1 from=Now lineage={} reading=Whole", 9.max(then + 1))]
        );
    }
}
