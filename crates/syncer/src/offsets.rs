//! Offset commits: beside the stream, at most one in flight, over what is written without a gap.

use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Asked, Backoff, Cause, EffectId, Fault, Verdict, ensure};

use crate::context::Context;
use crate::partitions::{Assignment, Partitions, Window};
use crate::polling::window_credit;
use crate::verdict;
use crate::{CommitFailure, Effect, OffsetCommit, TimerKind};

/// The wait before another commit while the group rebalances. It uses up no retry: the rebalance ends by
/// itself, or the consumer is told that it is out.
const REBALANCE_WAIT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Offsets {
    in_flight: Asked<Vec<OffsetCommit>>,
    retries: Backoff,
}

impl Offsets {
    /// Commits what has advanced: spaced out while there is credit and nobody waits for it, else at once.
    pub(crate) fn commit_advanced<R>(
        &mut self,
        is_awaited: bool,
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) {
        if self.in_flight.is_out() || cx.is_running(TimerKind::CommitRetry) {
            return;
        }
        // A full queue does not wait for it: PostgreSQL is busy enough then.
        let is_urgent = || is_awaited || window_credit(partitions, cx.config).is_none();
        if cx.is_running(TimerKind::CommitSpacing) && !is_urgent() {
            return;
        }
        let advanced = partitions.iter().filter_map(|(partition, assignment)| {
            let offset = assignment.window()?.unsaved()?.clone();
            Some(OffsetCommit { partition, epoch: assignment.epoch, offset })
        });
        let offsets: Vec<OffsetCommit> = advanced.collect();
        if offsets.is_empty() {
            return;
        }
        cx.cancel_timer(TimerKind::CommitSpacing);
        let id = self.in_flight.ask(cx.ids, offsets.clone());
        cx.order(Effect::CommitOffsets { id, offsets });
    }

    /// The offsets of the commit that the reply is for.
    pub(crate) fn finish<R>(&mut self, id: EffectId, cx: &mut Context<'_, R>) -> Option<Vec<OffsetCommit>> {
        self.in_flight.answer(id, cx.ids)
    }

    pub(crate) fn on_committed<R>(
        &mut self,
        offsets: Vec<OffsetCommit>,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) {
        self.retries.reset();
        for OffsetCommit { partition, epoch, offset } in offsets {
            if let Some(window) = partitions.window_mut(partition, epoch) {
                window.mark_saved(&offset);
            }
        }
        if !cx.config.commit_spacing.is_zero() {
            cx.set_timer(TimerKind::CommitSpacing, cx.config.commit_spacing);
        }
    }

    pub(crate) fn on_failed<R>(
        &mut self,
        offsets: Vec<OffsetCommit>,
        CommitFailure { from, fault, refused }: CommitFailure,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let mut is_any_dropped = false;
        for OffsetCommit { partition, epoch, .. } in offsets {
            if refused.contains(&partition) {
                is_any_dropped |= partitions.drop_assignment(partition, epoch);
            }
        }
        let verdict = verdict::on_commit(fault, from);
        let is_saved = |window: &Window| window.unsaved().is_none();
        let mut windows = partitions.iter().filter_map(|(_, assignment)| assignment.window());
        if matches!(verdict, Verdict::Retry(_)) && windows.all(is_saved) {
            // Whatever the commit was about is gone.
            return Ok(());
        }
        if fault == Fault::Fenced {
            if !is_any_dropped {
                cx.set_timer(TimerKind::CommitRetry, REBALANCE_WAIT);
            }
            return Ok(());
        }
        let retry = cx.config.retries.of(from);
        verdict.back_off(TimerKind::CommitRetry, &mut self.retries, retry, cx)
    }

    pub(crate) const fn is_in_flight(&self) -> bool {
        self.in_flight.is_out()
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    pub(crate) fn check(&self, partitions: &Partitions) -> Result<(), &'static str> {
        for commit in self.in_flight.waiting().into_iter().flatten() {
            let window = partitions.current(commit.partition, commit.epoch).and_then(Assignment::window);
            ensure(window.is_none_or(|window| window.covers(&commit.offset)), "committed ≤ written")?;
        }
        Ok(())
    }

    pub(crate) fn situation(&self, partitions: &Partitions) -> [u64; 2] {
        let offsets = self.in_flight.waiting().into_iter().flatten();
        let is_current = |it: &OffsetCommit| partitions.current(it.partition, it.epoch).is_some();
        let commits = offsets.map(|commit| 1 + u64::from(is_current(commit))).sum();
        [commits, u64::from(self.retries.retries())]
    }
}
