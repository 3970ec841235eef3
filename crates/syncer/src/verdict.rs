//! What a fault means, by the neighbour that it came from.

use cdc_machine::{Backoff, Cause, Dependency, Fault, Retry};

use crate::TimerKind;
use crate::context::Context;

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again after a back-off; where no retry is left, end for this cause.
    Retry(Cause),
    /// End, for this cause.
    End(Cause),
}

impl Verdict {
    pub(crate) const fn on_postgres(fault: Fault) -> Self {
        // Another process has our name in the group.
        Self::on(fault, Dependency::Postgres, Self::End(Cause::LeaseLost))
    }

    /// A consumer that is fenced joins anew, once in a while: see `Config::fencing_window`. More often would only
    /// throw another process of its name out, for ever in turn. Where an offset left the log under a fetch, the next
    /// acquisition sees the log's bounds and decides.
    pub(crate) const fn on_group(fault: Fault) -> Self {
        let again = Self::Retry(Cause::after_retries(fault, Dependency::Kafka));
        if matches!(fault, Fault::HistoryLost) { again } else { Self::on(fault, Dependency::Kafka, again) }
    }

    /// A fenced commit is not the end: a rebalance is under way, or some partitions have a new owner.
    pub(crate) const fn on_commit(fault: Fault, from: Dependency) -> Self {
        Self::on(fault, from, Self::Retry(Cause::after_retries(fault, from)))
    }

    const fn on(fault: Fault, from: Dependency, fenced: Self) -> Self {
        match fault {
            Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Blocked | Fault::Unfit => {
                Self::Retry(Cause::after_retries(fault, from))
            }
            Fault::Fenced => fenced,
            Fault::Auth => Self::End(Cause::Refused(from)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
            Fault::Poison | Fault::TooLarge | Fault::HistoryLost | Fault::Fatal => {
                Self::End(Cause::Failed(from))
            }
        }
    }

    /// Waits for another try as far as there are retries left; else this is the end.
    pub(crate) fn back_off<R>(
        self,
        timer: TimerKind,
        used: &mut Backoff,
        retry: Retry,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let exhausted = match self {
            Self::Retry(exhausted) => exhausted,
            Self::End(cause) => return Err(cause),
        };
        let wait = used.next(retry).ok_or(exhausted)?;
        cx.set_timer(timer, wait);
        Ok(())
    }

    /// The end, unless another try may be.
    pub(crate) const fn end(self) -> Result<(), Cause> {
        if let Self::End(cause) = self { Err(cause) } else { Ok(()) }
    }
}
