//! First the database, then the group, which is joined anew whenever its consumer dies; and the way out: once everything
//! in hand is written and committed, the group is left.

use cdc_machine::{Backoff, Cause, EffectId, Fault, Verdict, ensure};

use crate::context::{Context, Timers};
use crate::partitions::{self, Partitions};
use crate::polling::Polling;
use crate::revocation::Revocations;
use crate::verdict;
use crate::{Effect, TimerKind, WaitsFor};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Connection {
    stage: Stage,
    database_retries: Backoff,
    group_retries: Backoff,
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Stage {
    #[default]
    NotStarted,
    Database {
        id: EffectId,
    },
    /// The database is tried again after a back-off.
    DatabaseDue,
    Group {
        id: EffectId,
    },
    /// The group is joined again after a back-off.
    GroupDue,
    Member,
    /// Nothing more is taken on. `ending` is why the service will have stopped.
    Draining {
        group: Group,
        ending: Cause,
    },
}

/// Where a drain stands with the consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Group {
    /// There is no consumer, or it died.
    Outside,
    Member,
    Leaving {
        id: EffectId,
    },
}

impl Connection {
    pub(crate) const fn is_member(&self) -> bool {
        matches!(self.stage, Stage::Member)
    }

    /// What it waits for; `None` once the service has joined the group, or where it drains and still has work in hand.
    pub(crate) const fn waits_for(&self) -> Option<WaitsFor> {
        match self.stage {
            Stage::NotStarted => Some(WaitsFor::Start),
            Stage::Database { .. } => Some(WaitsFor::Database),
            Stage::Group { .. } => Some(WaitsFor::Group),
            Stage::DatabaseDue | Stage::GroupDue => Some(WaitsFor::BackOff),
            Stage::Draining { group: Group::Leaving { .. }, .. } => Some(WaitsFor::Leave),
            Stage::Member | Stage::Draining { .. } => None,
        }
    }

    pub(crate) const fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. })
    }

    pub(crate) fn on_start<R>(&mut self, cx: &mut Context<'_, R>) {
        if self.stage == Stage::NotStarted {
            self.connect_database(cx);
        } else {
            cx.ids.ignore(false);
        }
    }

    pub(crate) fn on_database<R>(
        &mut self,
        id: EffectId,
        answer: Result<(), Fault>,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if self.stage != (Stage::Database { id }) {
            cx.ids.ignore_reply(id);
            return Ok(());
        }
        let Err(fault) = answer else {
            self.database_retries.reset();
            self.join_group(partitions, cx);
            return Ok(());
        };
        self.stage = Stage::DatabaseDue;
        let retry = cx.config.retries.postgres_connect;
        verdict::on_postgres(fault).back_off(TimerKind::Reconnect, &mut self.database_retries, retry, cx)
    }

    pub(crate) fn on_joined<R>(
        &mut self,
        id: EffectId,
        answer: Result<(), Fault>,
        polling: &mut Polling,
        revocations: &mut Revocations,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if self.stage != (Stage::Group { id }) {
            cx.ids.ignore_reply(id);
            return Ok(());
        }
        match answer {
            Ok(()) => {
                self.stage = Stage::Member;
                Ok(())
            }
            Err(fault) => self.on_consumer_failed(fault, polling, revocations, partitions, cx),
        }
    }

    /// The group has given us partitions: that is progress.
    pub(crate) fn on_assigned(&mut self) {
        self.group_retries.reset();
    }

    /// The consumer is dead, and with it every assignment. Batches in flight go on, and settle nothing.
    pub(crate) fn on_consumer_failed<R>(
        &mut self,
        fault: Fault,
        polling: &mut Polling,
        revocations: &mut Revocations,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        match self.stage {
            Stage::NotStarted | Stage::Database { .. } | Stage::DatabaseDue | Stage::GroupDue => {
                cx.ids.ignore(true);
                return Ok(());
            }
            Stage::Group { .. } | Stage::Member => self.stage = Stage::GroupDue,
            Stage::Draining { ending, .. } => {
                let is_incomplete = partitions.in_hand().records > 0;
                let ending = if is_incomplete { Cause::DrainIncomplete } else { ending };
                self.stage = Stage::Draining { group: Group::Outside, ending };
            }
        }
        partitions.lose_all();
        revocations.forget();
        polling.end(cx);
        if self.is_draining() { Ok(()) } else { self.rejoin_later(fault, cx) }
    }

    pub(crate) fn on_reconnect<R>(&mut self, partitions: &mut Partitions, cx: &mut Context<'_, R>) {
        if self.stage == Stage::DatabaseDue {
            self.connect_database(cx);
        } else if self.stage == Stage::GroupDue {
            self.join_group(partitions, cx);
        }
    }

    pub(crate) fn on_drain<R>(
        &mut self,
        polling: &mut Polling,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if self.is_draining() {
            return Err(Cause::Aborted);
        }
        let is_member = partitions.is_member();
        let group = if is_member { Group::Member } else { Group::Outside };
        self.stage = Stage::Draining { group, ending: Cause::Drained };
        cx.cancel_timer(TimerKind::Reconnect);
        polling.begin_draining(is_member, cx);
        partitions.begin_draining();
        Ok(())
    }

    /// Leaves the group once all is recorded, and ends once there is no group to leave.
    pub(crate) fn go_on_draining<R>(&mut self, is_busy: bool, cx: &mut Context<'_, R>) -> Result<(), Cause> {
        let Stage::Draining { group, ending } = &mut self.stage else { return Ok(()) };
        match group {
            Group::Outside if !is_busy => return Err(*ending),
            Group::Member if !is_busy => {
                let id = cx.ids.new_effect();
                cx.order(Effect::LeaveGroup { id });
                *group = Group::Leaving { id };
            }
            Group::Outside | Group::Member | Group::Leaving { .. } => {}
        }
        if !cx.is_running(TimerKind::Drain) {
            cx.set_timer(TimerKind::Drain, cx.config.drain_timeout);
        }
        Ok(())
    }

    pub(crate) fn on_left<R>(&self, id: EffectId, cx: &mut Context<'_, R>) -> Result<(), Cause> {
        if let Stage::Draining { group: Group::Leaving { id: asked }, ending } = self.stage
            && asked == id
        {
            return Err(ending);
        }
        cx.ids.ignore_reply(id);
        Ok(())
    }

    /// Where only the group was still to be left, nothing is repeated: its own time ends the membership.
    pub(crate) const fn on_drain_timeout(&self) -> Cause {
        if let Stage::Draining { group: Group::Leaving { .. }, ending } = self.stage {
            return ending;
        }
        Cause::DrainTimedOut
    }

    /// Retries used towards PostgreSQL and towards the group.
    pub(crate) const fn retries(&self) -> (Backoff, Backoff) {
        (self.database_retries, self.group_retries)
    }

    pub(crate) fn check(&self, partitions: &Partitions, timers: &Timers) -> Result<(), &'static str> {
        match self.stage {
            Stage::NotStarted | Stage::Database { .. } | Stage::DatabaseDue | Stage::GroupDue => {
                ensure(partitions.iter().next().is_none(), "without a consumer nothing is assigned")?;
                ensure(!partitions.is_member(), "without a consumer nothing counts")
            }
            Stage::Group { .. } | Stage::Member => ensure(partitions.is_member(), "assignments count"),
            Stage::Draining { .. } => {
                ensure(timers.is_running(TimerKind::Drain), "a drain has its timer")?;
                let takes_on = partitions.is_member()
                    || partitions.iter().any(|(_, it)| it.stage == partitions::Stage::Waiting);
                ensure(!takes_on, "a drain takes nothing on")
            }
        }
    }

    pub(crate) const fn situation(&self) -> [u64; 3] {
        let stage = match self.stage {
            Stage::NotStarted => 0,
            Stage::Database { .. } => 1,
            Stage::DatabaseDue => 2,
            Stage::Group { .. } => 3,
            Stage::GroupDue => 4,
            Stage::Member => 5,
            Stage::Draining { group: Group::Outside, .. } => 6,
            Stage::Draining { group: Group::Member, .. } => 7,
            Stage::Draining { group: Group::Leaving { .. }, .. } => 8,
        };
        [stage, self.database_retries.retries() as u64, self.group_retries.retries() as u64]
    }

    fn connect_database<R>(&mut self, cx: &mut Context<'_, R>) {
        let id = cx.ids.new_effect();
        cx.order(Effect::ConnectDatabase { id });
        self.stage = Stage::Database { id };
    }

    fn join_group<R>(&mut self, partitions: &mut Partitions, cx: &mut Context<'_, R>) {
        let id = cx.ids.new_effect();
        cx.order(Effect::JoinGroup { id });
        self.stage = Stage::Group { id };
        partitions.join();
    }

    fn rejoin_later<R>(&mut self, fault: Fault, cx: &mut Context<'_, R>) -> Result<(), Cause> {
        let is_fenced_again = fault == Fault::Fenced && cx.is_running(TimerKind::Fencing);
        let verdict = if is_fenced_again { Verdict::End(Cause::LeaseLost) } else { verdict::on_group(fault) };
        if fault == Fault::Fenced {
            cx.set_timer(TimerKind::Fencing, cx.config.fencing_window);
        }
        verdict.back_off(TimerKind::Reconnect, &mut self.group_retries, cx.config.retries.kafka, cx)
    }
}
