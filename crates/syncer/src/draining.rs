//! `Draining`: nothing more is fetched, everything in hand is written and committed, the group is left.

use cdc_machine::{Cause, EffectId};

use crate::facts::Polling;
use crate::state::{Connecting, Draining, Group, State};
use crate::turn::Turn;
use crate::worker::Worker;
use crate::{Effect, TimerKind};

impl<R: Clone> Turn<'_, R> {
    pub(crate) fn on_drain(&mut self, state: State) -> Result<State, Cause> {
        let group = match state {
            State::Draining(_) => return Err(Cause::Aborted),
            State::Connecting(Connecting::Group { .. })
            | State::Streaming
            | State::AwaitingAck
            | State::SavingToken => Group::Member,
            State::Connecting(
                Connecting::NotStarted
                | Connecting::Database { .. }
                | Connecting::DatabaseDue
                | Connecting::GroupDue,
            )
            | State::Stopped(_) => Group::Outside,
        };
        self.cancel_timer(TimerKind::Reconnect);
        self.cancel_timer(TimerKind::Pause);
        if group == Group::Member {
            if self.facts.polling != Polling::Paused {
                self.out.push(Effect::Pause);
            }
            self.facts.polling = Polling::Paused;
        }
        self.facts.partitions.clear_unserved();
        self.facts.workers.iter_mut().for_each(Worker::make_due);
        Ok(State::Draining(Draining { group, ending: Cause::Drained }))
    }

    pub(crate) fn on_left(&mut self, state: State, id: EffectId) -> Result<State, Cause> {
        match state {
            State::Draining(Draining { group: Group::Leaving { id: asked }, ending }) if asked == id => {
                Err(ending)
            }
            State::Connecting(_)
            | State::Streaming
            | State::AwaitingAck
            | State::SavingToken
            | State::Draining(_)
            | State::Stopped(_) => {
                self.facts.ignore_reply(id);
                Ok(state)
            }
        }
    }

    /// Leaves the group once all is recorded, and ends once there is no group to leave.
    pub(crate) fn go_on_draining(&mut self, draining: Draining) -> Result<State, Cause> {
        let group = match draining.group {
            group if self.is_drain_busy() => group,
            Group::Outside => return Err(draining.ending),
            Group::Member => {
                let id = self.facts.new_id();
                self.out.push(Effect::LeaveGroup { id });
                Group::Leaving { id }
            }
            leaving @ Group::Leaving { .. } => leaving,
        };
        if !self.facts.timers.is_running(TimerKind::Drain) {
            self.set_timer(TimerKind::Drain, self.config.drain_timeout);
        }
        Ok(State::Draining(Draining { group, ..draining }))
    }

    /// Where only the group was still to be left, nothing is repeated: its own time ends the membership.
    pub(crate) const fn on_drain_timeout(state: State) -> Cause {
        match state {
            State::Draining(Draining { group: Group::Leaving { .. }, ending }) => ending,
            State::Connecting(_)
            | State::Streaming
            | State::AwaitingAck
            | State::SavingToken
            | State::Draining(_)
            | State::Stopped(_) => Cause::DrainTimedOut,
        }
    }

    fn is_drain_busy(&self) -> bool {
        self.facts.partitions.records() > 0
            || self.facts.commit.is_some()
            || self.facts.workers.iter().any(|worker| worker.is_at_work())
    }
}
