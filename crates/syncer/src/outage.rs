//! A PostgreSQL that is out of reach. Writes, retries of parked rows and the questions to the ledger share one schedule,
//! that of a connection, so that ten workers that fail at once use up one retry. Commits and acquisitions, of which there
//! is one at a time, count their own on the same schedule; whatever gets through has all of them try at once.

use core::time::Duration;

use cdc_machine::{Backoff, Cause, Dependency, EffectId, Fault, Ids};

use crate::TimerKind;
use crate::context::Context;

/// True where it was not PostgreSQL, or not the database, that answered, if anybody did.
pub(crate) const fn is_out_of_reach(fault: Fault) -> bool {
    matches!(fault, Fault::Unreachable | Fault::Unfit)
}

/// How long PostgreSQL has been out of reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outage {
    /// Retries used since it last did as it was asked.
    retries: Backoff,
    /// The wait in front of the last of them.
    wait: Duration,
    /// Requests with lower numbers were made before that wait ended.
    tried_from: EffectId,
}

impl Outage {
    /// The request could not reach PostgreSQL. What it was for waits, with everything else that does, for the next try;
    /// this is the end where none is left.
    pub(crate) fn on_out_of_reach<R>(
        &mut self,
        request: EffectId,
        fault: Fault,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if cx.is_running(TimerKind::OutageRetry) {
            return Ok(());
        }
        // One that is late to fail of the try before uses up no retry of its own.
        if !self.is_late(request) {
            let next = self.retries.next(cx.config.retries.postgres_connect);
            self.wait = next.ok_or_else(|| Cause::after_retries(fault, Dependency::Postgres))?;
        }
        cx.set_timer(TimerKind::OutageRetry, self.wait);
        Ok(())
    }

    /// PostgreSQL did as it was asked, which a server that is still starting, or has not been promoted yet, does not.
    /// True where it was out of reach until now.
    pub(crate) fn end<R>(&mut self, cx: &mut Context<'_, R>) -> bool {
        self.retries.reset();
        let was_out_of_reach = cx.is_running(TimerKind::OutageRetry);
        cx.cancel_timer(TimerKind::OutageRetry);
        was_out_of_reach
    }

    /// Everything that waits for PostgreSQL is tried again: requests from now on belong to this try.
    pub(crate) const fn begin_try(&mut self, ids: &Ids) {
        self.tried_from = ids.next_effect();
    }

    /// True where the request was made before the last wait ended: it belongs to the try before.
    pub(crate) fn is_late(&self, request: EffectId) -> bool {
        self.retries.retries() > 0 && request < self.tried_from
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }
}
