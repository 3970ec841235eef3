//! `Streaming`: one pull is outstanding, and its answer goes to Kafka at once.

use alloc::vec::Vec;

use cdc_machine::{Cause, Dependency, Epoch, Fault, Slot};

use crate::config::{OnHistoryLost, OnTooLarge};
use crate::state::{Awaiting, State, Trouble};
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{Effect, Event, GapCause, Payload, Reading};

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    /// How many events the next pull may bring; 0 where there is no room for any.
    pub(crate) fn credit(&self) -> u32 {
        if self.facts.room_bytes(self.config) == 0 {
            return 0;
        }
        let room = u32::try_from(self.facts.room(self.config)).unwrap_or(u32::MAX);
        room.min(self.config.max_pull_events.max(1))
    }

    pub(crate) fn pull(&mut self, epoch: Epoch, asked: u32) -> State {
        let max_bytes = self.facts.room_bytes(self.config).min(self.config.max_pull_bytes.max(1));
        self.out.push(Effect::Pull { epoch, max_events: asked, max_bytes });
        State::Streaming { epoch, asked }
    }

    pub(crate) fn on_batch(
        &mut self,
        state: State,
        epoch: Epoch,
        events: Vec<Event<R, T>>,
        idle: Option<T>,
    ) -> State {
        let asked = if let State::Streaming { epoch: open, asked } = state
            && open == epoch
        {
            asked
        } else {
            self.facts.ignore_epoch(epoch);
            return state;
        };
        // A server that still searches its history has nothing to say yet: that is no progress.
        if !events.is_empty() || idle.is_some() {
            self.facts.retries.mongodb.reset();
        }
        if events.len() > asked as usize {
            return self.stop(Cause::Invariant("the source sent more events than the pull asked for"));
        }
        let mut is_stripped = false;
        for event in events {
            if self.facts.newest().is_some_and(|newest| event.token <= *newest) {
                return self.stop(Cause::Invariant("a stream's tokens strictly increase"));
            }
            is_stripped |= matches!(event.payload, Payload::Oversized { .. });
            if let Some(cause) = self.read(event) {
                return self.end(state, cause);
            }
        }
        let is_caught_up = idle.is_some();
        // An idle token may be the last event's own; then it says nothing new.
        if let Some(idle) = idle
            && self.facts.newest().is_none_or(|newest| idle > *newest)
        {
            self.facts.window.open_settled(idle);
        }
        if self.gives_up_unexplained() {
            self.close_stream(state);
            return State::AwaitingAck(Awaiting::Rewind(Trouble::Reopen));
        }
        if self.facts.reading == Reading::Stripped && (is_stripped || is_caught_up) {
            // What did not fit is behind us, or fits by now.
            self.facts.reading = Reading::Whole;
            self.close_stream(state);
            return State::AwaitingAck(Awaiting::Rewind(Trouble::Reopen));
        }
        if self.facts.batches.are_past_refused(self.facts.newest()) {
            self.close_stream(state);
            return State::AwaitingAck(Awaiting::Rewind(Trouble::Rebatch));
        }
        State::AwaitingAck(Awaiting::Room { epoch })
    }

    /// Takes one event. `Some` where it ends the service.
    fn read(&mut self, event: Event<R, T>) -> Option<Cause> {
        let Event { token, payload } = event;
        match payload {
            Payload::Message { record, bytes, collection } => {
                self.note_filled(collection, &token);
                let seq = self.facts.window.open(single(token, bytes));
                let partitions = self.facts.partitions_of(collection);
                self.out.push(Effect::Publish { seq, record, partitions });
            }
            Payload::Control { notices, gone, replaced } => {
                self.read_control(token, notices, &gone, replaced);
            }
            Payload::Oversized { marker } => match self.config.on_too_large {
                OnTooLarge::DeadLetter => {
                    let seq = self.facts.window.open(single(token, 0));
                    self.facts.markers.insert(seq);
                    self.out.push(Effect::PublishMarker { seq, marker });
                }
                OnTooLarge::Skip => {
                    self.facts.window.open_settled(token);
                    self.out.push(Effect::LeaveOut { marker });
                }
                OnTooLarge::Stop => return Some(Cause::BadRecord),
            },
            Payload::Skip => {
                self.facts.window.open_settled(token);
            }
        }
        None
    }

    pub(crate) fn on_source_failed(&mut self, state: State, epoch: Epoch, fault: Fault) -> State {
        if state.epoch() != Some(epoch) {
            self.facts.ignore_epoch(epoch);
            return state;
        }
        let trouble = match self.on_source_fault(fault) {
            SourceVerdict::Retry(Cause::Unsupported(_)) => Trouble::Misfit,
            SourceVerdict::Retry(_) => Trouble::Source,
            SourceVerdict::Reopen => Trouble::Reopen,
            SourceVerdict::End(cause) => return self.end(state, cause),
        };
        self.close_stream(state);
        State::AwaitingAck(Awaiting::Rewind(trouble))
    }

    /// What to do about a fault of the source, as the policies have it.
    pub(crate) fn on_source_fault(&mut self, fault: Fault) -> SourceVerdict {
        match (Verdict::on_source(fault), fault) {
            (Verdict::Retry(exhausted), _) => SourceVerdict::Retry(exhausted),
            (Verdict::End(cause), Fault::HistoryLost) => match self.config.on_history_lost {
                OnHistoryLost::Stop => SourceVerdict::End(cause),
                OnHistoryLost::FromNow => {
                    self.facts.lose_position(GapCause::HistoryLost);
                    // With a pause, and counted: a source that loses what it has just given ends too.
                    SourceVerdict::Retry(Cause::Unavailable(Dependency::MongoDb))
                }
            },
            (Verdict::End(cause), Fault::TooLarge) => {
                if self.facts.reading == Reading::Stripped || self.config.on_too_large == OnTooLarge::Stop {
                    return SourceVerdict::End(cause);
                }
                self.facts.reading = Reading::Stripped;
                SourceVerdict::Reopen
            }
            (Verdict::End(cause), _) => SourceVerdict::End(cause),
        }
    }

    pub(crate) fn close_stream(&mut self, state: State) {
        if let Some(epoch) = state.epoch() {
            self.out.push(Effect::CloseStream { epoch });
        }
    }
}

/// What becomes of a stream that failed.
pub(crate) enum SourceVerdict {
    /// Open it again after a back-off; where no retry is left, end for this cause.
    Retry(Cause),
    /// Open it again at once, to be read in another way.
    Reopen,
    /// End, for this cause.
    End(Cause),
}

const fn single<T>(position: T, bytes: u32) -> Slot<T> {
    Slot { position, weight: 1, bytes: bytes as u64, reports: 1 }
}
