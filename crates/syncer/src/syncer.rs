//! The machine on a page: what comes in, who takes it, and what follows.

mod invariants;
mod view;
mod writing;

use alloc::vec::Vec;

use cdc_machine::{Cause, Dependency, EffectId, Effects, Fault, Ids, Machine, Signal, StateName, TimerId};

use crate::acquisition::Acquisitions;
use crate::bad_rows::BadRows;
use crate::connection::Connection;
use crate::context::{Context, Timers};
use crate::hold::Holds;
use crate::ledger_check::LedgerChecks;
use crate::offsets::Offsets;
use crate::outage::{Outage, is_out_of_reach};
use crate::parked::Parked;
use crate::partitions::{Partitions, Stage};
use crate::polling::{Polling, credit};
use crate::revocation::Revocations;
use crate::verdict;
use crate::writers::{Worker, Writers};
use crate::{CommitFailure, Config, Effect, FailedBy, Input, LedgerCheck, Partition, Taken, TimerKind};

/// The Syncer: reads partitions as far as there is credit, routes their records to workers by key, has each
/// worker's rows written in batches, and commits the offsets over what is written without a gap.
///
/// `R` is a record's handle, which passes through unseen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Syncer<R> {
    state: StateName,
    /// Why it stopped, once it has.
    cause: Option<Cause>,
    parts: Parts<R>,
    timers: Timers,
    ids: Ids,
}

/// The parts of the machine. Each owns its data with its rules, and is handed what it needs of the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parts<R> {
    connection: Connection,
    partitions: Partitions,
    acquisitions: Acquisitions,
    revocations: Revocations,
    holds: Holds,
    ledger_checks: LedgerChecks,
    polling: Polling,
    writers: Writers<R>,
    outage: Outage,
    parked: Parked,
    bad_rows: BadRows<R>,
    offsets: Offsets,
}

impl<R: Clone> Machine for Syncer<R> {
    type Config = Config;
    type Input = Input<R>;
    type Effect = Effect<R>;

    fn step(&mut self, config: &Config, input: Input<R>, out: &mut Effects<Effect<R>>) {
        if self.cause.is_some() {
            self.ids.ignore(true);
            return;
        }
        let cx = &mut Context { config, timers: &mut self.timers, ids: &mut self.ids, out };
        match self.parts.hear(input, cx).and_then(|()| self.parts.advance(cx)) {
            Ok(state) => self.state = state,
            Err(cause) => {
                cx.order(Effect::Stop { cause });
                (self.state, self.cause) = (StateName::Stopped, Some(cause));
            }
        }
    }
}

impl<R: Clone> Parts<R> {
    fn new(config: &Config) -> Self {
        Self {
            connection: Connection::default(),
            partitions: Partitions::default(),
            acquisitions: Acquisitions::default(),
            revocations: Revocations::default(),
            holds: Holds::default(),
            ledger_checks: LedgerChecks::default(),
            polling: Polling::default(),
            writers: Writers::new(config),
            outage: Outage::default(),
            parked: Parked::default(),
            bad_rows: BadRows::new(),
            offsets: Offsets::default(),
        }
    }

    /// Hands the input to whom it concerns. What the machine orders and waits for next is for [`Self::advance`] to
    /// derive; an error is the end.
    fn hear(&mut self, input: Input<R>, cx: &mut Context<'_, R>) -> Result<(), Cause> {
        let Self { connection, partitions, revocations, polling, .. } = self;
        match input {
            Input::Start => connection.on_start(cx),
            Input::DatabaseConnected { id, result } => connection.on_database(id, result, partitions, cx)?,
            Input::GroupJoined { id, result } => {
                connection.on_joined(id, result, polling, revocations, partitions, cx)?;
            }
            Input::ConsumerFailed { fault } => {
                connection.on_consumer_failed(fault, polling, revocations, partitions, cx)?;
            }
            Input::GroupLeft { id, result: () } => connection.on_left(id, cx)?,

            Input::Assigned { .. } if !partitions.is_member() => cx.ids.ignore(true),
            Input::Assigned { partitions: given } => {
                connection.on_assigned();
                given.into_iter().for_each(|(partition, topic)| partitions.assign(partition, topic));
            }
            Input::Revoking { id, partitions: revoked } => {
                revocations.on_revoking(id, &revoked, partitions, &mut self.writers);
            }
            Input::Lost { partitions: lost } => {
                let unknown = lost.iter().filter(|partition| !partitions.lose(**partition));
                unknown.for_each(|_| cx.ids.ignore(true));
            }
            Input::PartitionsAcquired { id, result } => self.on_acquired(id, result, cx)?,
            Input::OffsetsMoved { id, result } => self.on_offsets_moved(id, result, cx)?,
            Input::LedgerChecked { id, result } => self.on_ledger_checked(id, result, cx)?,

            Input::Records { records } => polling.on_records(records, partitions, &mut self.writers, cx)?,
            Input::BatchWritten { worker, id, result } => self.on_batch_written(worker, id, result, cx)?,
            Input::ParkedRetried { worker, id, result } => self.on_parked_retried(worker, id, result, cx)?,
            Input::DeadLettered { id, result } => {
                self.bad_rows.on_dead_lettered(id, result, &mut self.parked, partitions, cx)?;
            }
            Input::OffsetsCommitted { id, result } => self.on_committed(id, result, cx)?,

            Input::Timer(timer) => self.on_timer(timer, cx)?,
            Input::Signal(Signal::Drain) => {
                connection.on_drain(polling, partitions, cx)?;
                self.writers.make_all_due();
            }
            Input::Signal(Signal::Abort) => return Err(Cause::Aborted),
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most timers only hold something back")]
    fn on_timer(&mut self, timer: TimerId<TimerKind>, cx: &mut Context<'_, R>) -> Result<(), Cause> {
        if !cx.timers.expire(timer) {
            cx.ids.ignore(cx.timers.was_set(timer));
            return Ok(());
        }
        let Self { partitions, holds, parked, writers, .. } = self;
        match timer.kind {
            TimerKind::Reconnect => self.connection.on_reconnect(partitions, cx),
            TimerKind::Drain => return Err(self.connection.on_drain_timeout()),
            TimerKind::WriteRetry(worker) => writers.at(worker).into_iter().for_each(Worker::end_back_off),
            TimerKind::Linger(worker) | TimerKind::Flush(worker) => {
                writers.at(worker).into_iter().for_each(|worker| worker.queue().make_due());
            }
            TimerKind::ParkedRetry(worker) => parked.retries().make_due(worker),
            TimerKind::OutageRetry => self.try_all_again(cx),
            TimerKind::Probe => self.bad_rows.breakers().on_probe_due(holds, partitions, cx)?,
            TimerKind::Pause => self.polling.on_stalled(cx),
            TimerKind::LedgerCheck => self.ledger_checks.on_due(partitions, cx),
            kind @ (TimerKind::HeldTable | TimerKind::LockedTable) => {
                holds.on_look_due(kind, parked, partitions, cx.config);
            }
            TimerKind::Revocation => self.revocations.on_deadline(partitions, cx),
            // What the others held back, `advance` finds due; after its time a fencing is the first one again.
            _ => {}
        }
        Ok(())
    }

    /// Orders what is called for by now, and says what the machine waits for next.
    fn advance(&mut self, cx: &mut Context<'_, R>) -> Result<StateName, Cause> {
        let is_draining = self.connection.is_draining();
        let Self { partitions, acquisitions, revocations, holds, polling, writers, parked, .. } = self;
        self.bad_rows.leave_probed(is_draining, partitions);
        revocations.end(partitions, cx);
        if partitions.take_losses() {
            writers.drop_stale(partitions);
            self.bad_rows.drop_stale(partitions);
        }
        holds.time_looks(partitions, cx);
        self.bad_rows.breakers().time_probes(cx);
        parked.time_retries(is_draining, partitions, cx);
        writers.write_batches(parked, partitions, cx);
        self.bad_rows.put_aside(partitions, cx);
        self.offsets.commit_advanced(is_draining || revocations.is_any(), partitions, cx);
        acquisitions.acquire_waiting(partitions, cx);
        self.ledger_checks.time(partitions, cx);

        if is_draining {
            let is_busy =
                partitions.in_hand().records > 0 || self.offsets.is_in_flight() || writers.is_at_work();
            self.connection.go_on_draining(is_busy, cx)?;
            return Ok(StateName::Draining);
        }
        if !self.connection.is_member() {
            return Ok(StateName::Connecting);
        }
        polling.poll(partitions, writers, cx);
        // A revocation of some partitions leaves the others streaming.
        let is_all_revoked = revocations.is_any()
            && partitions.iter().all(|(_, assignment)| matches!(assignment.stage, Stage::Revoking(_)));
        Ok(if is_all_revoked {
            StateName::AwaitingAck
        } else if polling.is_fetching() || credit(partitions, writers, cx.config).is_some() {
            StateName::Streaming
        } else if partitions.in_hand().unsettled > 0 || !writers.is_empty() {
            // Rows of assignments that are gone count too, as long as their writers hold them.
            StateName::AwaitingAck
        } else {
            StateName::SavingToken
        })
    }

    fn on_acquired(
        &mut self,
        id: EffectId,
        result: Result<Taken, FailedBy>,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if self.acquisitions.finish(id, cx).is_none() {
            return Ok(());
        }
        if result.is_ok() {
            self.in_reach(cx);
        }
        let Self { partitions, acquisitions, holds, parked, polling, .. } = self;
        match result {
            Ok(taken) => acquisitions.on_acquired(taken, holds, parked, *polling, partitions, cx),
            Err(by) => acquisitions.on_failed(by, partitions, cx),
        }
    }

    fn on_offsets_moved(
        &mut self,
        id: EffectId,
        result: Result<Vec<Partition>, Fault>,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let Some(gaps) = self.acquisitions.finish(id, cx) else { return Ok(()) };
        if result.is_ok() {
            self.in_reach(cx);
        }
        let Self { partitions, acquisitions, polling, .. } = self;
        let moved =
            result.map(|refused| acquisitions.on_offsets_moved(&gaps, &refused, *polling, partitions, cx));
        // What was not granted is asked for again.
        let fault = moved.err().unwrap_or(Fault::Transient);
        acquisitions.on_failed(FailedBy { from: Dependency::Postgres, fault }, partitions, cx)
    }

    fn on_ledger_checked(
        &mut self,
        id: EffectId,
        result: Result<LedgerCheck, Fault>,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let Some(asked) = self.ledger_checks.finish(id, cx) else { return Ok(()) };
        let LedgerCheck { refused, held } = match result {
            Ok(check) => check,
            // It is asked again in time. That uses up a retry where PostgreSQL is out of reach.
            Err(fault) if is_out_of_reach(fault) => return self.outage.on_out_of_reach(id, fault, cx),
            Err(fault) => return verdict::on_postgres(fault).end(),
        };
        // A standby answers a question, too: that says something only where nothing is to be written.
        if self.writers.is_idle() && !self.parked.is_any_out_of_reach() {
            self.in_reach(cx);
        }
        for (partition, epoch) in asked.iter().filter(|(asked, _)| refused.contains(asked)) {
            self.partitions.drop_assignment(*partition, *epoch);
        }
        self.holds.hold(held, &mut self.partitions, cx)
    }

    fn on_committed(
        &mut self,
        id: EffectId,
        result: Result<(), CommitFailure>,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let Some(offsets) = self.offsets.finish(id, cx) else { return Ok(()) };
        match result {
            Ok(()) => {
                self.in_reach(cx);
                self.offsets.on_committed(offsets, &mut self.partitions, cx);
                Ok(())
            }
            Err(failure) => self.offsets.on_failed(offsets, failure, &mut self.partitions, cx),
        }
    }

    /// PostgreSQL did as it was asked.
    fn in_reach(&mut self, cx: &mut Context<'_, R>) {
        if self.outage.end(cx) {
            self.try_all_again(cx);
            // These most likely wait for the same server: `advance` finds them due.
            cx.cancel_timer(TimerKind::CommitRetry);
            cx.cancel_timer(TimerKind::AcquireRetry);
        }
    }

    fn try_all_again(&mut self, cx: &Context<'_, R>) {
        self.outage.begin_try(cx.ids);
        self.writers.end_outage();
        self.parked.retries().end_outage();
    }
}
