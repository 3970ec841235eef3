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
        let from = Dependency::Postgres;
        match fault {
            Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Blocked | Fault::Unfit => {
                Self::Retry(Cause::after_retries(fault, from))
            }
            Fault::Auth => Self::End(Cause::Refused(from)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
            // Another process has our name in the group.
            Fault::Fenced => Self::End(Cause::LeaseLost),
            Fault::Poison | Fault::TooLarge | Fault::HistoryLost | Fault::Fatal => {
                Self::End(Cause::Failed(from))
            }
        }
    }

    /// A consumer that is fenced joins anew, once in a while: see `Config::fencing_window`. More often would only
    /// throw another process of its name out, for ever in turn.
    pub(crate) const fn on_group(fault: Fault) -> Self {
        let from = Dependency::Kafka;
        match fault {
            // Where an offset left the log under a fetch, the next acquisition sees the log's bounds and decides.
            Fault::Transient
            | Fault::Unreachable
            | Fault::RetryNow
            | Fault::Blocked
            | Fault::HistoryLost
            | Fault::Fenced
            | Fault::Unfit => Self::Retry(Cause::after_retries(fault, from)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
            Fault::Auth => Self::End(Cause::Refused(from)),
            Fault::Poison | Fault::TooLarge | Fault::Fatal => Self::End(Cause::Failed(from)),
        }
    }

    /// A fenced commit is not the end: a rebalance is under way, or some partitions have a new owner.
    pub(crate) const fn on_commit(fault: Fault, from: Dependency) -> Self {
        match fault {
            Fault::Transient
            | Fault::Unreachable
            | Fault::RetryNow
            | Fault::Blocked
            | Fault::Fenced
            | Fault::Unfit => Self::Retry(Cause::after_retries(fault, from)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
            Fault::Auth => Self::End(Cause::Refused(from)),
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

    /// What the service ends for, now or where no retry is left.
    pub(crate) const fn cause(self) -> Cause {
        match self {
            Self::Retry(cause) | Self::End(cause) => cause,
        }
    }
}
