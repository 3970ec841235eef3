//! A PostgreSQL that is out of reach. Writes, retries of parked rows and the questions to the ledger share one schedule,
//! that of a connection, so that ten workers that fail at once use up one retry. Commits and acquisitions, of which there
//! is one at a time, count their own on the same schedule; whatever gets through has all of them try at once.

use core::time::Duration;

use cdc_machine::{Backoff, Cause, Dependency, EffectId, Fault};

use crate::TimerKind;
use crate::turn::Turn;
use crate::worker::Worker;

/// True where it was not PostgreSQL, or not the database, that answered, if anybody did.
pub(crate) const fn is_out_of_reach(fault: Fault) -> bool {
    matches!(fault, Fault::Unreachable | Fault::Unfit)
}

/// How long PostgreSQL has been out of reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outage {
    /// Retries used since it last did as it was asked.
    pub(crate) retries: Backoff,
    /// The wait in front of the last of them.
    wait: Duration,
    /// Requests with lower numbers were made before that wait ended.
    tried_from: EffectId,
}

impl Outage {
    /// True where the request was made before the last wait ended: it belongs to the try before.
    pub(crate) fn is_late(&self, request: EffectId) -> bool {
        self.retries.retries() > 0 && request < self.tried_from
    }
}

impl<R: Clone> Turn<'_, R> {
    /// The request could not reach PostgreSQL. What it was for waits, with everything else that does, for the next try;
    /// this is the end where none is left.
    pub(crate) fn on_out_of_reach(&mut self, request: EffectId, fault: Fault) -> Result<(), Cause> {
        if self.facts.timers.is_running(TimerKind::OutageRetry) {
            return Ok(());
        }
        let outage = &mut self.facts.outage;
        // One that is late to fail of the try before uses up no retry of its own.
        if !outage.is_late(request) {
            let next = outage.retries.next(self.config.retries.postgres_connect);
            outage.wait = next.ok_or_else(|| Cause::after_retries(fault, Dependency::Postgres))?;
        }
        let wait = outage.wait;
        self.set_timer(TimerKind::OutageRetry, wait);
        Ok(())
    }

    /// PostgreSQL did as it was asked, which a server that is still starting, or has not been promoted yet, does not.
    pub(crate) fn on_in_reach(&mut self) {
        self.facts.outage.retries.reset();
        if self.facts.timers.is_running(TimerKind::OutageRetry) {
            self.cancel_timer(TimerKind::OutageRetry);
            self.try_all_again();
            // These most likely wait for the same server: `settle` finds them due.
            self.cancel_timer(TimerKind::CommitRetry);
            self.cancel_timer(TimerKind::AcquireRetry);
        }
    }

    /// It answered a question, which a standby does, too: that says something only where nothing is to be written.
    pub(crate) fn on_question_answered(&mut self) {
        let is_anything_to_be_written =
            self.facts.parked.is_any_out_of_reach() || !self.facts.workers.iter().all(Worker::is_idle);
        if !is_anything_to_be_written {
            self.on_in_reach();
        }
    }

    pub(crate) fn on_outage_retry(&mut self) {
        self.try_all_again();
    }

    fn try_all_again(&mut self) {
        self.facts.outage.tried_from = self.facts.next_id();
        self.facts.workers.iter_mut().for_each(Worker::end_outage);
        self.facts.parked.end_outage();
    }
}
