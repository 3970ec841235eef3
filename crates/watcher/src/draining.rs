//! `Draining`: an orderly end, asked for by a person or by a fault that leaves the token store alone. Nothing
//! is read any more; what is in flight settles, the settled prefix is saved, the lease is given back.

use cdc_machine::{Cause, Signal};

use crate::facts::{Lease, Saving};
use crate::state::{Awaiting, Connecting, State, Trouble};
use crate::turn::Turn;
use crate::{Effect, TimerKind};

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    pub(crate) fn on_signal(&mut self, state: State, signal: Signal) -> State {
        match (signal, state) {
            (Signal::Abort, _)
            // Asked for the second time.
            | (Signal::Drain, State::Draining { ending: Cause::Drained | Cause::DrainIncomplete }) => {
                self.stop(Cause::Aborted)
            }
            (Signal::Drain, State::Connecting(Connecting::NotStarted)) => self.stop(Cause::Drained),
            (Signal::Drain, State::Draining { .. } | State::Stopped(_)) => state,
            // What has failed already is replayed at the next start.
            (Signal::Drain, State::AwaitingAck(Awaiting::Rewind(Trouble::Delivery))) => {
                self.end(state, Cause::DrainIncomplete)
            }
            (
                Signal::Drain,
                State::Connecting(_) | State::Streaming { .. } | State::AwaitingAck(_) | State::SavingToken { .. },
            ) => self.end(state, Cause::Drained),
        }
    }

    /// Begins the orderly end.
    pub(crate) fn end(&mut self, state: State, ending: Cause) -> State {
        self.close_stream(state);
        self.cancel_timer(TimerKind::Reconnect);
        self.cancel_timer(TimerKind::LeaseWait);
        self.set_timer(TimerKind::Drain, self.config.drain_timeout);
        State::Draining { ending }
    }

    /// A report failed while draining: what comes after it cannot be saved, so it need not be sent.
    pub(crate) fn drain_incompletely(&mut self, state: State) -> State {
        if state != (State::Draining { ending: Cause::Drained }) {
            return state;
        }
        self.out.push(Effect::PurgeQueued);
        State::Draining { ending: Cause::DrainIncomplete }
    }

    pub(crate) fn end_for_bad_record(&mut self, state: State) -> State {
        match state {
            State::Draining { .. } => {
                self.out.push(Effect::PurgeQueued);
                State::Draining { ending: Cause::BadRecord }
            }
            State::Connecting(_)
            | State::Streaming { .. }
            | State::AwaitingAck(_)
            | State::SavingToken { .. }
            | State::Stopped(_) => {
                let next = self.end(state, Cause::BadRecord);
                self.out.push(Effect::PurgeQueued);
                next
            }
        }
    }

    pub(crate) fn on_drain_timeout(&mut self, state: State) -> State {
        let State::Draining { ending } = state else {
            return state;
        };
        if self.facts.window.unsettled() > 0 {
            self.out.push(Effect::PurgeQueued);
        }
        self.save_now();
        let was_asked_for = matches!(ending, Cause::Drained | Cause::DrainIncomplete);
        self.stop(if was_asked_for { Cause::DrainTimedOut } else { ending })
    }

    /// The next step of the orderly end, one at a time.
    pub(crate) fn settle_draining(&mut self, ending: Cause) -> State {
        let state = State::Draining { ending };
        if self.facts.window.unsettled() > 0 {
            return state;
        }
        self.save_now();
        if self.facts.saving != Saving::No {
            return state;
        }
        match self.facts.lease {
            Lease::Acquiring { .. } | Lease::Releasing { .. } => state,
            Lease::Held { .. } => {
                self.release_lease();
                state
            }
            Lease::Free => self.stop(ending),
        }
    }
}
