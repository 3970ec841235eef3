//! What the Syncer asks, orders and hears.

use alloc::sync::Arc;
use alloc::vec::Vec;

use cdc_machine::{EffectId, Epoch, Fault, requests, timers};

use crate::{
    Batch, CommitFailure, FailedBy, FetchStart, LedgerCheck, OffsetCommit, OffsetGap, Parking, Partition,
    Record, Reject, RetryOutcome, Row, SqlState, Taken, Topic, WorkerId, WriteOutcome,
};

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

requests! {
    /// An order to the world.
    effect Effect<R>;
    /// A fact about the world, as the Syncer hears it.
    input Input<R>;
    timer TimerKind;

    requests {
        /// Open the pool, see to the bookkeeping schema, read the catalog.
        ConnectDatabase(id: EffectId) {}
            /// The tables are known, or are not.
            -> DatabaseConnected: Result<(), Fault>;
        /// Subscribe (with a new consumer, where there was one).
        JoinGroup(id: EffectId) {}
            /// The consumer is subscribed, and assignments will follow; or it is not.
            -> GroupJoined: Result<(), Fault>;
        /// Leave the group and close the consumer.
        LeaveGroup(id: EffectId) {}
            /// The group is left, or could not be: either way the service may end.
            -> GroupLeft: ();

        /// Take the partitions' rows in the ledger, and look at their tables.
        AcquirePartitions(id: EffectId) { partitions: Vec<(Partition, Epoch)> }
            /// The rows are ours; or they are not (yet), or what Kafka holds is not known.
            -> PartitionsAcquired: Result<Taken, FailedBy>;
        /// Record these gaps and move the ledger's offsets behind them, in one transaction.
        MoveOffsets(id: EffectId) { gaps: Vec<OffsetGap> }
            /// They are moved, but for the partitions that are somebody else's now.
            -> OffsetsMoved: Result<Vec<Partition>, Fault>;
        /// Ask the ledger whether these are still ours, at the offsets where we left them, and whether their tables
        /// are still the ones that they were.
        CheckLedger(id: EffectId) { partitions: Vec<(Partition, Epoch)> }
            /// What the ledger says.
            -> LedgerChecked: Result<LedgerCheck, Fault>;

        /// Write these rows in one transaction.
        WriteBatch(worker: WorkerId, id: EffectId) { batch: Batch<R>, parking: Parking }
            /// What became of them.
            -> BatchWritten: WriteOutcome, of_batch;
        /// Try this worker's parked rows of these partitions again, as many as fit one transaction; of a row that
        /// still waits for a value, take the older version out of its table. Those of the records with these partitions
        /// and offsets are `given_up`: remove them in the same transaction.
        RetryParked(worker: WorkerId, id: EffectId) {
            partitions: Vec<(Partition, Epoch)>,
            given_up: Vec<(Partition, i64)>,
        }
            /// What became of them.
            -> ParkedRetried: RetryOutcome<R>;
        /// Put a bad record aside, durably.
        DeadLetter(id: EffectId) {
            row: Row<R>,
            reason: Reject,
            sqlstate: Option<SqlState>,
            detail: Arc<str>,
            attempts: u32,
        }
            /// The dead letter is durable, or is not.
            -> DeadLettered: Result<(), Fault>;
        /// Record offsets, in the ledger and then in Kafka.
        CommitOffsets(id: EffectId) { offsets: Vec<OffsetCommit> }
            /// They are recorded in both; or they are not, or nobody knows.
            -> OffsetsCommitted: Result<(), CommitFailure>;
    }
    orders {
        /// Begin to fetch, or begin anew at another offset and epoch.
        StartFetching { starts: Vec<FetchStart> };
        /// Fetch these no longer, and drop what was fetched of them. They stay ours.
        StopFetching { partitions: Vec<Partition> };
        /// Read at most this much; the answer comes as soon as there is one record.
        Fetch { max_records: u32, max_bytes: u64 } -> [Records];
        /// Stop fetching all partitions, but go on polling.
        Pause;
        /// Fetch them again.
        Resume;
        /// Let the group have these back. Answers `Revoking`.
        ConfirmRevoked { id: EffectId };
        /// Give a bad record up, as the policy says: the log and a counter are where it is put.
        Skip { row: Row<R>, reason: Reject, detail: Arc<str> };
    }
    facts {
        /// The service begins.
        Start;
        /// The consumer died. Everything assigned is lost.
        ConsumerFailed { fault: Fault };
        /// The group gave us these partitions, each of a topic, beside those that we have. Fetching waits for
        /// `StartFetching`.
        Assigned { partitions: Vec<(Partition, Topic)> };
        /// The group takes these back, and waits for `ConfirmRevoked`.
        Revoking { id: EffectId, partitions: Vec<Partition> };
        /// These were taken without asking (the session ended).
        Lost { partitions: Vec<Partition> };
        /// The answer to one `Fetch`: at most as much as it asked for, at least one record.
        Records { records: Vec<Record<R>> };
    }
}
