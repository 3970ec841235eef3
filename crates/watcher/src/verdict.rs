//! What a fault means to the Watcher, where its neighbour makes a difference.

use cdc_machine::{Cause, Dependency, Fault, Verdict};

pub(crate) const fn on_source(fault: Fault) -> Verdict {
    if matches!(fault, Fault::HistoryLost) {
        Verdict::End(Cause::HistoryLost)
    } else if matches!(fault, Fault::TooLarge) {
        // Without its documents, where the policy is to go on.
        Verdict::End(Cause::BadRecord)
    } else {
        Verdict::on(fault, Dependency::MongoDb)
    }
}

/// A fenced producer is of no use, but a new one is; a topic that is gone is made anew, and missed.
pub(crate) const fn on_kafka(fault: Fault) -> Verdict {
    if matches!(fault, Fault::Fenced | Fault::HistoryLost) {
        Verdict::again(fault, Dependency::Kafka)
    } else {
        Verdict::on(fault, Dependency::Kafka)
    }
}

pub(crate) const fn on_token_store(fault: Fault, store: Dependency) -> Verdict {
    if matches!(fault, Fault::Fenced) {
        Verdict::End(Cause::LeaseLost)
    } else if matches!(fault, Fault::HistoryLost) {
        // Its record cannot be read: the position is lost.
        Verdict::End(Cause::TokenDamaged)
    } else {
        Verdict::on(fault, store)
    }
}
