//! Asking the ledger from time to time whether the partitions are still ours, and where we left them. Batches
//! and commits notice it by themselves; a partition without traffic would not, and a database that was
//! restored from a copy would lack its rows until its next record, and so would a table that somebody has replaced.

use alloc::vec::Vec;

use cdc_machine::{Asked, EffectId, Epoch};

use crate::context::Context;
use crate::outage::Outage;
use crate::partitions::{Partitions, Stage};
use crate::{Effect, Partition, TimerKind};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LedgerChecks {
    /// With the assignments that the question is about.
    under_way: Asked<Vec<(Partition, Epoch)>>,
}

impl LedgerChecks {
    /// Sees that the timer runs exactly while partitions are served and no answer is pending.
    pub(crate) fn time<R>(&self, partitions: &Partitions, cx: &mut Context<'_, R>) {
        let every = cx.config.ledger_check;
        let is_serving = || partitions.iter().any(|(_, it)| matches!(it.stage, Stage::Serving(_)));
        if every.is_zero() || !partitions.is_member() || !is_serving() {
            cx.cancel_timer(TimerKind::LedgerCheck);
        } else if !self.under_way.is_out() && !cx.is_running(TimerKind::LedgerCheck) {
            cx.set_timer(TimerKind::LedgerCheck, every);
        }
    }

    pub(crate) fn on_due<R>(&mut self, partitions: &Partitions, cx: &mut Context<'_, R>) {
        let served = partitions.iter().filter(|(_, it)| matches!(it.stage, Stage::Serving(_)));
        let partitions: Vec<_> = served.map(|(partition, it)| (partition, it.epoch)).collect();
        if !partitions.is_empty() {
            let id = self.under_way.ask(cx.ids, partitions.clone());
            cx.order(Effect::CheckLedger { id, partitions });
        }
    }

    /// The assignments that the question was about that the reply is for.
    pub(crate) fn finish<R>(
        &mut self,
        id: EffectId,
        cx: &mut Context<'_, R>,
    ) -> Option<Vec<(Partition, Epoch)>> {
        self.under_way.answer(id, cx.ids)
    }

    pub(crate) fn situation(&self, partitions: &Partitions, outage: &Outage) -> [u64; 2] {
        let Some((id, asked)) = self.under_way.id().zip(self.under_way.waiting()) else { return [0; 2] };
        let is_current = |(partition, epoch): &&_| partitions.current(*partition, *epoch).is_some();
        [1 + asked.iter().filter(is_current).count() as u64, u64::from(outage.is_late(id))]
    }
}
