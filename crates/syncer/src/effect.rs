use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use cdc_machine::{Cause, EffectId, Epoch, Settled, TimerEffects, TimerId, timers};

use crate::{Partition, Reject, Row, SqlState, WorkerId};

/// Proof that PostgreSQL has everything of a partition below an offset.
pub type WrittenOffset = Settled<i64>;

timers! {
    /// What a timer is for.
    pub enum TimerKind {
        /// The end of a back-off in front of a reconnection.
        Reconnect: jitter,
        /// The end of a back-off in front of another write of this worker's batch.
        WriteRetry(WorkerId): jitter,
        /// The end of a back-off in front of whatever PostgreSQL was out of reach for.
        OutageRetry: jitter,
        /// The end of a back-off in front of another commit.
        CommitRetry: jitter,
        /// The end of a back-off in front of another dead letter.
        DeadLetterRetry: jitter,
        /// The end of a back-off in front of another look at the ledger.
        AcquireRetry: jitter,
        /// This worker's oldest row has lingered.
        Linger(WorkerId),
        /// This worker's oldest row is as old as a row may get.
        Flush(WorkerId),
        /// This worker's parked rows are to be tried again.
        ParkedRetry(WorkerId),
        /// The shortest time between two commits.
        CommitSpacing,
        /// No credit for so long that the partitions must be paused, so that the consumer can go on polling.
        Pause,
        /// The end of the group's patience with a revocation.
        Revocation,
        /// The time after a fencing within which another one means that a second process has our name.
        Fencing,
        /// Time to look again at what a person has to mend.
        HeldTable,
        /// Time to look again at the tables that somebody had locked.
        LockedTable,
        /// A topic that is tried again has had time to show whether its records can be written.
        Probe,
        /// Time to ask the ledger whether the partitions are still ours.
        LedgerCheck,
        /// The end of a drain's patience.
        Drain,
    }
}

/// Where fetching begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartOffset {
    /// The log's first record.
    Beginning,
    /// This offset.
    At(i64),
}

/// Why the offset to go on from is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetLoss {
    /// Records were deleted before they were read.
    Expired,
    /// The log ends before it: the topic was made anew, or lost its end.
    Truncated,
}

impl OffsetLoss {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Expired, Self::Truncated];

    /// The label in logs, metrics and the gap's record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Truncated => "truncated",
        }
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
    Heed,
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

/// An order to the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's own line says what its fields are")]
pub enum Effect<R> {
    /// Open the pool, see to the bookkeeping schema, read the catalog. Answered by `DatabaseReady` or
    /// `DatabaseFailed`.
    ConnectDatabase { id: EffectId },
    /// Subscribe (with a new consumer, where there was one). Answered by `Joined` or `JoinFailed`.
    JoinGroup { id: EffectId },
    /// Leave the group and close the consumer. Answered by `Left`.
    LeaveGroup { id: EffectId },

    /// Take the partitions' rows in the ledger, and look at their tables. Answered by `Acquired` or `AcquireFailed`.
    AcquirePartitions { id: EffectId, partitions: Vec<(Partition, Epoch)> },
    /// Record these gaps and move the ledger's offsets behind them, in one transaction. Answered by
    /// `OffsetsMoved` or `AcquireFailed`.
    MoveOffsets { id: EffectId, gaps: Vec<OffsetGap> },
    /// Ask the ledger whether these are still ours, at the offsets where we left them, and whether their tables
    /// are still the ones that they were. Answered by
    /// `LedgerChecked` or `LedgerCheckFailed`.
    CheckLedger { id: EffectId, partitions: Vec<(Partition, Epoch)> },
    /// Begin to fetch, or begin anew at another offset and epoch.
    StartFetching { starts: Vec<FetchStart> },
    /// Fetch these no longer, and drop what was fetched of them. They stay ours.
    StopFetching { partitions: Vec<Partition> },
    /// Read at most this much. Answered by one `Records`, as soon as there is one record.
    Fetch { max_records: u32, max_bytes: u64 },
    /// Stop fetching all partitions, but go on polling.
    Pause,
    /// Fetch them again.
    Resume,
    /// Let the group have these back. Answers `Revoking`.
    ConfirmRevoked { id: EffectId },

    /// Write these rows in one transaction. Answered by `BatchDone`.
    WriteBatch { worker: WorkerId, id: EffectId, batch: Batch<R>, parking: Parking },
    /// Try this worker's parked rows of these partitions again, as many as fit one transaction; of a row that
    /// still waits for a value, take the older version out of its table. Those of the records with these partitions
    /// and offsets are `given_up`: remove them in the same transaction. Answered by `ParkedRetried`.
    RetryParked {
        worker: WorkerId,
        id: EffectId,
        partitions: Vec<(Partition, Epoch)>,
        given_up: Vec<(Partition, i64)>,
    },
    /// Put a bad record aside, durably. Answered by `DeadLettered` or `DeadLetterFailed`.
    DeadLetter {
        id: EffectId,
        row: Row<R>,
        reason: Reject,
        sqlstate: Option<SqlState>,
        detail: Arc<str>,
        attempts: u32,
    },
    /// A bad record is given up by policy: log and count it. Not answered.
    Skip { row: Row<R>, reason: Reject, detail: Arc<str> },
    /// The record that the service ends at, by policy: log and count it; `Stop` follows. Not answered.
    StopAt { row: Row<R>, reason: Reject, detail: Arc<str> },
    /// Record offsets, in the ledger and then in Kafka. Answered by `Committed` or `CommitFailed`.
    CommitOffsets { id: EffectId, offsets: Vec<OffsetCommit> },

    /// Wake the machine after this long, once.
    SetTimer { timer: TimerId<TimerKind>, after: Duration },
    /// Do not.
    CancelTimer { timer: TimerId<TimerKind> },

    /// The service is over.
    Stop { cause: Cause },
}

impl<R> TimerEffects<TimerKind> for Effect<R> {
    fn set_timer(timer: TimerId<TimerKind>, after: Duration) -> Self {
        Self::SetTimer { timer, after }
    }

    fn cancel_timer(timer: TimerId<TimerKind>) -> Self {
        Self::CancelTimer { timer }
    }
}
