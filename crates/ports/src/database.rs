use std::future::Future;
use std::time::SystemTime;

use cdc_machine::Epoch;
use cdc_syncer::{
    Batch, Held, LedgerCheck, OffsetGap, Parking, Partition, RetryOutcome, WorkerId, WriteOutcome,
};

use crate::{Failure, KafkaRecord, TopicPartition, WriteCounts};

/// A partition to take in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerClaim {
    /// The machine's number.
    pub partition: Partition,
    /// The assignment.
    pub epoch: Epoch,
    /// What the number stands for.
    pub name: TopicPartition,
}

/// What the ledger has of a partition that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The first offset that is not yet written; `None` where the ledger had no row.
    pub next_offset: Option<i64>,
    /// Where the log ended when it had last been seen read to its end.
    pub end_seen: Option<i64>,
    /// How many rows are parked, by the worker that they route to; those without any are left out.
    pub parked: Vec<(WorkerId, u64)>,
    /// Why the table of its topic cannot be written, where it cannot.
    pub held: Option<Held>,
}

/// Tables that are written, but not as safely as they could be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesAtRisk {
    /// Without the column `cdc_position`, and so without the fence.
    pub unfenced: Vec<String>,
    /// Unlogged: a crash of the server empties them.
    pub unlogged: Vec<String>,
}

/// The keys of one worker: those whose route, divided by the number of workers, leaves the worker's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which worker.
    pub worker: WorkerId,
    /// How many workers there are.
    pub of: u32,
}

/// An offset to record in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerCommit {
    /// The machine's number.
    pub partition: Partition,
    /// The assignment.
    pub epoch: Epoch,
    /// The first offset that is not yet written.
    pub next_offset: i64,
}

/// The answer to one batch.
#[derive(Debug)]
pub struct WriteReply {
    /// For the machine.
    pub outcome: WriteOutcome,
    /// For the log and the metrics; all zero unless written.
    pub counts: WriteCounts,
    /// When its transaction began; `None` where there was none.
    pub begun: Option<SystemTime>,
    /// The tables that it wrote, where one of its events is sampled.
    pub tables: Vec<String>,
    /// The text behind a failed outcome.
    pub failure: Option<Failure>,
}

/// What a retry of parked rows did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryCounts {
    /// Parked rows tried.
    pub tried: u64,
    /// Written to their table or deleted there, or found outdated: they are parked no longer.
    pub resolved: u64,
    /// Older versions taken out of their table, so that the values that their documents gave up are free.
    pub evicted: u64,
    /// Still parked, of those tried, with those that fail for a reason of their own.
    pub blocked: u64,
    /// What stood in the way of one of these: the constraint or the reason, without values.
    pub why: Option<String>,
}

/// The answer to one retry of parked rows.
#[derive(Debug)]
pub struct RetryReply {
    /// For the machine.
    pub outcome: RetryOutcome<KafkaRecord>,
    /// For the log and the metrics; all zero unless done.
    pub counts: RetryCounts,
    /// The text behind a failed outcome.
    pub failure: Option<Failure>,
}

/// The Syncer's way into PostgreSQL: the pool, the ledger and the tables. Clones are handles to the same pool.
pub trait Database: Clone + Send + Sync + 'static {
    /// Opens the pool, sees to the bookkeeping schema and reads the catalog.
    ///
    /// # Errors
    /// Whatever keeps it from doing so, classified.
    fn connect(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Takes the partitions' rows: waits for a former owner's write in flight, and refuses its later ones.
    /// Returns what the ledger has of each, in the same order, with the parked rows of each of so many workers, and
    /// what keeps its table from being written. A table that is not there yet is no reason where it may be made.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified.
    fn acquire(
        &self,
        claims: &[LedgerClaim],
        workers: u32,
    ) -> impl Future<Output = Result<Vec<LedgerEntry>, Failure>> + Send;

    /// Writes a batch in one transaction that first holds its partitions' rows, and verifies the commit.
    /// Waits for a free connection where the pool is exhausted. All keys are of this share.
    fn write(
        &self,
        batch: &Batch<KafkaRecord>,
        share: Share,
        parking: Parking,
    ) -> impl Future<Output = WriteReply> + Send;

    /// Tries parked rows of these partitions and this share again, in one transaction that first holds the
    /// partitions' rows. Of a row that still waits for a value it takes the older version out of its table.
    /// `given_up` are partition and offset of records whose parked rows are to go: they are put aside.
    fn retry_parked(
        &self,
        share: Share,
        partitions: &[(Partition, Epoch)],
        given_up: &[(Partition, i64)],
    ) -> impl Future<Output = RetryReply> + Send;

    /// Records offsets. Returns the partitions that are owned by somebody else now; the others are recorded.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified; then nothing is recorded, or nobody knows.
    fn record(
        &self,
        offsets: &[LedgerCommit],
    ) -> impl Future<Output = Result<Vec<Partition>, Failure>> + Send;

    /// Moves offsets behind gaps and records those, in one transaction. Returns the partitions that are owned
    /// by somebody else now; the others are moved.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified; then nothing is moved, or nobody knows.
    fn move_offsets(
        &self,
        gaps: &[OffsetGap],
    ) -> impl Future<Output = Result<Vec<Partition>, Failure>> + Send;

    /// Asks whether partitions are still ours, and their tables still the ones that they were.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified.
    fn check(
        &self,
        partitions: &[(Partition, Epoch)],
    ) -> impl Future<Output = Result<LedgerCheck, Failure>> + Send;

    /// The tables that are written at a risk, as far as they are known.
    fn tables_at_risk(&self) -> TablesAtRisk;

    /// Records that these offsets are where their logs end: everything in them is written. It changes no offset, and
    /// says nothing of partitions that are not ours or stand elsewhere by now.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified.
    fn saw_ends(&self, ends: &[LedgerCommit]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Asks how many gaps of the group are open: a sign of life for the health of a service that has nothing to do,
    /// and how it is known that a person has acknowledged them.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, classified.
    fn open_gaps(&self) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Closes the pool.
    fn close(&self) -> impl Future<Output = ()> + Send;
}
