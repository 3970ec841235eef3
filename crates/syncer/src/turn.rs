use core::time::Duration;

use cdc_machine::{Backoff, Cause, Dependency, Effects, Fault, Retry, Signal, TimerId};

use crate::facts::Facts;
use crate::state::State;
use crate::verdict::Verdict;
use crate::{Config, Effect, Input, TimerKind, WorkerId};

/// One step under way: what it may read, change and order. Each file adds what it answers for. An error is
/// the end of the service.
pub(crate) struct Turn<'a, R> {
    pub(crate) config: &'a Config,
    pub(crate) facts: &'a mut Facts<R>,
    pub(crate) out: &'a mut Effects<Effect<R>>,
}

impl<R: Clone> Turn<'_, R> {
    /// Takes one input. What the machine orders and waits for next is for [`Self::settle`] to derive.
    pub(crate) fn take(&mut self, state: State, input: Input<R>) -> Result<State, Cause> {
        match input {
            Input::Start => Ok(self.on_start(state)),
            Input::DatabaseReady { id } => Ok(self.on_database_ready(state, id)),
            Input::DatabaseFailed { id, fault } => self.on_database_failed(state, id, fault),
            Input::Joined { id } => Ok(self.on_joined(state, id)),
            Input::JoinFailed { id, fault } => self.on_join_failed(state, id, fault),
            Input::ConsumerFailed { fault } => self.on_consumer_failed(state, fault),
            Input::Left { id } => self.on_left(state, id),
            Input::Timer(timer) => self.on_timer(state, timer),
            Input::Signal(Signal::Drain) => self.on_drain(state),
            Input::Signal(Signal::Abort) => Err(Cause::Aborted),

            // These change facts, and the state only by way of them.
            Input::Assigned { partitions } => {
                self.on_assigned(state, &partitions);
                Ok(state)
            }
            Input::Revoking { id, partitions } => {
                self.on_revoking(id, &partitions);
                Ok(state)
            }
            Input::Lost { partitions } => {
                self.on_lost(&partitions);
                Ok(state)
            }
            Input::Acquired { id, partitions, held } => {
                self.on_acquired(state, id, &partitions, held).map(|()| state)
            }
            Input::AcquireFailed { id, from, fault } => {
                self.on_acquire_failed(id, from, fault).map(|()| state)
            }
            Input::OffsetsMoved { id, refused } => self.on_offsets_moved(id, &refused).map(|()| state),
            Input::LedgerChecked { id, refused, held } => {
                self.on_ledger_checked(state, id, &refused, held).map(|()| state)
            }
            Input::LedgerCheckFailed { id, fault } => self.on_ledger_check_failed(id, fault).map(|()| state),
            Input::Records { records } => self.on_records(records).map(|()| state),
            Input::BatchDone { worker, id, outcome } => {
                self.on_batch_done(state, worker, id, outcome).map(|()| state)
            }
            Input::ParkedRetried { worker, id, outcome } => {
                self.on_parked_retried(state, worker, id, outcome).map(|()| state)
            }
            Input::DeadLettered { id } => {
                self.on_dead_lettered(id);
                Ok(state)
            }
            Input::DeadLetterFailed { id, fault } => self.on_dead_letter_failed(id, fault).map(|()| state),
            Input::Committed { id } => {
                self.on_committed(id);
                Ok(state)
            }
            Input::CommitFailed { id, from, fault, refused } => {
                self.on_commit_failed(state, id, from, fault, &refused).map(|()| state)
            }
        }
    }

    fn on_timer(&mut self, state: State, timer: TimerId<TimerKind>) -> Result<State, Cause> {
        if !self.facts.timers.expire(timer) {
            let was_set = self.facts.timers.was_set(timer);
            self.facts.ignore(was_set);
            return Ok(state);
        }
        match timer.kind {
            TimerKind::Reconnect => return Ok(self.on_reconnect(state)),
            TimerKind::Drain => return Err(Self::on_drain_timeout(state)),
            TimerKind::WriteRetry(worker) => self.on_write_retry(worker),
            TimerKind::Linger(worker) | TimerKind::Flush(worker) => self.on_departure(worker),
            TimerKind::ParkedRetry(worker) => self.on_parked_retry(worker),
            TimerKind::OutageRetry => self.on_outage_retry(),
            TimerKind::Probe => self.on_probe_due(state)?,
            TimerKind::Pause => self.on_pause(),
            TimerKind::LedgerCheck => self.on_ledger_check_due(),
            kind @ (TimerKind::HeldTable | TimerKind::LockedTable) => self.on_look_due(kind),
            TimerKind::Revocation => self.on_revocation_deadline(),
            // A fencing after this is the first one again.
            TimerKind::Fencing => {}
            // What these held back, `settle` finds due.
            TimerKind::CommitRetry
            | TimerKind::DeadLetterRetry
            | TimerKind::AcquireRetry
            | TimerKind::CommitSpacing => {}
        }
        Ok(state)
    }

    /// Waits for another try as `verdict` on the fault and the retries left allow; else this is the end.
    pub(crate) fn back_off(
        &mut self,
        kind: TimerKind,
        verdict: Verdict,
        used: impl FnOnce(&mut Facts<R>) -> &mut Backoff,
        retry: Retry,
    ) -> Result<(), Cause> {
        let exhausted = match verdict {
            Verdict::Retry(exhausted) => exhausted,
            Verdict::End(cause) => return Err(cause),
        };
        let wait = used(self.facts).next(retry).ok_or(exhausted)?;
        self.set_timer(kind, wait);
        Ok(())
    }

    /// A write that failed is tried at once where that may help, else after a back-off; either way it uses
    /// up a retry.
    pub(crate) fn next_write(&mut self, worker: WorkerId, fault: Fault) -> Result<Option<Duration>, Cause> {
        let retry = self.config.retries.postgres_write;
        let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) else { return Ok(None) };
        let is_contended = fault == Fault::RetryNow;
        let is_used_up = retry.max_retries.is_some_and(|max| lane.retries.retries() >= max);
        if is_contended && is_used_up {
            // Those that were in the way may have gone on: that is the pipeline's progress, if not this worker's.
            lane.start_over_if_overtaken();
        }
        let is_immediate = is_contended && lane.retries.retries() < IMMEDIATE_RETRIES_MAX;
        let wait =
            lane.retries.next(retry).ok_or_else(|| Cause::after_retries(fault, Dependency::Postgres))?;
        Ok((!is_immediate).then_some(wait))
    }

    pub(crate) fn set_timer(&mut self, kind: TimerKind, after: Duration) {
        self.facts.timers.set(kind, after, self.out);
    }

    pub(crate) fn cancel_timer(&mut self, kind: TimerKind) {
        self.facts.timers.cancel(kind, self.out);
    }
}

/// Retries in a row without a wait: two workers that deadlock again and again must not spin.
pub(crate) const IMMEDIATE_RETRIES_MAX: u32 = 2;
