//! What a fault means, by the neighbour that it came from.

use cdc_machine::{Cause, Dependency, Fault};

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultVerdict {
    /// Try again after a back-off; where no retry is left, end for this cause.
    Retry(Cause),
    /// End, for this cause.
    End(Cause),
}

impl FaultVerdict {
    pub(crate) const fn on_source(fault: Fault) -> Self {
        let from = Dependency::MongoDb;
        match fault {
            Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Blocked | Fault::Unfit => {
                Self::Retry(Cause::after_retries(fault, from))
            }
            Fault::HistoryLost => Self::End(Cause::HistoryLost),
            Fault::Auth => Self::End(Cause::Refused(from)),
            // Without its documents, where the policy is to go on.
            Fault::TooLarge => Self::End(Cause::BadRecord),
            Fault::Poison | Fault::Fenced | Fault::Fatal => Self::End(Cause::Failed(from)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
        }
    }

    /// A fenced producer is of no use, but a new one is; a topic that is gone is made anew, and missed.
    pub(crate) const fn on_kafka(fault: Fault) -> Self {
        let from = Dependency::Kafka;
        match fault {
            Fault::Transient
            | Fault::Unreachable
            | Fault::RetryNow
            | Fault::Blocked
            | Fault::Fenced
            | Fault::HistoryLost
            | Fault::Unfit => Self::Retry(Cause::after_retries(fault, from)),
            Fault::Auth => Self::End(Cause::Refused(from)),
            Fault::Poison | Fault::TooLarge | Fault::Fatal => Self::End(Cause::Failed(from)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
        }
    }

    pub(crate) const fn on_token_store(fault: Fault, store: Dependency) -> Self {
        match fault {
            Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Blocked | Fault::Unfit => {
                Self::Retry(Cause::after_retries(fault, store))
            }
            Fault::Fenced => Self::End(Cause::LeaseLost),
            Fault::Auth => Self::End(Cause::Refused(store)),
            // Its record cannot be read: the position is lost.
            Fault::HistoryLost => Self::End(Cause::TokenDamaged),
            Fault::Poison | Fault::TooLarge | Fault::Fatal => Self::End(Cause::Failed(store)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
        }
    }
}
