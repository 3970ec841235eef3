//! What the token record holds for a Watcher that takes its lease, or why it is not to be had.

use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{FailureWord, Fault, Lineage};

use crate::{Known, Notice};

/// What comes with the lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken<R, T> {
    /// What the record holds.
    pub saved: Saved<T>,
    /// The control messages of its gaps that Kafka may not have.
    pub unannounced: Vec<Notice<R>>,
    /// The lineage that a new record would get.
    pub fresh: Lineage,
}

/// What the token record holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Saved<T> {
    /// There is no record, or it never held a position.
    Nothing,
    /// There was a position, which a damaged record has lost.
    Lost,
    /// A position.
    Position(Checkpoint<T>),
}

/// A position with the lineage that its record was made under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint<T> {
    /// Where to go on: after this token.
    pub token: T,
    /// When the record was first made.
    pub lineage: Lineage,
    /// The watched collections, in the configuration's order; `None` for one that the record does not name.
    pub known: Vec<Option<Known>>,
}

/// Why the lease is not ours. The record was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's own line says what its fields are")]
pub enum LeaseRefusal {
    /// Somebody else holds it for at most this long.
    Held { expires_in: Duration },
    /// The record was made for another source or topic.
    OtherSource,
    /// The record is damaged.
    Damaged,
    /// The record was written by a newer release.
    Unreadable,
    /// The store did not answer, or in a way that no record explains.
    Failed(Fault),
}

impl FailureWord for LeaseRefusal {
    fn word(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::OtherSource => "other_source",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
            Self::Failed(fault) => fault.as_str(),
        }
    }
}
