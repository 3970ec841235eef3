//! Offset commits: beside the stream, at most one in flight, over what is written without a gap.

use core::time::Duration;

use cdc_machine::{Cause, Dependency, EffectId, Fault};

use crate::facts::CommitInFlight;
use crate::partitions::{Assignment, Stage};
use crate::state::State;
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{Effect, OffsetCommit, Partition, TimerKind};

/// The wait before another commit while the group rebalances. It uses up no retry: the rebalance ends by
/// itself, or the consumer is told that it is out.
const REBALANCE_WAIT: Duration = Duration::from_secs(1);

impl<R: Clone> Turn<'_, R> {
    /// Commits what has advanced: spaced out while there is room, else at once.
    pub(crate) fn commit_advanced(&mut self, state: State) {
        if self.facts.commit.is_some() || self.facts.timers.is_running(TimerKind::CommitRetry) {
            return;
        }
        if self.facts.timers.is_running(TimerKind::CommitSpacing) && !self.is_commit_urgent(state) {
            return;
        }
        let offsets: alloc::vec::Vec<_> = self
            .facts
            .partitions
            .iter()
            .filter_map(|(partition, Assignment { epoch, stage })| match stage {
                Stage::Serving(window) | Stage::Revoking(window) => {
                    let offset = window.unsaved()?.clone();
                    Some(OffsetCommit { partition, epoch: *epoch, offset })
                }
                Stage::Waiting | Stage::Acquiring | Stage::Moving | Stage::Held | Stage::Full => None,
            })
            .collect();
        if offsets.is_empty() {
            return;
        }
        self.cancel_timer(TimerKind::CommitSpacing);
        let id = self.facts.new_id();
        self.facts.commit = Some(CommitInFlight { id, offsets: offsets.clone() });
        self.out.push(Effect::CommitOffsets { id, offsets });
    }

    pub(crate) fn on_committed(&mut self, id: EffectId) {
        let Some(commit) = self.take_commit(id) else { return };
        self.facts.retries.commit.reset();
        self.on_in_reach();
        for OffsetCommit { partition, epoch, offset } in commit.offsets {
            if let Some(Assignment { stage: Stage::Serving(window) | Stage::Revoking(window), .. }) =
                self.facts.partitions.get_mut(partition, epoch)
            {
                window.mark_saved(&offset);
            }
        }
        if !self.config.commit_spacing.is_zero() {
            self.set_timer(TimerKind::CommitSpacing, self.config.commit_spacing);
        }
    }

    pub(crate) fn on_commit_failed(
        &mut self,
        state: State,
        id: EffectId,
        from: Dependency,
        fault: Fault,
        refused: &[Partition],
    ) -> Result<(), Cause> {
        let Some(commit) = self.take_commit(id) else { return Ok(()) };
        let mut is_relinquished = false;
        for OffsetCommit { partition, epoch, .. } in commit.offsets {
            if refused.contains(&partition) {
                is_relinquished |= self.relinquish(state, partition, epoch);
            }
        }
        let verdict = Verdict::on_commit(fault, from);
        if matches!(verdict, Verdict::Retry(_))
            && self.facts.partitions.windows().all(|window| window.unsaved().is_none())
        {
            // Whatever the commit was about is gone.
            return Ok(());
        }
        if fault == Fault::Fenced {
            if !is_relinquished {
                self.set_timer(TimerKind::CommitRetry, REBALANCE_WAIT);
            }
            return Ok(());
        }
        let retry = self.config.retries.of(from);
        self.back_off(TimerKind::CommitRetry, verdict, |facts| &mut facts.retries.commit, retry)
    }

    fn take_commit(&mut self, id: EffectId) -> Option<CommitInFlight> {
        let commit = self.facts.commit.take_if(|commit| commit.id == id);
        if commit.is_none() {
            self.facts.ignore_reply(id);
        }
        commit
    }

    /// Somebody waits for the commit. A full lane does not: PostgreSQL is busy enough then.
    fn is_commit_urgent(&self, state: State) -> bool {
        matches!(state, State::Draining(_))
            || !self.facts.revocations.is_empty()
            || self.window_room().is_none()
    }
}
