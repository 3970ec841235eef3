//! The handshake of a revocation: nothing more is accepted, what was read is written and committed, then
//! the group may have the partitions. The other partitions go on.

use alloc::vec::Vec;
use core::mem;

use cdc_machine::{EffectId, Epoch, Plant, ensure, planted};

use crate::context::{Context, Timers};
use crate::partitions::{Assignment, Partitions, Window};
use crate::writers::Writers;
use crate::{Effect, Partition, TimerKind};

/// What the group wants back. Usually one revocation at most: the group asks again only once it has its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Revocations {
    pending: Vec<Revocation>,
}

/// By assignment: what the group gives again meanwhile is not meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Revocation {
    id: EffectId,
    partitions: Vec<(Partition, Epoch)>,
}

impl Revocations {
    pub(crate) fn on_revoking<R: Clone>(
        &mut self,
        id: EffectId,
        revoked: &[Partition],
        partitions: &mut Partitions,
        writers: &mut Writers<R>,
    ) {
        let revoke = |partition: &Partition| partitions.revoke(*partition);
        let partitions: Vec<_> = revoked.iter().filter_map(revoke).collect();
        writers.make_due(&partitions);
        self.pending.push(Revocation { id, partitions });
    }

    /// The group would take the partitions anyway. Whatever is not committed, their next owner reads again.
    pub(crate) fn on_deadline<R>(&mut self, partitions: &mut Partitions, cx: &mut Context<'_, R>) {
        for revocation in mem::take(&mut self.pending) {
            revocation.confirm(partitions, cx);
        }
    }

    /// Confirms what is settled and committed, and times what is not.
    pub(crate) fn end<R>(&mut self, partitions: &mut Partitions, cx: &mut Context<'_, R>) {
        self.pending.retain(|revocation| {
            let is_recorded = revocation.is_recorded(partitions);
            if is_recorded {
                revocation.confirm(partitions, cx);
            }
            !is_recorded
        });
        cx.run_timer_while(self.is_any(), TimerKind::Revocation, cx.config.revocation_deadline);
    }

    pub(crate) const fn is_any(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The consumer is dead: nobody waits for an answer.
    pub(crate) fn forget(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn check(&self, timers: &Timers) -> Result<(), &'static str> {
        ensure(self.is_any() == timers.is_running(TimerKind::Revocation), "a revocation has its deadline")
    }

    pub(crate) fn situation(&self) -> u64 {
        self.pending.iter().map(|revocation| 1 + revocation.partitions.len() as u64).sum()
    }
}

impl Revocation {
    fn is_recorded(&self, partitions: &Partitions) -> bool {
        self.partitions.iter().all(|(partition, epoch)| {
            let window = partitions.current(*partition, *epoch).and_then(Assignment::window);
            window.map_or(0, Window::records) == 0 || planted(Plant::RevokeConfirmedEarly)
        })
    }

    fn confirm<R>(&self, partitions: &mut Partitions, cx: &mut Context<'_, R>) {
        for (partition, epoch) in &self.partitions {
            if partitions.current(*partition, *epoch).is_some() {
                partitions.lose(*partition);
            }
        }
        cx.order(Effect::ConfirmRevoked { id: self.id });
    }
}
