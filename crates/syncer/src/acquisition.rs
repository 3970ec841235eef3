//! From the group's word to the first record: each assignment takes its row in the ledger, and only then begins to
//! fetch. One request is under way at a time.

mod start_offset;

use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Asked, Backoff, Cause, Dependency, EffectId};

use self::start_offset::{Start, start_of};
use crate::context::Context;
use crate::hold::Holds;
use crate::parked::Parked;
use crate::partitions::{Assignment, Partitions, Stage, Window};
use crate::polling::Polling;
use crate::verdict;
use crate::{Effect, FailedBy, FetchStart, OffsetGap, Partition, StartOffset, Taken, TimerKind};

/// How long until a partition that the log does not have is looked for again.
const MISSING_PARTITION_WAIT: Duration = Duration::from_secs(1);

/// Partitions on their way to being served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Acquisitions {
    /// With the gaps that are being recorded; none while the rows are being taken.
    under_way: Asked<Vec<OffsetGap>>,
    retries: Backoff,
}

impl Acquisitions {
    /// Takes the rows of what was assigned meanwhile.
    pub(crate) fn acquire_waiting<R>(&mut self, partitions: &mut Partitions, cx: &mut Context<'_, R>) {
        if partitions.iter().all(|(_, assignment)| assignment.stage != Stage::Waiting) {
            cx.cancel_timer(TimerKind::AcquireRetry);
        } else if !self.under_way.is_out() && !cx.is_running(TimerKind::AcquireRetry) {
            let waiting = partitions.iter_mut().filter(|(_, it)| it.stage == Stage::Waiting);
            let ask = |(partition, assignment): (Partition, &mut Assignment)| {
                assignment.stage = Stage::Acquiring;
                (partition, assignment.epoch)
            };
            let partitions = waiting.map(ask).collect();
            let id = self.under_way.ask(cx.ids, Vec::new());
            cx.order(Effect::AcquirePartitions { id, partitions });
        }
    }

    /// The gaps that the request was about that the reply is for.
    pub(crate) fn finish<R>(&mut self, id: EffectId, cx: &mut Context<'_, R>) -> Option<Vec<OffsetGap>> {
        self.under_way.answer(id, cx.ids)
    }

    /// The rows are ours. Those are read of which the log holds the offset, and whose topic has not too many parked rows.
    pub(crate) fn on_acquired<R>(
        &mut self,
        taken: Taken,
        holds: &mut Holds,
        parked: &mut Parked,
        polling: Polling,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let mut rows = taken.partitions;
        rows.retain(|row| partitions.is_at(Stage::Acquiring, row.partition, row.epoch));
        for row in &rows {
            for (worker, count) in &row.parked {
                parked.set(*worker, row.partition, row.epoch, *count);
            }
        }
        let (mut starts, mut gaps) = (Vec::new(), Vec::new());
        for row in &rows {
            let (partition, epoch) = (row.partition, row.epoch);
            if holds.keep_full(partition, epoch, parked, partitions, cx.config) {
                self.retries.reset();
                continue;
            }
            match start_of(row, cx.config.offset_reset) {
                Start::At(offset) => starts.push(FetchStart { partition, epoch, offset }),
                Start::Behind(gap) => gaps.push(gap),
                Start::Nowhere => return Err(Cause::OffsetLost),
            }
        }
        self.serve(starts, polling, partitions, cx);
        if !taken.held.is_empty() {
            // A table that cannot be written has been looked at all the same.
            self.retries.reset();
            holds.hold(taken.held, partitions, cx)?;
        }
        // What the answer leaves out the log does not have: the group has not heard yet that the topic was made
        // anew. That is nobody's failure, and the group takes it back.
        if requeue_except(&gaps, partitions) {
            cx.set_timer(TimerKind::AcquireRetry, MISSING_PARTITION_WAIT);
        }
        if !gaps.is_empty() {
            let id = self.under_way.ask(cx.ids, gaps.clone());
            cx.order(Effect::MoveOffsets { id, gaps });
        }
        Ok(())
    }

    /// The gaps are durable, but for those of partitions that are somebody else's now: reading goes on behind them.
    pub(crate) fn on_offsets_moved<R>(
        &mut self,
        gaps: &[OffsetGap],
        refused: &[Partition],
        polling: Polling,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) {
        let is_moved = |gap: &&OffsetGap| {
            !refused.contains(&gap.partition) && partitions.is_at(Stage::Moving, gap.partition, gap.epoch)
        };
        let start = |gap: &OffsetGap| {
            let offset = StartOffset::At(gap.to);
            FetchStart { partition: gap.partition, epoch: gap.epoch, offset }
        };
        let starts = gaps.iter().filter(is_moved).map(start).collect();
        self.serve(starts, polling, partitions, cx);
    }

    /// What was asked for and not granted is asked for again after a wait.
    pub(crate) fn on_failed<R>(
        &mut self,
        FailedBy { from, fault }: FailedBy,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if !requeue_except(&[], partitions) {
            return Ok(());
        }
        let verdict =
            if from == Dependency::Kafka { verdict::on_group(fault) } else { verdict::on_postgres(fault) };
        let retry = cx.config.retries.of(from);
        verdict.back_off(TimerKind::AcquireRetry, &mut self.retries, retry, cx)
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    pub(crate) fn situation(&self) -> [u64; 2] {
        [u64::from(self.under_way.is_out()), u64::from(self.retries.retries())]
    }

    fn serve<R>(
        &mut self,
        starts: Vec<FetchStart>,
        polling: Polling,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) {
        if starts.is_empty() {
            return;
        }
        for start in &starts {
            partitions.set_stage(start.partition, start.epoch, Stage::Serving(Window::new()));
        }
        self.retries.reset();
        cx.order(Effect::StartFetching { starts });
        if polling == Polling::Paused {
            // What has just begun is to be as still as the others.
            cx.order(Effect::Pause);
        }
    }
}

/// Whatever was asked for and not granted is to be asked for again, but for those whose gaps are to be recorded
/// first. True where there was any.
fn requeue_except(gaps: &[OffsetGap], partitions: &mut Partitions) -> bool {
    let mut any = false;
    for (partition, assignment) in partitions.iter_mut() {
        if matches!(assignment.stage, Stage::Acquiring | Stage::Moving) {
            let is_of = |gap: &OffsetGap| (gap.partition, gap.epoch) == (partition, assignment.epoch);
            let is_moving = gaps.iter().any(is_of);
            assignment.stage = if is_moving { Stage::Moving } else { Stage::Waiting };
            any |= !is_moving;
        }
    }
    any
}
