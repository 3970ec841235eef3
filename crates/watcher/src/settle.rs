//! What the machine waits for next follows from the facts, in one place and in one order.

use cdc_machine::Epoch;

use crate::state::{Awaiting, Connecting, State};
use crate::turn::Turn;

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    /// Derives the next state, and orders what it waits for: an end, a rewind, a connection, then room, then
    /// acks, then a save.
    pub(crate) fn settle(&mut self, state: State) -> State {
        match state {
            State::Stopped(_) => state,
            State::Draining { ending } => self.settle_draining(ending),
            State::AwaitingAck(Awaiting::Rewind(trouble)) if self.facts.window.unsettled() == 0 => {
                let next = self.reconnect(trouble);
                self.settle(next)
            }
            State::Connecting(Connecting::RecordingStart { epoch }) => self.settle_start(state, epoch),
            State::AwaitingAck(Awaiting::Rewind(_)) | State::Connecting(_) | State::Streaming { .. } => {
                self.save_when_due();
                state
            }
            State::AwaitingAck(Awaiting::Room { epoch }) | State::SavingToken { epoch } => {
                self.save_when_due();
                self.settle_stream(epoch)
            }
        }
    }

    /// Nothing is read before the store holds a position to come back to, with every gap before it.
    fn settle_start(&mut self, state: State, epoch: Epoch) -> State {
        if self.facts.has_start_to_record() {
            self.save_now();
            return state;
        }
        self.save_when_due();
        self.settle_stream(epoch)
    }

    fn settle_stream(&mut self, epoch: Epoch) -> State {
        if self.facts.has_gaps_to_announce() && self.credit() > 0 {
            self.announce();
        }
        match self.credit() {
            0 if self.facts.window.unsettled() > 0 => State::AwaitingAck(Awaiting::Room { epoch }),
            0 => State::SavingToken { epoch },
            asked => self.pull(epoch, asked),
        }
    }
}
