use core::fmt;

use crate::{Fault, labels};

labels! {
    /// A server or a disk that a service depends on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Dependency {
        /// The source database.
        MongoDb: "mongodb",
        /// The broker.
        Kafka: "kafka",
        /// The target database.
        Postgres: "postgres",
        /// The token store on a server.
        Redis: "redis",
        /// The token store on this machine's disk.
        TokenFile: "token_file",
    }
}

/// Why a machine stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Asked to stop, and everything in hand is settled and recorded.
    Drained,
    /// The drain did not end within its time. What was settled is recorded; the rest is replayed.
    DrainTimedOut,
    /// A report failed while draining: the settled prefix is recorded, the rest is replayed.
    DrainIncomplete,
    /// A second signal.
    Aborted,
    /// Another process owns the lease, the position or the name in the group.
    LeaseLost,
    /// A dependency did not answer within all retries.
    Unavailable(Dependency),
    /// A dependency refused who we are or what we may do.
    Refused(Dependency),
    /// A dependency cannot give what the configuration asks for.
    Unsupported(Dependency),
    /// A dependency refuses what it is asked, in a way that no retry mends.
    Failed(Dependency),
    /// The saved position is no longer in the source's history, and the policy is to stop.
    HistoryLost,
    /// There is no saved position beside a topic that already holds messages.
    TokenMissing,
    /// The token record cannot be read, and the policy is to stop.
    TokenDamaged,
    /// The token record was written by a newer release, or the store holds what is none of this program's.
    TokenUnreadable,
    /// The saved position belongs to another source or topic.
    OtherSource,
    /// A topic that the position belongs to is gone or was made anew, and the policy is to stop.
    TopicLost,
    /// A topic has fewer partitions than the position was made with: it is another one, and keys would move.
    PartitionsChanged,
    /// A record that cannot be delivered or written, and the policy is to stop.
    BadRecord,
    /// So many of a topic's last records are bad that to go on would empty it into the dead letters, and the policy is
    /// to stop.
    TooManyBadRecords,
    /// A table cannot be written as a whole, and the policy is to stop.
    TableUnwritable,
    /// The log no longer holds the offset to go on from, and the policy is to stop.
    OffsetLost,
    /// Too many of a topic's rows wait for other rows, and the policy is to stop.
    ParkedFull,
    /// An invariant broke: a bug in this program.
    Invariant(&'static str),
}

impl Cause {
    /// The end where the last of all retries met this fault: a dependency that answers, and is not what the
    /// configuration names, is no longer waited for.
    #[must_use]
    pub const fn after_retries(fault: Fault, on: Dependency) -> Self {
        match fault {
            Fault::Unfit => Self::Unsupported(on),
            Fault::Transient
            | Fault::Unreachable
            | Fault::RetryNow
            | Fault::Blocked
            | Fault::Poison
            | Fault::TooLarge
            | Fault::HistoryLost
            | Fault::Fenced
            | Fault::Auth
            | Fault::Fatal
            | Fault::Bug => Self::Unavailable(on),
        }
    }

    /// A dependency's adapter met what its own code rules out.
    pub const ADAPTER_BUG: Self =
        Self::Invariant("an adapter contradicts itself; the last failure says where");
}

impl Cause {
    /// The process's exit code, after sysexits(3).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::HistoryLost
            | Self::TokenMissing
            | Self::TokenDamaged
            | Self::TokenUnreadable
            | Self::OtherSource
            | Self::TopicLost
            | Self::PartitionsChanged
            | Self::BadRecord
            | Self::TooManyBadRecords
            | Self::TableUnwritable
            | Self::OffsetLost
            | Self::ParkedFull => 65,
            Self::Failed(Dependency::TokenFile) | Self::Unavailable(Dependency::TokenFile) => 74,
            Self::Unavailable(_) => 69,
            Self::Invariant(_) => 70,
            Self::DrainTimedOut | Self::DrainIncomplete | Self::Aborted | Self::LeaseLost => 75,
            Self::Refused(_) => 77,
            Self::Unsupported(_) | Self::Failed(_) => 78,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained => f.write_str("drained: everything in hand is settled and recorded"),
            Self::DrainTimedOut => f.write_str(
                "the drain did not end within shutdown.timeout; what was settled is recorded and the rest is replayed at the next start",
            ),
            Self::DrainIncomplete => f.write_str(
                "a delivery failed while draining; what was settled is recorded and the rest is replayed at the next start",
            ),
            Self::Aborted => f.write_str("stopped at once by a second signal; unrecorded work is replayed at the next start"),
            Self::LeaseLost => f.write_str("another process has the lease or the name (`instance`); this one stops so that only one writes"),
            Self::Unavailable(d) => write!(f, "{} did not answer within all retries", d.as_str()),
            Self::Refused(d) => write!(f, "{} refused the credentials or a privilege", d.as_str()),
            Self::Unsupported(d) => write!(f, "{} cannot give what the configuration asks for", d.as_str()),
            Self::Failed(d) => write!(f, "{} refuses what it is asked, and no retry mends that", d.as_str()),
            Self::HistoryLost => f.write_str(
                "the saved position is not in the source's history any more (it has left the oplog, or MongoDB was \
                 restored from an older copy), and on_history_lost is stop; run `cdc token reset --new-source` or set \
                 on_history_lost: from_now to go on with the gap on record",
            ),
            Self::TokenMissing => f.write_str(
                "the token store holds no position, but the topic already holds messages: the position was lost, \
                 and on_history_lost is stop; restore the store, run `cdc token reset`, or set \
                 on_history_lost: from_now to go on with the gap on record",
            ),
            Self::TokenDamaged => f.write_str(
                "the token record is damaged, and on_history_lost is stop; restore it from a backup, run \
                 `cdc token reset`, or set on_history_lost: from_now to go on with the gap on record",
            ),
            Self::TokenUnreadable => f.write_str(
                "the token store holds a record that this release does not read; run the newer release, or give \
                 this pipeline a token store of its own (token_storage)",
            ),
            Self::OtherSource => f.write_str("the saved position belongs to another source or topic"),
            Self::TopicLost => f.write_str(
                "a topic of the saved position was deleted or emptied, and on_history_lost is stop. MongoDB has lost nothing: \
                 restore the topic, or start once with --set on_history_lost=from_now to go on from the saved position, \
                 with the gap on record",
            ),
            Self::PartitionsChanged => f.write_str(
                "a topic has fewer partitions than before: documents would move to other partitions and lose their \
                 order; point kafka.topic to a new topic with a token store of its own",
            ),
            Self::BadRecord => f.write_str("a record cannot be delivered or written, and the policy is to stop"),
            Self::TooManyBadRecords => f.write_str(
                "too many of a topic's last records cannot be written (dead_letter.stop_after), and on_table_error is \
                 stop; correct the table or what fills the topic and start again, or set on_table_error: hold, under \
                 which only that topic waits. To go on all the same raise dead_letter.stop_after.share (1 never \
                 stops), or set on_bad_record to skip",
            ),
            Self::TableUnwritable => f.write_str(
                "a table cannot be written, and on_table_error is stop; mend the table and start again, or set \
                 on_table_error: hold, under which only its own topic waits",
            ),
            Self::OffsetLost => f.write_str(
                "the log no longer holds the offset to go on from, and kafka.offset_reset is stop; set it to earliest \
                 or latest to go on behind the gap, which is then recorded in cdc.gaps",
            ),
            Self::ParkedFull => f.write_str(
                "as many rows of a topic are parked as parked.max_rows allows, each waiting for other rows, and \
                 on_table_error is stop; the log names the constraint and the way out. Under on_table_error: hold only \
                 that topic waits",
            ),
            Self::Invariant(what) => write!(f, "an invariant broke, which is a bug: {what}"),
        }
    }
}
