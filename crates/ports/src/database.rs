use std::future::Future;

use cdc_event::Operation;
use cdc_machine::Epoch;
use cdc_syncer::{
    Batch, Held, LedgerCheck, OffsetGap, Parking, Partition, RetryOutcome, WorkerId, WriteOutcome,
};

use crate::{Failure, KafkaRecord, TopicPartition};

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

/// The kinds of control messages, in the order of [`WriteCounts::controls`].
pub const CONTROL_KINDS: [Operation; 5] =
    [Operation::SnapshotBegin, Operation::SnapshotEnd, Operation::Drop, Operation::Rename, Operation::Gap];

/// What became of the rows of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicRows {
    /// One of the topic's partitions.
    pub partition: Partition,
    /// Rows that were not there.
    pub inserted: u64,
    /// Rows that were there and older.
    pub updated: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Rows that were newer already.
    pub fenced: u64,
}

impl TopicRows {
    /// No row yet.
    #[must_use]
    pub const fn of(partition: Partition) -> Self {
        Self { partition, inserted: 0, updated: 0, deleted: 0, fenced: 0 }
    }

    /// Adds what became of others.
    pub fn add(&mut self, other: &Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.fenced += other.fenced;
    }

    /// How many of them were written.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }

    /// How many rows there were.
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.inserted + self.updated + self.deleted + self.fenced
    }
}

/// What a batch did, in rows. `inserted + updated + deleted + fenced + absent + parked + ignored + rejected` is
/// the number of records in the batch, less those that a newer record of the same batch replaced (`merged`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Rows that were not there.
    pub inserted: u64,
    /// Rows that were there and older.
    pub updated: u64,
    /// Rows deleted (or marked so).
    pub deleted: u64,
    /// Rows, parked rows or tombstones that were newer already.
    pub fenced: u64,
    /// Of these, the ones that met a higher lineage: no replay, but a source or a token record that was
    /// replaced.
    pub fenced_by_lineage: u64,
    /// Rows and deletes parked: other rows stand in their way.
    pub parked: u64,
    /// Parked rows that a newer write or delete took the place of.
    pub superseded: u64,
    /// Deletes of rows that were not there.
    pub absent: u64,
    /// Updates whose document was gone at look-up: they touch nothing.
    pub null_lookups: u64,
    /// Kafka tombstones, control messages, deletes under `deletes: ignore`.
    pub ignored: u64,
    /// The control messages among them, by [`CONTROL_KINDS`].
    pub controls: [u64; CONTROL_KINDS.len()],
    /// Records that a newer record of the same batch replaced.
    pub merged: u64,
    /// Statements that went by COPY.
    pub copied_statements: u64,
    /// Statements that went by a prepared `unnest`.
    pub prepared_statements: u64,
    /// Cluster time of the newest event written, in Unix seconds; 0 where there is none.
    pub newest_unix_seconds: u32,
    /// The same rows topic by topic, as far as that is known: rows that were written piece by piece around others may be
    /// missing here.
    pub by_topic: Vec<TopicRows>,
}

impl WriteCounts {
    /// Adds what another batch did, but for its topics: those are summed by name. Taken apart in full, so that a counter
    /// that is forgotten here does not compile.
    pub fn add(&mut self, other: &Self) {
        let Self {
            inserted,
            updated,
            deleted,
            fenced,
            fenced_by_lineage,
            parked,
            superseded,
            absent,
            null_lookups,
            ignored,
            controls,
            merged,
            copied_statements,
            prepared_statements,
            newest_unix_seconds,
            by_topic: _,
        } = other;
        self.inserted += inserted;
        self.updated += updated;
        self.deleted += deleted;
        self.fenced += fenced;
        self.fenced_by_lineage += fenced_by_lineage;
        self.parked += parked;
        self.superseded += superseded;
        self.absent += absent;
        self.null_lookups += null_lookups;
        self.ignored += ignored;
        for (sum, messages) in self.controls.iter_mut().zip(controls) {
            *sum += messages;
        }
        self.merged += merged;
        self.copied_statements += copied_statements;
        self.prepared_statements += prepared_statements;
        self.newest_unix_seconds = self.newest_unix_seconds.max(*newest_unix_seconds);
    }

    /// What has become of rows since `before` was taken is its topic's.
    pub fn attribute(&mut self, before: Option<TopicRows>) {
        let Some(TopicRows { partition, inserted, updated, deleted, fenced }) = before else { return };
        let rows = TopicRows {
            partition,
            inserted: self.inserted - inserted,
            updated: self.updated - updated,
            deleted: self.deleted - deleted,
            fenced: self.fenced - fenced,
        };
        if rows.all() > 0 {
            self.by_topic.push(rows);
        }
    }

    /// What has become of rows so far, whose ever they are.
    #[must_use]
    pub const fn so_far(&self, partition: Partition) -> TopicRows {
        let Self { inserted, updated, deleted, fenced, .. } = *self;
        TopicRows { partition, inserted, updated, deleted, fenced }
    }
}

/// The answer to one batch.
#[derive(Debug)]
pub struct WriteReply {
    /// For the machine.
    pub outcome: WriteOutcome,
    /// For the log and the metrics; all zero unless written.
    pub counts: WriteCounts,
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
