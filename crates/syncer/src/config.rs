//! What a Syncer can be told, each option with its default, its legal values and its text; and what is constant.

use core::time::Duration;

use cdc_machine::units::{GIB, HOUR, KIB, MIB, MILLISECOND};
use cdc_machine::{Dependency, Retry, Visitor, options, words};

use crate::WorkerId;

options! {
    /// Limits and policies of a Syncer, constant over its life. A limit below 1 counts as 1.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Config for pub impl Visitor {
        /// Rows that fill a batch.
        pub buffer_size: u32 = 1_000 => number("batch.buffer_size", 1..=1_000_000),
        /// Bytes that fill a batch. A row that is larger is a batch of its own.
        pub buffer_bytes: u64 = 8 * MIB => bytes("batch.buffer_bytes", 64 * KIB..=4 * GIB),
        /// How long a row waits at most, while its writer is idle.
        pub flush_interval: Duration = Duration::from_millis(500)
            => duration("batch.flush_interval", MILLISECOND..=HOUR),
        /// How long a row waits for company while its writer is idle. Without a wait it leaves at once, and what comes while
        /// its writer is at work leaves together. With as much as `batch.flush_interval` nothing lingers: a batch leaves when
        /// it is full or `batch.flush_interval` old, and not before.
        pub linger: Duration = Duration::ZERO
            => duration("batch.linger", Duration::ZERO..=HOUR) up to flush_interval("batch.flush_interval"),
        /// Workers, each with one batch in flight, and so with a connection to PostgreSQL.
        pub pool_size: u32 = 10 => number("workers.pool_size", 1..=1_024),
        /// Rows that may wait behind a worker's batch.
        pub channel_buffer: u32 = 1_000 => number("workers.channel_buffer", 1..=1_000_000),
        /// Bytes from poll to offset commit, at most; at least `batch.buffer_bytes`. A single record may exceed it.
        ///
        /// With what a batch takes as columns and what is fetched ahead, the default keeps the process below 128 MiB
        /// whatever stands still. A fetch answers with at least one record.
        pub max_buffered_bytes: u64 = 32 * MIB => bytes("workers.max_buffered_bytes", 64 * KIB..=64 * GIB),
        /// The most records of one fetch.
        pub max_fetch_records: u32 = 2_000,
        /// The shortest time between two commits while there is credit: a ledger must not be hammered.
        pub commit_spacing: Duration = Duration::from_millis(10),
        /// How long there may be no credit before the partitions are paused, so that polling goes on.
        pub pause_after: Duration = Duration::from_millis(500),
        /// How long a revocation may take: below the group's own patience. The executor takes it from the consumer,
        /// which derives it from the session.
        pub revocation_deadline: Duration = Duration::from_secs(6),
        /// Two fencings within this time: another process has our name in the group. One alone may be our own
        /// doing: librdkafka, back after an outage longer than its session, sends a commit under a member id that
        /// it has just given up.
        pub fencing_window: Duration = Duration::from_secs(60),
        /// How long a drain may take. Supervisors should wait 4 s longer before SIGKILL.
        pub drain_timeout: Duration = Duration::from_secs(25)
            => duration("shutdown.timeout", Duration::from_secs(1)..=HOUR),
        /// How often each kind of operation is tried again.
        pub retries: Retries = Retries::default() => nested(),
        /// What becomes of a record that can never be written.
        pub on_bad_record: OnBadRecord = OnBadRecord::DeadLetter => word("on_bad_record"),
        /// What becomes of a record whose unique value another row holds, that an exclusion constraint keeps out, or
        /// whose foreign key finds no row, and of a delete of a row that others refer to. See docs/waiting-rows.md.
        pub on_unique_violation: OnUniqueViolation = OnUniqueViolation::Park => word("on_unique_violation"),
        /// What becomes of a topic whose table cannot be written, of which too many records are bad or too many rows
        /// are parked. A lock that is in the way is waited for, whatever this says.
        pub on_table_error: OnTableError = OnTableError::Hold => word("on_table_error"),
        /// Rows and deletes of a topic that may wait for other rows. With so many, the next one that is blocked holds
        /// the topic (`parked_full`).
        ///
        /// A batch that is parked as the bound is met may exceed it.
        pub max_parked_rows: u64 = 10_000 => number("parked.max_rows", 1..=10_000_000),
        /// Where a partition goes on whose offset is no longer, or not yet, in the log. The gap is recorded in
        /// `cdc.gaps` first.
        pub offset_reset: OffsetPolicy = OffsetPolicy::Earliest => word("kafka.offset_reset"),
        /// How often the ledger is asked whether the partitions are still ours and where they were: only then is a
        /// database that was restored from a copy noticed while nothing is written. Zero: never.
        pub ledger_check: Duration = Duration::from_secs(5),
        /// When so many of a topic's records go to the dead letters that it is held.
        pub stop_after: StopAfter = StopAfter::default() => nested(),
    }
}

words! {
    /// Where a partition goes on whose offset is no longer, or not yet, in the log. The gap is recorded first.
    pub enum OffsetPolicy {
        /// At the log's first record: all that is left is read.
        Earliest: "earliest",
        /// At the log's end: only what comes from now on is read.
        Latest: "latest",
        /// The service stops with exit code 65.
        Stop: "stop",
    }
}

options! {
    /// A topic's breaker: more than `share` of its last `window` records, and at least `at_least` of them, are on their
    /// way to the dead letters. Before `window` records have been seen, the share is of those that have.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct StopAfter for pub impl Visitor {
        /// The share of a topic's last records that may be bad. With more the topic is held (`too_many_bad_records`).
        /// 1: never.
        ///
        /// In millionths: `WHOLE` is all of them, which can never be exceeded.
        pub share: u32 = Self::WHOLE / 2 => share("dead_letter.stop_after.share"),
        /// Records of a topic that are remembered.
        pub window: u32 = 1_000 => number("dead_letter.stop_after.window", 1..=1_000_000),
        /// Bad records below which nothing happens.
        pub at_least: u32 = 100
            => number("dead_letter.stop_after.at_least", 1..=1_000_000)
            up to window("dead_letter.stop_after.window"),
    }
}

impl StopAfter {
    /// The share that is all.
    pub const WHOLE: u32 = 1_000_000;
}

options! {
    /// Retries per kind of operation; a first try is not a retry, and progress starts the count over.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Retries for pub impl Visitor {
        /// Retries of joining the group, committing offsets and putting records aside.
        pub kafka: Retry = Retry::times(5) => retries("kafka.max_retries"),
        /// Retries of connections, of taking partitions in the ledger, of recording offsets, and of whatever else
        /// finds PostgreSQL out of reach.
        pub postgres_connect: Retry = Retry::times(5) => retries("postgres.max_retries"),
        /// Retries of writing a batch, or parked rows, where PostgreSQL answered.
        pub postgres_write: Retry = Retry::times(3) => retries("postgres.write_max_retries"),
    }
}

impl Retries {
    /// For a request that one of the two failed to answer.
    pub(crate) const fn of(&self, from: Dependency) -> Retry {
        if matches!(from, Dependency::Kafka) { self.kafka } else { self.postgres_connect }
    }
}

words! {
    /// What becomes of a record that can never be written.
    pub enum OnBadRecord {
        /// It goes to the dead letters, and the stream goes on once it is durable there.
        DeadLetter: "dead_letter",
        /// It is logged, counted and given up.
        Skip: "skip",
        /// The service stops with exit code 65.
        Stop: "stop",
    }
}

words! {
    /// What becomes of a record that other rows stand in the way of.
    pub enum OnUniqueViolation {
        /// It waits in the database until they do no longer.
        Park: "park",
        /// It goes to the dead letters.
        DeadLetter: "dead_letter",
        /// It is logged, counted and given up.
        Skip: "skip",
        /// The service stops with exit code 65.
        Stop: "stop",
    }
}

words! {
    /// What becomes of a topic whose table cannot be written as a whole, of which too many records are bad or too many
    /// rows are parked. A lock that is in the way is waited for, whatever this says.
    pub enum OnTableError {
        /// It is held: nothing more of it is read until that has been mended, and everything else goes on. See
        /// docs/held-topics.md.
        Hold: "hold",
        /// The service stops with exit code 65.
        Stop: "stop",
    }
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

    /// The least that is worth a fetch: with less there is no credit, or fetches would dribble.
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
