//! `Streaming`: one pull is outstanding, and its answer goes to Kafka at once.

use alloc::vec::Vec;

use cdc_machine::{Cause, Epoch, Fault, Slot};

use crate::config::OnHistoryLost;
use crate::state::{Awaiting, State, Trouble};
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{Effect, Event, Payload};

impl<R, T: Clone + Ord> Turn<'_, R, T> {
    /// How many events the next pull may bring; 0 where there is no room for any.
    pub(crate) fn credit(&self) -> u32 {
        if self.facts.room_bytes(self.config) == 0 {
            return 0;
        }
        let room = u32::try_from(self.facts.room(self.config)).unwrap_or(u32::MAX);
        room.min(self.config.max_pull_events.max(1))
    }

    pub(crate) fn pull(&mut self, epoch: Epoch, asked: u32) -> State {
        let max_bytes = self.facts.room_bytes(self.config);
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
        self.facts.retries.mongodb.reset();
        if events.len() > asked as usize {
            return self.stop(Cause::Invariant("the source sent more events than the pull asked for"));
        }
        for event in events {
            if self.facts.newest().is_some_and(|newest| event.token <= *newest) {
                return self.stop(Cause::Invariant("a stream's tokens strictly increase"));
            }
            self.read(event);
        }
        // An idle token may be the last event's own; then it says nothing new.
        if let Some(idle) = idle
            && self.facts.newest().is_none_or(|newest| idle > *newest)
        {
            self.facts.window.open_settled(idle);
        }
        State::AwaitingAck(Awaiting::Room { epoch })
    }

    fn read(&mut self, event: Event<R, T>) {
        match event.payload {
            Payload::Message { record, bytes } => {
                let slot = Slot { position: event.token, weight: 1, bytes: u64::from(bytes) };
                let seq = self.facts.window.open(slot);
                self.out.push(Effect::Publish { seq, record });
            }
            Payload::Skip => {
                self.facts.window.open_settled(event.token);
            }
        }
    }

    pub(crate) fn on_source_failed(&mut self, state: State, epoch: Epoch, fault: Fault) -> State {
        if state.epoch() != Some(epoch) {
            self.facts.ignore_epoch(epoch);
            return state;
        }
        match Verdict::on_source(fault) {
            Verdict::Retry => {
                self.close_stream(state);
                State::AwaitingAck(Awaiting::Rewind(Trouble::Source))
            }
            Verdict::End(cause) => self.end_for_source(state, cause),
        }
    }

    /// Ends for what the source said, unless a policy knows better.
    pub(crate) fn end_for_source(&mut self, state: State, cause: Cause) -> State {
        match self.config.on_history_lost {
            OnHistoryLost::Stop => self.end(state, cause),
        }
    }

    pub(crate) fn close_stream(&mut self, state: State) {
        if let Some(epoch) = state.epoch() {
            self.out.push(Effect::CloseStream { epoch });
        }
    }
}
