//! What has to hold of the pipeline as a whole, whatever the world does. Each invariant stands here once, as a predicate
//! over what happened; every harness tells what happened and adds nothing of its own. The ids stand in
//! `specs/properties.md`.

use std::fmt;

use cdc_machine::labels;

mod delivery;
mod offsets;
mod rows;
mod topics;

pub use delivery::Delivery;
pub use offsets::Offsets;
pub use rows::{Known, Rows};
pub use topics::Topics;

labels! {
    /// An invariant, by its id.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Invariant {
        /// A saved token covers only changes that Kafka has or that a gap on record names.
        TokenCoversAcked: "S1",
        /// An offset, in the ledger or the group, covers only records that are applied, superseded, put aside or named by
        /// a gap.
        OffsetCoversWritten: "S2",
        /// A row's version never falls, deletes included.
        NoStaleRow: "S3",
        /// A row stands in the table of its own collection.
        OwnTable: "S4",
        /// A row holds what its document held, at its version or later.
        NoInvention: "S5",
        /// Within one opened stream, positions rise in each partition.
        TopicOrder: "S6",
        /// Once the world is well and still, every table equals its collection, but for what a gap names or no table
        /// takes.
        Convergence: "S7",
        /// A crash replays at most `max_replay_events`, unless the store itself lost a save.
        ReplayBound: "S8",
        /// No save of an earlier incarnation succeeds, unless the store itself rolled back.
        SavesFenced: "S9",
        /// Events and bytes in hand are within their bounds after every step.
        MemoryBound: "S10",
        /// A shutdown ends within its time, in any state, with any neighbour dead.
        ShutdownBound: "S11",
        /// Once the world is well, the pipeline comes to rest: nothing is held, parked or paused for ever.
        Progress: "S12",
        /// Nothing is given up that was not lost.
        GapsExplained: "S13",
        /// A revocation is confirmed once everything read of its partitions is recorded, or its deadline is over.
        Handover: "S14",
        /// Nothing is read before a position is on record.
        StartRecorded: "S15",
        /// What a machine says of itself holds, and it is only answered what it asked.
        Machine: "S16",
    }
}

impl Invariant {
    /// Its id in `specs/properties.md`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.as_str()
    }
}

/// An invariant that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}): {}", self.invariant.id(), self.invariant, self.what)
    }
}

/// The check of an invariant; the words are made only where it fails.
///
/// # Errors
/// The violation.
pub fn demand(holds: bool, invariant: Invariant, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}
