//! What effects carry: where fetching begins, the rows of a batch, offsets, gaps; and who failed to carry one out.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use cdc_machine::{Dependency, Epoch, FailureWord, Fault, Settled, labels};

use crate::{Partition, Row};

/// Proof that PostgreSQL has everything of a partition below an offset.
pub type WrittenOffset = Settled<i64>;

/// Where fetching begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartOffset {
    /// The log's first record.
    Beginning,
    /// This offset.
    At(i64),
}

labels! {
    /// Why the offset to go on from is not in the log.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum OffsetLoss {
        /// Records were deleted before they were read.
        Expired: "expired",
        /// The log ends before it: the topic was made anew, or lost its end.
        Truncated: "truncated",
    }
}

/// A gap to record, and where its partition goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OffsetGap {
    /// Which partition.
    pub partition: Partition,
    /// The assignment.
    pub epoch: Epoch,
    /// The offset that was to be read next.
    pub from: i64,
    /// The offset that is read next.
    pub to: i64,
    /// Why; `None` where nothing was lost: a log that had been read to its end was replaced by another one.
    pub loss: Option<OffsetLoss>,
}

/// A partition to fetch from now on. Its records carry the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FetchStart {
    /// Which partition.
    pub partition: Partition,
    /// The assignment.
    pub epoch: Epoch,
    /// Where to begin.
    pub offset: StartOffset,
}

/// Rows for one worker's writer. A bisected batch shares the rows and narrows the range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch<R> {
    rows: Arc<Vec<Row<R>>>,
    range: Range<usize>,
}

impl<R> Batch<R> {
    /// All of these rows.
    #[must_use]
    pub fn new(rows: Vec<Row<R>>) -> Self {
        let range = 0..rows.len();
        Self { rows: Arc::new(rows), range }
    }

    /// The rows, in the order in which they were read.
    #[must_use]
    pub fn rows(&self) -> &[Row<R>] {
        self.rows.get(self.range.clone()).unwrap_or_default()
    }

    /// Both halves, in order; `None` where there is nothing to halve.
    #[must_use]
    pub fn halves(&self) -> Option<(Self, Self)> {
        if self.range.len() < 2 {
            return None;
        }
        let middle = self.range.start + self.range.len() / 2;
        Some((
            Self { rows: Arc::clone(&self.rows), range: self.range.start..middle },
            Self { rows: Arc::clone(&self.rows), range: middle..self.range.end },
        ))
    }
}

/// What a write does about parked rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Parking {
    /// None of the batch's keys has a parked row: nothing is looked up. A blocked row fails the batch.
    Off,
    /// Some may have: a parked row fences like one in its table, and a newer one takes its place. A blocked
    /// row fails the batch.
    Fence,
    /// The same, and blocked rows are parked while their neighbours are written.
    Park,
}

/// An offset to record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OffsetCommit {
    /// Which partition.
    pub partition: Partition,
    /// The assignment.
    pub epoch: Epoch,
    /// The first offset that is not yet written, with its proof.
    pub offset: WrittenOffset,
}

/// Who failed to carry out a request that both have a part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FailedBy {
    /// Kafka or PostgreSQL.
    pub from: Dependency,
    /// How.
    pub fault: Fault,
}

impl FailureWord for FailedBy {
    fn word(&self) -> &'static str {
        self.fault.as_str()
    }
}

/// Why offsets were not recorded, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommitFailure {
    /// Kafka or PostgreSQL.
    pub from: Dependency,
    /// How.
    pub fault: Fault,
    /// These are owned by somebody else now.
    pub refused: Vec<Partition>,
}

impl FailureWord for CommitFailure {
    fn word(&self) -> &'static str {
        self.fault.as_str()
    }
}
