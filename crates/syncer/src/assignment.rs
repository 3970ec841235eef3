//! From the group's word to the first record: each assignment is a new epoch, takes its row in the ledger
//! and only then begins to fetch.

use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Cause, Dependency, EffectId, Epoch, Fault};

use crate::facts::{Acquisition, Polling};
use crate::partitions::{Assignment, Stage};
use crate::start_offset::{Start, start_of};
use crate::state::State;
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::window::Window;
use crate::{Acquired, Effect, FetchStart, Hold, Partition, StartOffset, TimerKind, Topic};

/// How long until a partition that the log does not have is looked for again.
const MISSING_PARTITION_WAIT: Duration = Duration::from_secs(1);

impl<R: Clone> Turn<'_, R> {
    pub(crate) fn on_assigned(&mut self, state: State, partitions: &[(Partition, Topic)]) {
        if !state.has_consumer() {
            self.facts.ignore(true);
            return;
        }
        // The group has taken us in: that is progress.
        self.facts.retries.group.reset();
        for (partition, topic) in partitions {
            self.facts.partitions.enter(*partition, *topic);
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

    pub(crate) fn on_acquired(
        &mut self,
        state: State,
        id: EffectId,
        acquired: &[Acquired],
        held: Vec<Hold>,
    ) -> Result<(), Cause> {
        if self.take_acquisition(id).is_none() {
            return Ok(());
        }
        self.on_in_reach();
        let (mut starts, mut gaps) = (Vec::new(), Vec::new());
        let asked = |row: &&Acquired| self.is_at(Stage::Acquiring, row.partition, row.epoch);
        let acquired: Vec<&Acquired> = acquired.iter().filter(asked).collect();
        for row in &acquired {
            for (worker, rows) in &row.parked {
                self.facts.parked.set(*worker, row.partition, row.epoch, *rows);
            }
        }
        for row in acquired {
            let (partition, epoch) = (row.partition, row.epoch);
            if self.is_kept_full(partition, epoch) {
                self.facts.retries.acquire.reset();
                continue;
            }
            match start_of(row, self.config.offset_reset) {
                Start::At(offset) => starts.push(FetchStart { partition, epoch, offset }),
                Start::Behind(gap) => gaps.push(gap),
                Start::Nowhere => return Err(Cause::OffsetLost),
            }
        }
        self.serve(starts);
        if !held.is_empty() {
            // A table that cannot be written has been looked at all the same.
            self.facts.retries.acquire.reset();
            self.hold(state, held)?;
        }
        // What the answer leaves out the log does not have: the group has not heard yet that the topic was made
        // anew. That is nobody's failure, and the group takes it back.
        if self.facts.partitions.unask_except(&gaps) {
            self.set_timer(TimerKind::AcquireRetry, MISSING_PARTITION_WAIT);
        }
        if !gaps.is_empty() {
            let id = self.facts.new_id();
            self.facts.acquisition = Some(Acquisition { id, gaps: gaps.clone() });
            self.out.push(Effect::MoveOffsets { id, gaps });
        }
        Ok(())
    }

    /// The gaps are durable: reading goes on behind them.
    pub(crate) fn on_offsets_moved(&mut self, id: EffectId, refused: &[Partition]) -> Result<(), Cause> {
        let Some(Acquisition { gaps, .. }) = self.take_acquisition(id) else { return Ok(()) };
        self.on_in_reach();
        let starts = gaps
            .iter()
            .filter(|gap| !refused.contains(&gap.partition))
            .filter(|gap| self.is_at(Stage::Moving, gap.partition, gap.epoch))
            .map(|gap| {
                let offset = StartOffset::At(gap.to);
                FetchStart { partition: gap.partition, epoch: gap.epoch, offset }
            })
            .collect();
        self.serve(starts);
        if self.facts.partitions.unask() {
            return self.acquire_later(Dependency::Postgres, Fault::Transient);
        }
        Ok(())
    }

    pub(crate) fn on_acquire_failed(
        &mut self,
        id: EffectId,
        from: Dependency,
        fault: Fault,
    ) -> Result<(), Cause> {
        if self.take_acquisition(id).is_none() {
            return Ok(());
        }
        if self.facts.partitions.unask() {
            return self.acquire_later(from, fault);
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
        self.facts.acquisition = Some(Acquisition { id, gaps: Vec::new() });
        self.out.push(Effect::AcquirePartitions { id, partitions });
    }

    /// Somebody else owns the partition's row in the ledger. Drops what was read of this assignment; true
    /// where there was any. Where the group still counts the partition as ours, its row is taken again.
    pub(crate) fn relinquish(&mut self, state: State, partition: Partition, epoch: Epoch) -> bool {
        let Some(assignment) = self.facts.partitions.get_mut(partition, epoch) else { return false };
        match assignment.stage {
            Stage::Waiting | Stage::Acquiring | Stage::Moving | Stage::Held => return false,
            Stage::Serving(_) | Stage::Full if state.has_consumer() => {
                let epoch = self.facts.new_epoch();
                self.facts.partitions.assign(partition, epoch);
            }
            Stage::Serving(_) | Stage::Full | Stage::Revoking(_) => {
                self.facts.partitions.remove(partition);
            }
        }
        self.facts.drop_stale_rows();
        true
    }

    fn serve(&mut self, starts: Vec<FetchStart>) {
        if starts.is_empty() {
            return;
        }
        for start in &starts {
            self.set_stage(start.partition, start.epoch, Stage::Serving(Window::new()));
        }
        self.facts.retries.acquire.reset();
        self.out.push(Effect::StartFetching { starts });
        if self.facts.polling == Polling::Paused {
            // What has just begun is to be as still as the others.
            self.out.push(Effect::Pause);
        }
    }

    fn is_at(&self, stage: Stage, partition: Partition, epoch: Epoch) -> bool {
        self.facts.partitions.get(partition) == Some(&Assignment { epoch, stage })
    }

    fn set_stage(&mut self, partition: Partition, epoch: Epoch, stage: Stage) {
        if let Some(assignment) = self.facts.partitions.get_mut(partition, epoch) {
            assignment.stage = stage;
        }
    }

    fn take_acquisition(&mut self, id: EffectId) -> Option<Acquisition> {
        let taken = self.facts.acquisition.take_if(|acquisition| acquisition.id == id);
        if taken.is_none() {
            self.facts.ignore_reply(id);
        }
        taken
    }

    fn acquire_later(&mut self, from: Dependency, fault: Fault) -> Result<(), Cause> {
        let retry = self.config.retries.of(from);
        let verdict =
            if from == Dependency::Kafka { Verdict::on_group(fault) } else { Verdict::on_postgres(fault) };
        self.back_off(TimerKind::AcquireRetry, verdict, |facts| &mut facts.retries.acquire, retry)
    }
}
