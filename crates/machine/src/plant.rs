//! Bugs on purpose, by which the simulator proves that it finds bugs. They exist under the feature `plants` only, which
//! nothing but `cdc-model` asks for; without it [`planted`] is a constant, and the branch that it guards is gone.

use crate::{SeqNo, Watermark, labels};

labels! {
    /// A bug that can be planted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Plant {
        /// A message counts as acknowledged once it is handed to Kafka.
        SaveBeforeAck: "save before ack",
        /// An acknowledgement covers everything before it.
        NewestAck: "newest ack instead of prefix",
        /// An idle position covers what is in flight.
        IdlePastInFlight: "idle position past in-flight",
        /// A message that Kafka refused counts as delivered.
        SwallowedNack: "swallowed nack",
        /// A failed save is not tried again.
        SaveNotRetried: "save not retried when idle",
        /// The first event is read before the start is on record.
        StartNotSaved: "start position not saved first",
        /// A record counts as written once it is read.
        CommitBeforeWrite: "commit before write",
        /// A completion counts for whichever assignment of its partition there is.
        OldAssignment: "completion of an old assignment",
        /// A partition without a row in the ledger is read from its end.
        ResetToLatest: "reset to latest",
        /// A revocation is confirmed at once.
        RevokeConfirmedEarly: "revoke confirmed early",
        /// A batch refused for one of its partitions counts as written for the others.
        MixedBatch: "batch with mixed kept and revoked partitions",
        /// What was paused is not resumed.
        LeftPaused: "a partition left paused",
        /// Adapter: positions have no ordinal.
        ClusterTimeAlone: "cluster time alone as position",
        /// Adapter: the last of a batch's records of a row wins.
        LastWins: "last instead of greatest wins",
        /// Adapter: nobody asks the ledger who owns a partition.
        NoLedgerEpoch: "no ledger epoch",
        /// Adapter: a copy of the database is taken for the server that was written to.
        AnyServer: "a copy taken for the server",
        /// Adapter: a row is written whatever its version.
        NoFence: "no fence",
        /// Adapter: a tombstone is written after the delete is committed.
        TombstoneApart: "tombstone in another transaction",
        /// Adapter: rows of a batch go into the first row's table.
        OtherTable: "rows of one table in another's statement",
        /// Adapter: the directory of the token file is not synced.
        NoDirectoryFsync: "no directory fsync",
        /// Adapter: the token store takes writes of any owner.
        StoreIgnoresIncarnation: "a token store that ignores the incarnation",
    }
}

#[cfg(feature = "plants")]
mod choice {
    use core::sync::atomic::{AtomicU8, Ordering};

    use super::Plant;

    static PLANTED: AtomicU8 = AtomicU8::new(u8::MAX);

    /// Plants this bug, in place of the one before; `None`: none.
    pub fn plant(bug: Option<Plant>) {
        PLANTED.store(bug.map_or(u8::MAX, |bug| bug as u8), Ordering::Relaxed);
    }

    /// True where this bug is planted.
    #[must_use]
    pub fn planted(bug: Plant) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "plants")]
pub use choice::{plant, planted};

/// True where this bug is planted: never, in a program without the feature.
#[cfg(not(feature = "plants"))]
#[must_use]
pub const fn planted(_: Plant) -> bool {
    false
}

/// Slots before one that [`settle_through`] settles: as many as a small machine has.
const SLOTS: u64 = 64;

/// Of use to a planted bug alone: everything before a slot counts as answered.
pub fn settle_through<P: Clone>(window: &mut Watermark<P>, seq: SeqNo) {
    (seq.0.saturating_sub(SLOTS)..seq.0).for_each(|earlier| {
        window.settle(SeqNo(earlier));
    });
}
