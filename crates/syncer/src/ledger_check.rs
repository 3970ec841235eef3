//! Asking the ledger from time to time whether the partitions are still ours, and where we left them. Batches
//! and commits notice it by themselves; a partition without traffic would not, and a database that was
//! restored from a copy would lack its rows until its next record, and so would a table that somebody has replaced.

use alloc::vec::Vec;

use cdc_machine::{Cause, EffectId, Fault};

use crate::facts::LedgerCheck;
use crate::outage::is_out_of_reach;
use crate::partitions::Stage;
use crate::state::State;
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{Effect, Hold, Partition, TimerKind};

impl<R: Clone> Turn<'_, R> {
    /// Sees that the timer runs exactly while partitions are served and no answer is owed.
    pub(crate) fn time_ledger_check(&mut self, state: State) {
        let every = self.config.ledger_check;
        if every.is_zero() || !state.has_consumer() || !self.facts.partitions.is_serving_any() {
            self.cancel_timer(TimerKind::LedgerCheck);
        } else if self.facts.ledger_check.is_none() && !self.facts.timers.is_running(TimerKind::LedgerCheck) {
            self.set_timer(TimerKind::LedgerCheck, every);
        }
    }

    pub(crate) fn on_ledger_check_due(&mut self) {
        let partitions: Vec<_> = self
            .facts
            .partitions
            .iter()
            .filter(|(_, assignment)| matches!(assignment.stage, Stage::Serving(_)))
            .map(|(partition, assignment)| (partition, assignment.epoch))
            .collect();
        if partitions.is_empty() {
            return;
        }
        let id = self.facts.new_id();
        self.facts.ledger_check = Some(LedgerCheck { id, partitions: partitions.clone() });
        self.out.push(Effect::CheckLedger { id, partitions });
    }

    pub(crate) fn on_ledger_checked(
        &mut self,
        state: State,
        id: EffectId,
        refused: &[Partition],
        held: Vec<Hold>,
    ) -> Result<(), Cause> {
        let Some(check) = self.take_ledger_check(id) else { return Ok(()) };
        self.on_question_answered();
        for (partition, epoch) in check.partitions {
            if refused.contains(&partition) {
                self.relinquish(state, partition, epoch);
            }
        }
        self.hold(state, held)
    }

    /// A question that was not answered is asked again in time. It uses up a retry where PostgreSQL is out of reach.
    pub(crate) fn on_ledger_check_failed(&mut self, id: EffectId, fault: Fault) -> Result<(), Cause> {
        if self.take_ledger_check(id).is_none() {
            return Ok(());
        }
        match Verdict::on_postgres(fault) {
            Verdict::Retry(_) if is_out_of_reach(fault) => self.on_out_of_reach(id, fault),
            Verdict::Retry(_) => Ok(()),
            Verdict::End(cause) => Err(cause),
        }
    }

    fn take_ledger_check(&mut self, id: EffectId) -> Option<LedgerCheck> {
        let taken = self.facts.ledger_check.take_if(|check| check.id == id);
        if taken.is_none() {
            self.facts.ignore_reply(id);
        }
        taken
    }
}
