//! What a fault means, by the neighbour that it came from.

use cdc_machine::{Cause, Dependency, Fault};

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again after a back-off; where no retry is left, end for this cause.
    Retry(Cause),
    /// End, for this cause.
    End(Cause),
}

impl Verdict {
    pub(crate) const fn on_source(fault: Fault) -> Self {
        match fault {
            Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Blocked => {
                Self::Retry(Cause::Unavailable(Dependency::MongoDb))
            }
            Fault::Unfit => Self::Retry(Cause::Unsupported(Dependency::MongoDb)),
            Fault::HistoryLost => Self::End(Cause::HistoryLost),
            Fault::Auth => Self::End(Cause::Refused(Dependency::MongoDb)),
            // Without its documents, where the policy is to go on.
            Fault::TooLarge => Self::End(Cause::BadRecord),
            Fault::Poison | Fault::Fenced | Fault::Fatal => Self::End(Cause::Failed(Dependency::MongoDb)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
        }
    }

    /// A fenced producer is of no use, but a new one is; a topic that is gone is made anew, and missed.
    pub(crate) const fn on_kafka(fault: Fault) -> Self {
        match fault {
            Fault::Transient
            | Fault::Unreachable
            | Fault::RetryNow
            | Fault::Blocked
            | Fault::Fenced
            | Fault::HistoryLost => Self::Retry(Cause::Unavailable(Dependency::Kafka)),
            Fault::Auth => Self::End(Cause::Refused(Dependency::Kafka)),
            Fault::Unfit => Self::Retry(Cause::Unsupported(Dependency::Kafka)),
            Fault::Poison | Fault::TooLarge | Fault::Fatal => Self::End(Cause::Failed(Dependency::Kafka)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
        }
    }

    pub(crate) const fn on_token_store(fault: Fault, store: Dependency) -> Self {
        match fault {
            Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Blocked => {
                Self::Retry(Cause::Unavailable(store))
            }
            Fault::Unfit => Self::Retry(Cause::Unsupported(store)),
            Fault::Fenced => Self::End(Cause::LeaseLost),
            Fault::Auth => Self::End(Cause::Refused(store)),
            // Its record cannot be read: the position is lost.
            Fault::HistoryLost => Self::End(Cause::TokenDamaged),
            Fault::Poison | Fault::TooLarge | Fault::Fatal => Self::End(Cause::Failed(store)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
        }
    }
}
