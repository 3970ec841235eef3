//! From the group's word to the first record: each assignment is a new epoch, takes its row in the ledger
//! and only then begins to fetch.

use cdc_machine::{Cause, Dependency, EffectId, Epoch, Fault};

use crate::facts::Polling;
use crate::partitions::{Assignment, Stage};
use crate::state::State;
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::window::Window;
use crate::{Acquired, Effect, FetchStart, Partition, StartOffset, TimerKind};

impl<R: Clone> Turn<'_, R> {
    pub(crate) fn on_assigned(&mut self, state: State, partitions: &[Partition]) {
        if !state.has_consumer() {
            self.facts.ignore(true);
            return;
        }
        // The group has taken us in: that is progress.
        self.facts.retries.group.reset();
        for partition in partitions {
            let epoch = self.facts.new_epoch();
            self.facts.partitions.assign(*partition, epoch);
        }
        self.facts.drop_stale_rows();
    }

    pub(crate) fn on_lost(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if self.facts.partitions.remove(*partition).is_none() {
                self.facts.ignore(true);
            }
        }
        self.facts.drop_stale_rows();
    }

    pub(crate) fn on_acquired(&mut self, id: EffectId, acquired: &[Acquired]) -> Result<(), Cause> {
        if self.facts.acquisition != Some(id) {
            self.facts.ignore_reply(id);
            return Ok(());
        }
        self.facts.acquisition = None;
        let starts: alloc::vec::Vec<_> = acquired.iter().filter_map(|row| self.serve(row)).collect();
        if !starts.is_empty() {
            self.facts.retries.acquire.reset();
            self.out.push(Effect::StartFetching { starts });
            if self.facts.polling == Polling::Paused {
                // What has just begun is to be as still as the others.
                self.out.push(Effect::Pause);
            }
        }
        // An answer that leaves some out has failed for those.
        if self.facts.partitions.unask() {
            return self.acquire_later(Fault::Transient);
        }
        Ok(())
    }

    pub(crate) fn on_acquire_failed(&mut self, id: EffectId, fault: Fault) -> Result<(), Cause> {
        if self.facts.acquisition != Some(id) {
            self.facts.ignore_reply(id);
            return Ok(());
        }
        self.facts.acquisition = None;
        if self.facts.partitions.unask() {
            return self.acquire_later(fault);
        }
        Ok(())
    }

    /// Takes the rows of what was assigned meanwhile, one request at a time.
    pub(crate) fn acquire_waiting(&mut self) {
        if !self.facts.partitions.is_any_waiting() {
            self.cancel_timer(TimerKind::AcquireRetry);
            return;
        }
        if self.facts.acquisition.is_some() || self.facts.timers.is_running(TimerKind::AcquireRetry) {
            return;
        }
        let partitions = self.facts.partitions.ask_waiting();
        let id = self.facts.new_id();
        self.facts.acquisition = Some(id);
        self.out.push(Effect::AcquirePartitions { id, partitions });
    }

    /// Somebody else owns the partition's row in the ledger. Drops what was read of this assignment; true
    /// where there was any. Where the group still counts the partition as ours, its row is taken again.
    pub(crate) fn relinquish(&mut self, state: State, partition: Partition, epoch: Epoch) -> bool {
        let Some(assignment) = self.facts.partitions.get_mut(partition, epoch) else { return false };
        match assignment.stage {
            Stage::Waiting | Stage::Acquiring => return false,
            Stage::Serving(_) if state.has_consumer() => {
                let epoch = self.facts.new_epoch();
                self.facts.partitions.assign(partition, epoch);
            }
            Stage::Serving(_) | Stage::Revoking(_) => {
                self.facts.partitions.remove(partition);
            }
        }
        self.facts.drop_stale_rows();
        true
    }

    fn serve(&mut self, row: &Acquired) -> Option<FetchStart> {
        let assignment: &mut Assignment = self.facts.partitions.get_mut(row.partition, row.epoch)?;
        if !matches!(assignment.stage, Stage::Acquiring) {
            return None;
        }
        assignment.stage = Stage::Serving(Window::new());
        // The lower of both: an operator may have set the group back, and a PostgreSQL that was restored
        // from a backup lags behind the group.
        let offset = match (row.ledger, row.group) {
            (None, _) => StartOffset::Beginning,
            (Some(ledger), None) => StartOffset::At(ledger),
            (Some(ledger), Some(group)) => StartOffset::At(ledger.min(group)),
        };
        Some(FetchStart { partition: row.partition, epoch: row.epoch, offset })
    }

    fn acquire_later(&mut self, fault: Fault) -> Result<(), Cause> {
        let retry = (self.config.retries.postgres_connect, Dependency::Postgres);
        let verdict = Verdict::on_postgres(fault);
        self.back_off(TimerKind::AcquireRetry, verdict, |facts| &mut facts.retries.acquire, retry)
    }
}
