use cdc_machine::Cause;
use cdc_watcher::{AckedToken, Effect, StartAt};

use super::{Sent, Token, World, is_skipped};

impl World {
    /// Takes an order, and checks that it may be given now.
    pub(super) fn carry_out(&mut self, effect: Effect<Token, Token>) {
        assert_eq!(self.stop, None, "{} after the end", effect.name());
        match effect {
            Effect::AcquireLease { id } => assert_eq!(self.acquisition.replace(id), None),
            Effect::RenewLease { id } => assert_eq!(self.renewal.replace(id), None),
            Effect::ReleaseLease { id } => {
                assert!(self.save.is_none() && self.in_flight.is_empty(), "the lease is given back last");
                assert_eq!(self.release.replace(id), None);
            }
            Effect::PrepareProducer { id } => {
                assert!(self.in_flight.is_empty(), "a new producer waits for the old one's reports");
                self.producer_is_ready = false;
                assert_eq!(self.preparation.replace(id), None);
            }
            Effect::Publish { seq, record } => {
                self.publish(Sent { seq, token: record, is_marker: false, is_purged: false });
            }
            Effect::PublishMarker { seq, marker } => {
                self.in_flight.push(Sent { seq, token: marker, is_marker: true, is_purged: false });
            }
            Effect::PurgeQueued => {
                // What has left the queue already is answered by Kafka.
                for sent in &mut self.in_flight {
                    sent.is_purged |= sent.seq.0 % 2 == 0;
                }
            }
            Effect::OpenStream { epoch, from, lineage: _ } => {
                assert!(self.in_flight.is_empty(), "a stream opens when everything before it is settled");
                assert!(self.producer_is_ready && !self.is_draining);
                if let StartAt::After(token) = from {
                    assert!(self.is_covered(token), "a resume after {token} skips an event");
                    self.acked_and_past.retain(|acked| *acked <= token);
                }
                assert_eq!(self.opening.replace((epoch, from)), None);
            }
            Effect::Pull { epoch, max_events, max_bytes } => {
                assert_eq!(self.stream.map(|(open, _)| open), Some(epoch));
                assert!(!self.is_draining && max_events > 0 && max_bytes > 0);
                assert!(self.saved.is_some(), "the start is recorded before the first pull");
                assert_eq!(self.pull.replace((epoch, max_events)), None);
            }
            Effect::CloseStream { epoch: _ } => {
                self.opening = None;
                self.stream = None;
                self.late = self.pull.take().map(|(epoch, _)| epoch);
            }
            Effect::SaveToken { id, token, lineage: _ } => {
                self.check_save(&token);
                assert!(self.save.replace((id, token)).is_none(), "one save at a time");
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
        let newest = self.in_flight.last().map_or(0, |last| last.token);
        assert!(sent.token > newest, "events go to Kafka in the source's order");
        assert!(!is_skipped(sent.token));
        self.unsaved.insert(sent.token);
        let unsaved = self.unsaved.len() as u64;
        assert!(unsaved <= self.config.max_replay_events, "a crash now would replay {unsaved} events");
        self.in_flight.push(sent);
    }

    /// Only what Kafka has acknowledged without a gap, and never less than before.
    fn check_save(&self, token: &AckedToken<Token>) {
        let token = *token.position();
        assert!(self.is_covered(token), "token {token} covers an event that Kafka has not acknowledged");
        assert!(self.saved.is_none_or(|saved| saved < token), "{token} is saved after {:?}", self.saved);
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
