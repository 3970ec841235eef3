//! Rows and deletes that wait in `cdc.parked` for other rows: how many, whose they are, and when they are tried again.
//!
//! Only this process writes the entries of a partition while it holds it, and only the worker that a key
//! routes to writes that key's. So the counts are exact: read when the partition is acquired, and told anew
//! by every write that may have changed them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Cause, EffectId, Epoch, Fault};

use crate::partitions::{Assignment, Partitions, Stage};
use crate::state::State;
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::worker::{Retried, Writer};
use crate::{Effect, ParkedRows, Partition, RetryOutcome, Row, TimerKind, Topic, WorkerId};

/// The wait after a first retry; it doubles with each one that changes nothing.
const RETRY_WAIT: Duration = Duration::from_millis(50);

/// The longest wait after a write that may have freed a value.
const SOON_MAX: Duration = Duration::from_millis(500);

/// The longest wait otherwise: other processes may free a value, too.
const LATER_MAX: Duration = Duration::from_secs(2);

/// The parked rows of the partitions in hand. Both maps are empty while nothing is parked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Parked {
    entries: BTreeMap<(WorkerId, Partition), Entry>,
    retries: BTreeMap<WorkerId, Retry>,
    /// Those whose dead letters are durable, until a retry has removed them.
    given_up: Vec<GivenUp>,
}

/// An entry by the record that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct GivenUp {
    worker: WorkerId,
    partition: Partition,
    epoch: Epoch,
    offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    epoch: Epoch,
    rows: u64,
}

/// A worker's next retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Retry {
    pub(crate) phase: Phase,
    /// Retries in a row that changed nothing.
    pub(crate) fruitless: u32,
}

/// How far a worker's next retry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// The timer runs, and nothing is known to have changed.
    Later,
    /// The timer runs, and some row was written since the last retry.
    Soon,
    /// PostgreSQL is out of reach: it begins with everything else that waits for it.
    OutOfReach,
    /// It begins as soon as the writer is free.
    Due,
    /// It is under way.
    InFlight { is_stirred: bool },
}

impl Parked {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.retries.is_empty()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.entries.values().map(|entry| entry.rows).sum()
    }

    /// Those of one topic.
    pub(crate) fn rows_of(&self, topic: Topic, partitions: &Partitions) -> u64 {
        let is_of = |partition: &Partition| partitions.topic(*partition) == Some(topic);
        let entries = self.entries.iter().filter(|((_, partition), _)| is_of(partition));
        entries.map(|(_, entry)| entry.rows).sum()
    }

    /// Notes how many there are now; true where that is more than before.
    pub(crate) fn set(&mut self, worker: WorkerId, partition: Partition, epoch: Epoch, rows: u64) -> bool {
        let key = (worker, partition);
        let before =
            self.entries.get(&key).filter(|entry| entry.epoch == epoch).map_or(0, |entry| entry.rows);
        if rows == 0 {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, Entry { epoch, rows });
        }
        rows > before
    }

    /// True where one of these rows may have a parked version, or a rival of one.
    pub(crate) fn concerns<R>(&self, worker: WorkerId, rows: &[Row<R>]) -> bool {
        self.of(worker).any(|(partition, _)| rows.iter().any(|row| row.partition == partition))
    }

    fn of(&self, worker: WorkerId) -> impl Iterator<Item = (Partition, Entry)> {
        let all = (worker, Partition(0))..=(worker, Partition(u32::MAX));
        self.entries.range(all).map(|((_, partition), entry)| (*partition, *entry))
    }

    /// The worker's partitions with parked rows that are served.
    fn served(&self, worker: WorkerId, partitions: &Partitions) -> Vec<(Partition, Epoch)> {
        self.of(worker)
            .filter(|(partition, entry)| {
                partitions
                    .get(*partition)
                    .is_some_and(|assignment| assignment.epoch == entry.epoch && is_served(assignment))
            })
            .map(|(partition, entry)| (partition, entry.epoch))
            .collect()
    }

    /// Forgets those of assignments that are gone.
    fn prune(&mut self, partitions: &Partitions) {
        self.entries.retain(|(_, partition), entry| {
            partitions.get(*partition).is_some_and(|assignment| assignment.epoch == entry.epoch)
        });
        let entries = &self.entries;
        self.given_up.retain(|it| {
            entries.get(&(it.worker, it.partition)).is_some_and(|entry| entry.epoch == it.epoch)
        });
    }

    pub(crate) fn is_given_up<R>(&self, worker: WorkerId, row: &Row<R>) -> bool {
        self.given_up.contains(&GivenUp::of(worker, row))
    }

    pub(crate) fn given_up_rows(&self) -> usize {
        self.given_up.len()
    }

    /// Those of the worker in these partitions.
    fn given_up_in(&self, worker: WorkerId, partitions: &[(Partition, Epoch)]) -> Vec<(Partition, i64)> {
        let is_asked = |it: &&GivenUp| it.worker == worker && partitions.contains(&(it.partition, it.epoch));
        self.given_up.iter().filter(is_asked).map(|it| (it.partition, it.offset)).collect()
    }

    /// PostgreSQL is to be tried again.
    pub(crate) fn end_outage(&mut self) {
        for retry in self.retries.values_mut().filter(|retry| retry.phase == Phase::OutOfReach) {
            retry.phase = Phase::Due;
        }
    }

    /// True where a retry waits for PostgreSQL.
    pub(crate) fn is_any_out_of_reach(&self) -> bool {
        self.retries.values().any(|retry| retry.phase == Phase::OutOfReach)
    }

    pub(crate) fn retry(&self, worker: WorkerId) -> Option<Retry> {
        self.retries.get(&worker).copied()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (WorkerId, Partition, Epoch, u64)> {
        self.entries.iter().map(|((worker, partition), entry)| (*worker, *partition, entry.epoch, entry.rows))
    }
}

impl GivenUp {
    const fn of<R>(worker: WorkerId, row: &Row<R>) -> Self {
        Self { worker, partition: row.partition, epoch: row.epoch, offset: row.offset }
    }
}

impl Retry {
    fn wait(self) -> Duration {
        let longest = if self.phase == Phase::Soon { SOON_MAX } else { LATER_MAX };
        (RETRY_WAIT * (1 << self.fruitless.min(8))).min(longest)
    }
}

impl<R: Clone> Turn<'_, R> {
    /// Takes over what a write of these rows says of their partitions.
    pub(crate) fn note_parked(&mut self, worker: WorkerId, rows: &[Row<R>], parked: &[ParkedRows]) {
        let mut is_more = false;
        for ParkedRows { partition, rows: count } in parked {
            let row = rows.iter().find(|row| row.partition == *partition);
            if let Some(row) = row.filter(|row| self.facts.partitions.is_live(row)) {
                is_more |= self.facts.parked.set(worker, *partition, row.epoch, *count);
            }
        }
        if is_more && let Some(retry) = self.facts.parked.retries.get_mut(&worker) {
            retry.fruitless = 0;
        }
    }

    /// A row was written: what waits for its old value need not wait for long.
    pub(crate) fn stir_parked(&mut self) {
        if self.facts.parked.is_empty() {
            return;
        }
        for worker in (0u32..).map(WorkerId).take(self.facts.workers.len()) {
            self.stir_worker(worker);
        }
    }

    fn stir_worker(&mut self, worker: WorkerId) {
        match self.facts.parked.retries.get_mut(&worker) {
            Some(retry @ Retry { phase: Phase::Later, .. }) => {
                retry.phase = Phase::Soon;
                let wait = retry.wait();
                self.set_timer(TimerKind::ParkedRetry(worker), wait);
            }
            Some(Retry { phase: Phase::InFlight { is_stirred }, .. }) => *is_stirred = true,
            Some(Retry { phase: Phase::Soon | Phase::OutOfReach | Phase::Due, .. }) | None => {}
        }
    }

    /// A parked row is durable elsewhere, or given up by policy: the next retry removes it.
    pub(crate) fn give_up(&mut self, worker: WorkerId, row: &Row<R>) {
        if self.facts.partitions.is_live(row) {
            self.facts.parked.given_up.push(GivenUp::of(worker, row));
            self.stir_worker(worker);
        }
    }

    /// Sees that a retry is in view exactly for the workers with parked rows in served partitions.
    pub(crate) fn time_parked(&mut self, state: State) {
        if self.facts.parked.is_empty() {
            return;
        }
        self.facts.parked.prune(&self.facts.partitions);
        for worker in (0u32..).map(WorkerId).take(self.facts.workers.len()) {
            // A drain leaves them to the partitions' next owner.
            let is_wanted = !matches!(state, State::Draining(_))
                && !self.facts.parked.served(worker, &self.facts.partitions).is_empty();
            let is_in_view = self.facts.parked.retries.contains_key(&worker);
            if is_wanted && !is_in_view {
                self.time_retry(worker, Phase::Soon, 0);
            } else if !is_wanted && is_in_view {
                self.facts.parked.retries.remove(&worker);
                self.cancel_timer(TimerKind::ParkedRetry(worker));
            }
        }
    }

    pub(crate) fn on_parked_retry(&mut self, worker: WorkerId) {
        if let Some(retry) = self.facts.parked.retries.get_mut(&worker) {
            retry.phase = Phase::Due;
        }
    }

    /// Hands the idle writer its worker's parked rows, if they are due; true where it did.
    pub(crate) fn retry_parked(&mut self, worker: WorkerId) -> bool {
        let parked = &mut self.facts.parked;
        let Some(Retry { phase: Phase::Due, .. }) = parked.retry(worker) else { return false };
        let partitions = parked.served(worker, &self.facts.partitions);
        if let Some(retry) = parked.retries.get_mut(&worker) {
            retry.phase = Phase::InFlight { is_stirred: false };
        }
        let given_up = parked.given_up_in(worker, &partitions);
        let id = self.facts.new_id();
        if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
            lane.writer = Writer::Retrying { id, partitions: partitions.clone(), given_up: given_up.clone() };
        }
        self.out.push(Effect::RetryParked { worker, id, partitions, given_up });
        true
    }

    pub(crate) fn on_parked_retried(
        &mut self,
        state: State,
        worker: WorkerId,
        id: EffectId,
        outcome: RetryOutcome<R>,
    ) -> Result<(), Cause> {
        let lane = self.facts.workers.get_mut(worker.0 as usize);
        let Some(asked) = lane.and_then(|lane| lane.finish_retry(id)) else {
            self.facts.ignore_reply(id);
            return Ok(());
        };
        match outcome {
            RetryOutcome::Done { parked, is_changed, rejected } => {
                self.forget_retries(worker);
                self.on_in_reach();
                self.on_parked_done(worker, &asked, &parked, is_changed);
                for rejected in rejected {
                    self.reject_parked(state, worker, rejected)?;
                }
            }
            RetryOutcome::Refused { partitions } => {
                self.forget_retries(worker);
                let asked = asked.partitions.into_iter();
                for (partition, epoch) in asked.filter(|(asked, _)| partitions.contains(asked)) {
                    self.relinquish(state, partition, epoch);
                }
                self.retry_again(worker, false);
            }
            RetryOutcome::Held { holds } => {
                self.forget_retries(worker);
                self.hold(state, holds)?;
                self.retry_again(worker, false);
            }
            RetryOutcome::Failed { fault } => self.on_parked_failed(worker, id, fault)?,
        }
        self.leave_when_free(worker);
        Ok(())
    }

    fn on_parked_done(&mut self, worker: WorkerId, asked: &Retried, parked: &[ParkedRows], is_changed: bool) {
        self.facts.parked.given_up.retain(|it| {
            it.worker != worker
                || !asked.given_up.contains(&(it.partition, it.offset))
                || !asked.partitions.contains(&(it.partition, it.epoch))
        });
        for ParkedRows { partition, rows } in parked {
            let epoch =
                asked.partitions.iter().find(|(asked, _)| asked == partition).map(|(_, epoch)| *epoch);
            let current = epoch.filter(|epoch| self.facts.partitions.get_mut(*partition, *epoch).is_some());
            if let Some(epoch) = current {
                self.facts.parked.set(worker, *partition, epoch, *rows);
            }
        }
        if is_changed {
            self.stir_parked();
        }
        self.retry_again(worker, is_changed);
    }

    /// Where PostgreSQL answered that it may work later, a retry uses up a worker's retries like any write; where
    /// rows or other transactions are in the way, it uses up none.
    fn on_parked_failed(&mut self, worker: WorkerId, id: EffectId, fault: Fault) -> Result<(), Cause> {
        match fault {
            Fault::Transient => {
                if let Some(wait) = self.next_write(worker, fault)?
                    && let Some(retry) = self.facts.parked.retries.get_mut(&worker)
                {
                    retry.phase = Phase::Soon;
                    self.set_timer(TimerKind::ParkedRetry(worker), wait);
                }
                Ok(())
            }
            Fault::Unreachable | Fault::Unfit => {
                self.on_out_of_reach(id, fault)?;
                if let Some(retry) = self.facts.parked.retries.get_mut(&worker) {
                    retry.phase = Phase::OutOfReach;
                }
                Ok(())
            }
            // The rows stay where they are, and only time or a person helps. Where another transaction was in the way
            // it was likely another's retry of its own parked rows; both go on, and neither is anybody's failure.
            Fault::RetryNow | Fault::Poison | Fault::Blocked | Fault::TooLarge => {
                self.retry_again(worker, false);
                Ok(())
            }
            Fault::Auth | Fault::HistoryLost | Fault::Fenced | Fault::Fatal | Fault::Bug => {
                Err(Verdict::on_postgres(fault).cause())
            }
        }
    }

    /// Times the next retry, unless there was no more need of this one.
    fn retry_again(&mut self, worker: WorkerId, is_changed: bool) {
        let Some(retry) = self.facts.parked.retry(worker) else { return };
        if self.facts.parked.served(worker, &self.facts.partitions).is_empty() {
            self.facts.parked.retries.remove(&worker);
            // It runs where this was the retry of an assignment before.
            self.cancel_timer(TimerKind::ParkedRetry(worker));
            return;
        }
        let fruitless = if is_changed { 0 } else { retry.fruitless.saturating_add(1) };
        let is_stirred = is_changed || matches!(retry.phase, Phase::InFlight { is_stirred: true });
        self.time_retry(worker, if is_stirred { Phase::Soon } else { Phase::Later }, fruitless);
    }

    fn time_retry(&mut self, worker: WorkerId, phase: Phase, fruitless: u32) {
        let retry = Retry { phase, fruitless };
        self.facts.parked.retries.insert(worker, retry);
        self.set_timer(TimerKind::ParkedRetry(worker), retry.wait());
    }
}

/// True where the assignment's parked rows are to be tried again.
pub(crate) const fn is_served(assignment: &Assignment) -> bool {
    matches!(assignment.stage, Stage::Serving(_) | Stage::Full)
}
