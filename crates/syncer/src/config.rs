use core::time::Duration;

use cdc_machine::{Dependency, Retry};

use crate::WorkerId;

/// Limits and policies of a Syncer, constant over its life. A limit below 1 counts as 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Rows that fill a batch.
    pub buffer_size: u32,
    /// Bytes that fill a batch; one row that is larger is a batch of its own.
    pub buffer_bytes: u64,
    /// The oldest that a waiting row gets while its writer is idle.
    pub flush_interval: Duration,
    /// How long a row waits for company while its writer is idle. From `flush_interval` on there is no
    /// lingering: a batch leaves when it is full or `flush_interval` old, and not before.
    pub linger: Duration,
    /// Workers; each has at most one batch in flight.
    pub pool_size: u32,
    /// Rows that may wait behind a worker's batch.
    pub channel_buffer: u32,
    /// Bytes from poll to offset commit: with what a batch takes as columns and what is fetched ahead, this keeps the
    /// process below 128 MiB whatever stands still. One record may exceed it: a fetch answers with at least one.
    pub max_buffered_bytes: u64,
    /// The most records of one fetch.
    pub max_fetch_records: u32,
    /// The shortest time between two commits while there is room: a ledger must not be hammered.
    pub commit_spacing: Duration,
    /// How long there may be no room before the partitions are paused, so that polling goes on.
    pub pause_after: Duration,
    /// How long a revocation may take: below the group's own patience. The executor takes it from the consumer, which
    /// derives it from the session.
    pub revocation_deadline: Duration,
    /// Two fencings within this time: another process has our name in the group. One alone may be our own
    /// doing: librdkafka, back after an outage longer than its session, sends a commit under a member id that
    /// it has just given up.
    pub fencing_window: Duration,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// How often each kind of operation is tried again.
    pub retries: Retries,
    /// What becomes of a record that can never be written.
    pub on_bad_record: OnBadRecord,
    /// What becomes of a record whose unique value another row holds, that an exclusion constraint keeps out, or whose
    /// foreign key finds no row, and of a delete of a row that others refer to.
    pub on_unique_violation: OnUniqueViolation,
    /// What becomes of a topic that cannot be written.
    pub on_table_error: OnTableError,
    /// Parked rows of a topic beyond which nothing more of it is parked and it is held. A batch that is parked as the
    /// bound is met may exceed it.
    pub max_parked_rows: u64,
    /// Where a partition goes on whose offset is no longer, or not yet, in the log.
    pub offset_reset: OffsetPolicy,
    /// How often the ledger is asked whether the partitions are still ours and where they were: only then is a
    /// database that was restored from a copy noticed while nothing is written. Zero: never.
    pub ledger_check: Duration,
    /// When so many of a topic's records go to the dead letters that it is held.
    pub stop_after: StopAfter,
}

/// Where a partition goes on whose offset is no longer, or not yet, in the log. The gap is recorded first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffsetPolicy {
    /// At the log's first record: all that is left is read.
    Earliest,
    /// At the log's end: only what comes from now on is read.
    Latest,
    /// The service stops.
    Stop,
}

/// A topic's breaker: more than `share` of its last `window` records, and at least `at_least` of them, are on their
/// way to the dead letters. Before `window` records have been seen, the share is of those that have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StopAfter {
    /// In millionths: [`Self::WHOLE`] is all of them, which can never be exceeded.
    pub share: u32,
    /// Records that are remembered.
    pub window: u32,
    /// Bad records below which nothing happens.
    pub at_least: u32,
}

impl StopAfter {
    /// The share that is all.
    pub const WHOLE: u32 = 1_000_000;
}

/// Retries per kind of operation; a first try is not a retry, and progress starts the count over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Joining the group, committing offsets, putting records aside.
    pub kafka: Retry,
    /// Opening the pool, taking partitions in the ledger, recording offsets, and whatever else finds PostgreSQL out of
    /// reach.
    pub postgres_connect: Retry,
    /// Writing a batch, or parked rows, where PostgreSQL answered.
    pub postgres_write: Retry,
}

impl Retries {
    /// For a request that one of the two failed to answer.
    pub(crate) const fn of(&self, from: Dependency) -> Retry {
        match from {
            Dependency::Kafka => self.kafka,
            Dependency::Postgres | Dependency::MongoDb | Dependency::Redis | Dependency::TokenFile => {
                self.postgres_connect
            }
        }
    }
}

/// What becomes of a record that can never be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadRecord {
    /// It goes to the dead letters; its slot settles once it is durable there.
    DeadLetter,
    /// It is logged, counted and given up.
    Skip,
    /// The service stops.
    Stop,
}

/// What becomes of a record that other rows stand in the way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUniqueViolation {
    /// It waits in the database until they do no longer.
    Park,
    /// It goes to the dead letters.
    DeadLetter,
    /// It is logged, counted and given up.
    Skip,
    /// The service stops.
    Stop,
}

/// What becomes of a topic whose table cannot be written as a whole, of which too many records are bad or too many rows
/// are parked. A lock that is in the way is waited for, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTableError {
    /// It is held: nothing more of it is read until that has been mended, and everything else goes on.
    Hold,
    /// The service stops.
    Stop,
}

impl Config {
    pub(crate) const fn workers(&self) -> usize {
        if self.pool_size == 0 { 1 } else { self.pool_size as usize }
    }

    pub(crate) fn worker_ids(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.pool_size.max(1)).map(WorkerId)
    }

    pub(crate) fn batch_rows(&self) -> usize {
        self.buffer_size.max(1) as usize
    }

    /// Rows that one worker may hold: the batch being written and those waiting behind it.
    pub(crate) fn queue_rows(&self) -> usize {
        self.batch_rows() + self.channel_buffer as usize
    }

    /// Records from poll to offset commit.
    pub(crate) fn buffered_records(&self) -> u64 {
        (self.workers() * self.queue_rows()) as u64
    }

    /// The least that is worth a fetch: with less there is no room, or fetches would dribble.
    pub(crate) fn fetch_records_min(&self) -> usize {
        (self.channel_buffer as usize / 4).max(1)
    }

    /// The fewest bytes that are worth a fetch while others are buffered.
    pub(crate) fn fetch_bytes_min(&self) -> u64 {
        (self.max_buffered_bytes / 4).max(1)
    }

    pub(crate) fn lingers(&self) -> bool {
        self.linger < self.flush_interval
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            buffer_size: 1_000,
            buffer_bytes: 8 * 1024 * 1024,
            flush_interval: Duration::from_millis(500),
            linger: Duration::from_millis(5),
            pool_size: 10,
            channel_buffer: 1_000,
            max_buffered_bytes: 32 * 1024 * 1024,
            max_fetch_records: 2_000,
            commit_spacing: Duration::from_millis(10),
            pause_after: Duration::from_millis(500),
            revocation_deadline: Duration::from_secs(6),
            fencing_window: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(25),
            retries: Retries::default(),
            on_bad_record: OnBadRecord::DeadLetter,
            on_unique_violation: OnUniqueViolation::Park,
            on_table_error: OnTableError::Hold,
            max_parked_rows: 10_000,
            offset_reset: OffsetPolicy::Earliest,
            ledger_check: Duration::from_secs(5),
            stop_after: StopAfter::default(),
        }
    }
}

impl Default for StopAfter {
    fn default() -> Self {
        Self { share: Self::WHOLE / 2, window: 1_000, at_least: 100 }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { kafka: Retry::times(5), postgres_connect: Retry::times(5), postgres_write: Retry::times(3) }
    }
}
