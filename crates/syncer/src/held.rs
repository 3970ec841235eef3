//! Why a topic is held, for the machine and for people.

use alloc::sync::Arc;

use cdc_machine::{Cause, Epoch, labels};

use crate::Partition;

labels! {
    /// Why a topic cannot be written: a closed list, the label of the metric.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum HoldReason {
        /// It has no column for the position yet, and another session's lock keeps it from being added.
        Locked: "locked",
        /// It has no column for the position, and somebody else has to add it.
        NotFenced: "not_fenced",
        /// It is claimed for another collection or by another consumer group.
        Claimed: "claimed",
        /// It is not there, and may not be made.
        TableMissing: "table_missing",
        /// It was there, and is gone.
        TableDropped: "table_dropped",
        /// Another table has its name now.
        TableReplaced: "table_replaced",
        /// It is unlogged, and a crash of the server has emptied it.
        TableEmptied: "table_emptied",
        /// Its shape does not allow it.
        Unwritable: "unwritable",
        /// The name is longer than PostgreSQL keeps.
        NameTooLong: "name_too_long",
        /// So many of the topic's last records are bad that to go on would empty it into the dead letters.
        TooManyBadRecords: "too_many_bad_records",
        /// As many of the topic's rows are parked as may be.
        ParkedFull: "parked_full",
        /// The role lacks a privilege on it, or on something that it needs.
        NoPrivilege: "no_privilege",
    }
}

impl HoldReason {
    /// True where time alone mends it: no policy ends the service for it.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Locked)
    }

    /// Why the service ends, where that is the policy.
    pub(crate) const fn cause(self) -> Cause {
        if matches!(self, Self::TooManyBadRecords) {
            Cause::TooManyBadRecords
        } else if matches!(self, Self::ParkedFull) {
            Cause::ParkedFull
        } else {
            Cause::TableUnwritable
        }
    }
}

/// A partition whose table cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Which partition.
    pub partition: Partition,
    /// The assignment.
    pub epoch: Epoch,
    /// Why.
    pub reason: HoldReason,
    /// The table, what is wrong with it and the way out, for people.
    pub detail: Arc<str>,
}

/// Why a partition is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Why.
    pub reason: HoldReason,
    /// The table, what is wrong with it and the way out, for people.
    pub detail: Arc<str>,
}
