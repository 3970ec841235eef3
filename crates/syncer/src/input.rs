//! What inputs carry: records, what the ledger says of a partition, and what became of a batch or a retry.

use alloc::sync::Arc;
use alloc::vec::Vec;

use cdc_machine::{Epoch, Fault, Reply, SeqNo, labels};

use crate::{Hold, Partition, WorkerId};

/// One polled record. `R` is its handle; the machine does not look into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record<R> {
    /// Where it was read.
    pub partition: Partition,
    /// The assignment that it was read under.
    pub epoch: Epoch,
    /// Its offset. Gaps between offsets are normal.
    pub offset: i64,
    /// Hash of the message key: equal keys have equal routes, for ever.
    pub route: u64,
    /// Key and value, in bytes.
    pub bytes: u32,
    /// The record itself.
    pub handle: R,
}

/// What the ledger and the consumer group know of a partition when it is acquired.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acquired {
    /// Which partition.
    pub partition: Partition,
    /// The assignment that it was acquired for.
    pub epoch: Epoch,
    /// `next_offset` of the ledger in PostgreSQL; `None` where it has no row yet.
    pub ledger: Option<i64>,
    /// The group's committed offset in Kafka; `None` where there is none.
    pub group: Option<i64>,
    /// What the log holds.
    pub log: LogBounds,
    /// Where the log ended when it had last been seen read to its end.
    pub end_seen: Option<i64>,
    /// How many of its rows are parked, by the worker that they route to; those without any are left out.
    pub parked: Vec<(WorkerId, u64)>,
}

/// Rows of the ledger that are ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    /// Their partitions. Those that the log does not have are left out.
    pub partitions: Vec<Acquired>,
    /// Those whose tables cannot be written.
    pub held: Vec<Hold>,
}

/// What a look at partitions in hand has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LedgerCheck {
    /// Those that are not ours any more, or whose offset in the ledger is lower than we left it: the database was
    /// restored from a copy.
    pub refused: Vec<Partition>,
    /// Those whose tables cannot be written any more.
    pub held: Vec<Hold>,
}

/// How many rows of a partition and of the answering worker are parked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParkedRows {
    /// Which partition.
    pub partition: Partition,
    /// All of its parked rows that route to the worker.
    pub rows: u64,
}

/// The offsets that a partition's log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogBounds {
    /// The first one that is kept.
    pub first: i64,
    /// The one that the next record will get.
    pub end: i64,
}

impl LogBounds {
    /// True where reading can go on at this offset.
    pub(crate) const fn holds(self, offset: i64) -> bool {
        self.first <= offset && offset <= self.end
    }
}

labels! {
    /// Why a record was not written: a closed list, the label of metrics and dead letters.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Reject {
        /// Not a message of this format.
        Malformed: "malformed",
        /// A newer version of the format than this program knows.
        NewerVersion: "newer_version",
        /// It names another collection than its topic carries.
        WrongNamespace: "wrong_namespace",
        /// A field is absent or null, and the column allows neither.
        MissingValue: "missing_value",
        /// The value's type does not fit the column's.
        TypeConflict: "type_conflict",
        /// The value's type fits, its magnitude or length does not.
        OutOfRange: "out_of_range",
        /// A check constraint said no.
        CheckViolation: "check_violation",
        /// A foreign key said no.
        ForeignKeyViolation: "foreign_key_violation",
        /// A unique constraint other than the row's key said no.
        UniqueViolation: "unique_violation",
        /// An exclusion constraint said no.
        ExclusionViolation: "exclusion_violation",
        /// Too large for PostgreSQL.
        TooLarge: "too_large",
        /// PostgreSQL said no for another reason that belongs to the row.
        Database: "database",
    }
}

impl Reject {
    /// True where other rows stand in the way: nothing is wrong with the record itself.
    #[must_use]
    pub const fn is_of_other_rows(self) -> bool {
        matches!(self, Self::UniqueViolation | Self::ExclusionViolation | Self::ForeignKeyViolation)
    }
}

/// A SQLSTATE: what PostgreSQL answered, in five letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `None` where the text is none.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let bytes: [u8; 5] = code.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(Self(bytes))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Letters and digits of ASCII, so the fall-back is never taken.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl core::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that was not written while its neighbours were.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rejected {
    /// Its index in the batch.
    pub index: usize,
    /// Why.
    pub reason: Reject,
    /// What PostgreSQL answered, where it was asked.
    pub sqlstate: Option<SqlState>,
    /// Column, type and limit, for the log and the dead letter; never the value itself.
    pub detail: Arc<str>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's own line says what its fields are")]
pub enum WriteOutcome {
    /// Committed, and the commit verified. All rows but the rejected ones are in the table or parked, or a
    /// newer version of them is. `parked` leaves out the partitions whose parked rows are as before.
    Written { rejected: Vec<Rejected>, parked: Vec<ParkedRows> },
    /// These partitions are owned by somebody else now: nothing was written.
    Refused { partitions: Vec<Partition> },
    /// The tables of these partitions cannot be written: nothing was. Partitions that the batch has no rows of may
    /// be among them.
    Held { holds: Vec<Hold> },
    /// Nothing was written, or nobody knows; writing it again does no harm. `reason`, `sqlstate` and `detail`
    /// are for the dead letter if the batch comes down to one row.
    Failed { fault: Fault, reason: Reject, sqlstate: Option<SqlState>, detail: Arc<str> },
}

/// A parked row that waits for nothing: it cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RejectedParked<R> {
    /// The record that it came from.
    pub row: Row<R>,
    /// Why.
    pub reason: Reject,
    /// What PostgreSQL answered, where it was asked.
    pub sqlstate: Option<SqlState>,
    /// Column, type and limit, for the log and the dead letter; never the value itself.
    pub detail: Arc<str>,
    /// How often it was tried while it was parked.
    pub attempts: u32,
}

/// What became of a retry of parked rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's own line says what its fields are")]
pub enum RetryOutcome<R> {
    /// Committed, and the commit verified. `parked` names each partition that was asked for. `is_changed` where
    /// a row was written or deleted, or an older version taken out of its table: others may be free now. What is
    /// `rejected` failed for a reason of its own, and stays parked until it is given up.
    Done { parked: Vec<ParkedRows>, is_changed: bool, rejected: Vec<RejectedParked<R>> },
    /// These partitions are owned by somebody else now: nothing was written.
    Refused { partitions: Vec<Partition> },
    /// The tables of these partitions cannot be written: nothing was.
    Held { holds: Vec<Hold> },
    /// Nothing was written, or nobody knows; trying again does no harm.
    Failed { fault: Fault },
}

impl Reply for WriteOutcome {
    fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Written { .. } => None,
            Self::Refused { .. } => Some("refused"),
            Self::Held { .. } => Some("held"),
            Self::Failed { fault, .. } => Some(fault.as_str()),
        }
    }
}

impl<R> Reply for RetryOutcome<R> {
    fn failure(&self) -> Option<&'static str> {
        match self {
            Self::Done { .. } => None,
            Self::Refused { .. } => Some("refused"),
            Self::Held { .. } => Some("held"),
            Self::Failed { fault } => Some(fault.as_str()),
        }
    }
}

/// Where a row of a batch came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row<R> {
    /// Where it was read.
    pub partition: Partition,
    /// The assignment that it was read under.
    pub epoch: Epoch,
    /// Its slot in the partition's window.
    pub seq: SeqNo,
    /// Its offset.
    pub offset: i64,
    /// Hash of the message key.
    pub route: u64,
    /// Key and value, in bytes.
    pub bytes: u32,
    /// The record itself.
    pub handle: R,
}
