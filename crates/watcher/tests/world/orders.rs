use cdc_machine::Cause;
use cdc_watcher::{AckedToken, Batching, Effect, RecordChange, StartAt};

use super::{GAP, PARTITIONS, RecordedGap, Sent, Sort, Token, World, is_skipped};

impl World {
    /// Takes an order, and checks that it may be given now.
    pub(super) fn carry_out(&mut self, effect: Effect<Token, Token>) {
        assert_eq!(self.stop, None, "{} after the end", effect.name());
        match effect {
            Effect::IdentifySource {} => assert!(!std::mem::replace(&mut self.is_identity_asked, true)),
            Effect::AcquireLease { id, over_damage } => {
                assert_eq!(self.acquisition.replace((id, over_damage)), None);
            }
            Effect::RenewLease { id } => assert_eq!(self.renewal.replace(id), None),
            Effect::ReleaseLease { id } => {
                assert!(self.save.is_none() && self.in_flight.is_empty(), "the lease is given back last");
                assert_eq!(self.release.replace(id), None);
            }
            Effect::PrepareProducer { id, batching } => {
                assert!(self.in_flight.is_empty(), "a new producer waits for the old one's reports");
                self.producer_is_ready = false;
                self.is_single = batching == Batching::Single;
                assert_eq!(self.preparation.replace(id), None);
            }
            Effect::Publish { seq, record, partitions } => {
                assert_eq!(partitions, PARTITIONS, "a key never moves");
                self.publish(Sent { seq, token: record, sort: Sort::Event, is_purged: false });
            }
            Effect::PublishControl { seq, records, copies } => self.publish_control(seq, &records, copies),
            Effect::PublishMarker { seq, marker } => {
                self.unsaved.insert(marker);
                self.in_flight.push(Sent { seq, token: marker, sort: Sort::Marker, is_purged: false });
            }
            Effect::PurgeQueued => {
                // What has left the queue already is answered by Kafka.
                for sent in &mut self.in_flight {
                    sent.is_purged |= sent.seq.0 % 2 == 0;
                }
            }
            Effect::OpenStream { epoch, from, lineage: _, reading } => {
                self.announced.clear();
                self.announcing.clear();
                assert!(self.in_flight.is_empty(), "a stream opens when everything before it is settled");
                assert!(self.producer_is_ready && !self.is_draining);
                if let StartAt::After(token) = from {
                    assert!(
                        self.is_covered(token, &self.pending_gaps()),
                        "a resume after {token} skips an event"
                    );
                    self.acked_and_past.retain(|acked| *acked <= token);
                }
                assert_eq!(self.opening.replace((epoch, from, reading)), None);
            }
            Effect::Fetch { epoch, max_events, max_bytes } => {
                assert_eq!(self.stream.map(|(open, _, _)| open), Some(epoch));
                assert!(!self.is_draining && max_events > 0 && max_bytes > 0);
                assert!(self.record.saved.is_some(), "the start is recorded before the first fetch");
                if let Some(to) = self.jumped_to.take() {
                    let is_recorded = self.record.gaps.iter().any(|gap| gap.to == to);
                    assert!(is_recorded, "the stream goes on at {to} without a gap on record");
                }
                let untold = self
                    .record
                    .gaps
                    .iter()
                    .find(|gap| !self.told.contains(&gap.to) && !self.announced.contains(&gap.to));
                assert_eq!(untold, None, "a gap is told before the next event");
                assert_eq!(self.fetch.replace((epoch, max_events)), None);
            }
            Effect::CloseStream { epoch: _ } => {
                self.opening = None;
                self.stream = None;
                self.late = self.fetch.take().map(|(epoch, _)| epoch);
            }
            Effect::SaveToken { id, token, lineage: _, change } => {
                self.check_save(&token, &change);
                assert!(self.save.replace((id, token, change)).is_none(), "one save at a time");
            }
            Effect::SetTimer { timer, after } => {
                assert!(!after.is_zero());
                self.timers.insert(timer.kind, timer);
            }
            Effect::CancelTimer { timer } => {
                assert_eq!(self.timers.remove(&timer.kind), Some(timer), "a timer that runs is cancelled");
            }
            Effect::Stop { cause } => self.check_stop(cause),
        }
    }

    fn publish(&mut self, sent: Sent) {
        assert!(self.producer_is_ready && !self.is_draining, "nothing is published while draining");
        let is_event = |sent: &&Sent| matches!(sent.sort, Sort::Event | Sort::Control);
        let newest = self.in_flight.iter().rfind(is_event).map_or(0, |last| last.token % GAP);
        assert!(sent.token > newest, "events go to Kafka in the source's order");
        assert!(!is_skipped(sent.token));
        assert!(
            self.is_single || self.refused_through.is_none_or(|refused| sent.token > refused),
            "what was refused in a batch goes alone"
        );
        self.unsaved.insert(sent.token);
        self.slots.insert(sent.token, sent.seq);
        let unsaved = self.unsaved.len() as u64;
        assert!(unsaved <= self.config.max_replay_events, "a crash now would replay {unsaved} events");
        self.in_flight.push(sent);
    }

    fn publish_control(&mut self, seq: cdc_machine::SeqNo, records: &[Token], copies: u32) {
        assert_eq!(copies, PARTITIONS);
        self.copies.insert(seq, (0, false));
        let is_announcement = records[0] > GAP;
        if is_announcement {
            self.announced.extend(records.iter().map(|record| record - GAP));
            self.announcing.insert(seq);
        } else {
            self.publish(Sent { seq, token: records[0], sort: Sort::Control, is_purged: false });
            self.in_flight.pop();
        }
        for record in records {
            let sort = if is_announcement { Sort::Announcement } else { Sort::Control };
            let sent = Sent { seq, token: *record, sort, is_purged: false };
            self.in_flight.extend((0..copies).map(|_| sent));
        }
    }

    /// The gaps of a save under way: it may have taken place already.
    fn pending_gaps(&self) -> Vec<RecordedGap> {
        let gaps = self.save.iter().flat_map(|(_, _, change)| &change.gaps);
        let mut pending: Vec<RecordedGap> = gaps.map(recorded).collect();
        // A jump is recorded before anything is read behind it.
        pending.extend(self.jumped_to.map(|to| RecordedGap { from: None, to, announced: false }));
        pending
    }

    /// Only what Kafka has acknowledged without a gap, or with the gap in the same save; and never less than
    /// before.
    fn check_save(&self, token: &AckedToken<Token>, change: &RecordChange<Token>) {
        let token = *token.position();
        let gaps: Vec<RecordedGap> = change.gaps.iter().map(recorded).collect();
        assert!(gaps.iter().all(|gap| gap.to <= token), "{token} is saved with a gap behind it: {gaps:?}");
        assert!(
            self.is_covered(token, &gaps),
            "token {token} covers an event that Kafka has not acknowledged"
        );
        assert!(
            self.record.saved.is_none_or(|saved| saved <= token),
            "{token} is saved after {:?}",
            self.record
        );
        for gap in gaps.iter().filter(|gap| gap.announced) {
            assert!(self.told.contains(&gap.to), "{gap:?} is recorded as told before every partition has it");
        }
        if change.announced {
            let untold = self.record.gaps.iter().find(|gap| !self.told.contains(&gap.to));
            assert_eq!(untold, None, "it is saved as told before every partition has it");
        }
    }

    fn check_stop(&mut self, cause: Cause) {
        if cause == Cause::Drained {
            assert!(self.in_flight.is_empty(), "a clean end has nothing in hand");
        }
        if matches!(cause, Cause::Drained | Cause::DrainIncomplete) {
            assert!(self.is_prefix_saved(), "an end leaves {:?} behind", self.unsaved);
        }
        self.stop = Some(cause);
    }
}

pub(super) fn recorded(gap: &cdc_watcher::Gap<Token>) -> RecordedGap {
    RecordedGap { from: gap.from, to: gap.to, announced: gap.announced }
}
