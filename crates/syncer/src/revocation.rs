//! The handshake of a revocation: nothing more is accepted, what was read is written and committed, then
//! the group may have the partitions. The other partitions go on.

use cdc_machine::{EffectId, Epoch};

use crate::facts::Revocation;
use crate::partitions::{Partitions, Stage};
use crate::turn::Turn;
use crate::window::Window;
use crate::{Effect, Partition, TimerKind};

impl<R: Clone> Turn<'_, R> {
    pub(crate) fn on_revoking(&mut self, id: EffectId, partitions: &[Partition]) {
        let partitions = partitions.iter().filter_map(|partition| self.begin_revoking(*partition)).collect();
        let revocation = Revocation { id, partitions };
        for lane in &mut self.facts.workers {
            let last = lane
                .waiting
                .iter()
                .rposition(|row| revocation.partitions.contains(&(row.partition, row.epoch)));
            lane.due = lane.due.max(last.map_or(0, |last| last + 1));
        }
        self.facts.revocations.push(revocation);
    }

    /// Confirms what is settled and committed, and times what is not.
    pub(crate) fn end_revocations(&mut self) {
        let Self { facts, out, .. } = self;
        let partitions = &mut facts.partitions;
        facts.revocations.retain(|revocation| {
            let keep = !is_recorded(partitions, revocation);
            if !keep {
                confirm(partitions, revocation, out);
            }
            keep
        });
        if self.facts.revocations.is_empty() {
            self.cancel_timer(TimerKind::Revocation);
        } else if !self.facts.timers.is_running(TimerKind::Revocation) {
            self.set_timer(TimerKind::Revocation, self.config.revocation_deadline);
        }
    }

    /// The group would take the partitions anyway. Whatever is not committed, their next owner reads again.
    pub(crate) fn on_revocation_deadline(&mut self) {
        for revocation in core::mem::take(&mut self.facts.revocations) {
            confirm(&mut self.facts.partitions, &revocation, self.out);
        }
        self.facts.drop_stale_rows();
    }

    /// The assignment, where there is something to settle.
    fn begin_revoking(&mut self, partition: Partition) -> Option<(Partition, Epoch)> {
        let assignment = self.facts.partitions.remove(partition)?;
        match assignment.stage {
            Stage::Serving(window) | Stage::Revoking(window) => {
                self.facts.partitions.revoke(partition, assignment.epoch, window);
                Some((partition, assignment.epoch))
            }
            Stage::Waiting | Stage::Acquiring | Stage::Moving | Stage::Held | Stage::Full => None,
        }
    }
}

fn is_recorded(partitions: &Partitions, revocation: &Revocation) -> bool {
    revocation.partitions.iter().all(|(partition, epoch)| {
        partitions
            .get(*partition)
            .filter(|assignment| assignment.epoch == *epoch)
            .and_then(|assignment| assignment.window())
            .map_or(0, Window::records)
            == 0
    })
}

fn confirm<R>(
    partitions: &mut Partitions,
    revocation: &Revocation,
    out: &mut cdc_machine::Effects<Effect<R>>,
) {
    for (partition, epoch) in &revocation.partitions {
        if partitions.get_mut(*partition, *epoch).is_some() {
            partitions.remove(*partition);
        }
    }
    out.push(Effect::ConfirmRevoked { id: revocation.id });
}
