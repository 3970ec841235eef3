//! What a fault means to the Syncer, where its neighbour makes a difference.

use cdc_machine::{Cause, Dependency, Fault, Verdict};

pub(crate) const fn on_postgres(fault: Fault) -> Verdict {
    if matches!(fault, Fault::Fenced) {
        // Another process has our name in the group.
        Verdict::End(Cause::LeaseLost)
    } else {
        Verdict::on(fault, Dependency::Postgres)
    }
}

/// A consumer that is fenced joins anew, once in a while: see `Config::fencing_window`. More often would only
/// throw another process of its name out, for ever in turn. Where an offset left the log under a fetch, the next
/// acquisition sees the log's bounds and decides.
pub(crate) const fn on_group(fault: Fault) -> Verdict {
    if matches!(fault, Fault::Fenced | Fault::HistoryLost) {
        Verdict::again(fault, Dependency::Kafka)
    } else {
        Verdict::on(fault, Dependency::Kafka)
    }
}

/// A fenced commit is not the end: a rebalance is under way, or some partitions have a new owner.
pub(crate) const fn on_commit(fault: Fault, from: Dependency) -> Verdict {
    if matches!(fault, Fault::Fenced) { Verdict::again(fault, from) } else { Verdict::on(fault, from) }
}
