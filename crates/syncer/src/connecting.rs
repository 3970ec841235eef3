//! `Connecting`: first the database, then the group. The group is joined anew whenever its consumer dies.

use cdc_machine::{Cause, EffectId, Fault};

use crate::facts::Polling;
use crate::state::{Connecting, Draining, Group, State};
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{Effect, TimerKind};

impl<R: Clone> Turn<'_, R> {
    pub(crate) fn on_start(&mut self, state: State) -> State {
        if state == State::Connecting(Connecting::NotStarted) {
            return self.connect_database();
        }
        self.facts.ignore(false);
        state
    }

    pub(crate) fn on_database_ready(&mut self, state: State, id: EffectId) -> State {
        if state == (State::Connecting(Connecting::Database { id })) {
            self.facts.retries.database.reset();
            return self.join_group();
        }
        self.facts.ignore_reply(id);
        state
    }

    pub(crate) fn on_database_failed(
        &mut self,
        state: State,
        id: EffectId,
        fault: Fault,
    ) -> Result<State, Cause> {
        if state != (State::Connecting(Connecting::Database { id })) {
            self.facts.ignore_reply(id);
            return Ok(state);
        }
        let retry = self.config.retries.postgres_connect;
        let verdict = Verdict::on_postgres(fault);
        self.back_off(TimerKind::Reconnect, verdict, |facts| &mut facts.retries.database, retry)?;
        Ok(State::Connecting(Connecting::DatabaseDue))
    }

    /// Streaming from now on, as far as there is room: `settle` looks.
    pub(crate) fn on_joined(&mut self, state: State, id: EffectId) -> State {
        if state == (State::Connecting(Connecting::Group { id })) {
            return State::Streaming;
        }
        self.facts.ignore_reply(id);
        state
    }

    pub(crate) fn on_join_failed(
        &mut self,
        state: State,
        id: EffectId,
        fault: Fault,
    ) -> Result<State, Cause> {
        if state == (State::Connecting(Connecting::Group { id })) {
            return self.rejoin(fault);
        }
        self.facts.ignore_reply(id);
        Ok(state)
    }

    pub(crate) fn on_consumer_failed(&mut self, state: State, fault: Fault) -> Result<State, Cause> {
        match state {
            State::Connecting(Connecting::Group { .. })
            | State::Streaming
            | State::AwaitingAck
            | State::SavingToken => self.rejoin(fault),
            State::Draining(draining) => self.drain_without_group(draining),
            State::Connecting(
                Connecting::NotStarted
                | Connecting::Database { .. }
                | Connecting::DatabaseDue
                | Connecting::GroupDue,
            )
            | State::Stopped(_) => {
                self.facts.ignore(true);
                Ok(state)
            }
        }
    }

    pub(crate) fn on_reconnect(&mut self, state: State) -> State {
        match state {
            State::Connecting(Connecting::DatabaseDue) => self.connect_database(),
            State::Connecting(Connecting::GroupDue) => self.join_group(),
            State::Connecting(
                Connecting::NotStarted | Connecting::Database { .. } | Connecting::Group { .. },
            )
            | State::Streaming
            | State::AwaitingAck
            | State::SavingToken
            | State::Draining(_)
            | State::Stopped(_) => state,
        }
    }

    fn connect_database(&mut self) -> State {
        let id = self.facts.new_id();
        self.out.push(Effect::ConnectDatabase { id });
        State::Connecting(Connecting::Database { id })
    }

    fn join_group(&mut self) -> State {
        let id = self.facts.new_id();
        self.out.push(Effect::JoinGroup { id });
        State::Connecting(Connecting::Group { id })
    }

    fn rejoin(&mut self, fault: Fault) -> Result<State, Cause> {
        self.lose_everything();
        let retry = self.config.retries.kafka;
        let is_fenced_again = fault == Fault::Fenced && self.facts.timers.is_running(TimerKind::Fencing);
        let verdict = if is_fenced_again { Verdict::End(Cause::LeaseLost) } else { Verdict::on_group(fault) };
        if fault == Fault::Fenced {
            self.set_timer(TimerKind::Fencing, self.config.fencing_window);
        }
        self.back_off(TimerKind::Reconnect, verdict, |facts| &mut facts.retries.group, retry)?;
        Ok(State::Connecting(Connecting::GroupDue))
    }

    fn drain_without_group(&mut self, draining: Draining) -> Result<State, Cause> {
        let is_incomplete = self.facts.partitions.records() > 0;
        let ending = if is_incomplete { Cause::DrainIncomplete } else { draining.ending };
        self.lose_everything();
        Ok(State::Draining(Draining { group: Group::Outside, ending }))
    }

    /// The consumer is dead, and with it every assignment. Batches in flight go on, and settle nothing.
    fn lose_everything(&mut self) {
        self.facts.partitions.clear();
        self.facts.drop_stale_rows();
        self.facts.revocations.clear();
        self.cancel_timer(TimerKind::Pause);
        self.facts.polling = Polling::Idle;
    }
}
