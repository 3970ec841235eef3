//! The moves that a schedule is made of. Each one stands for itself: whichever are left out, the others still mean the
//! same, so that a schedule that fails can be shrunk by leaving moves out.

use std::fmt;

use cdc_machine::labels;

labels! {
    /// What happens.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Act {
        /// A client writes to MongoDB.
        Write: "write",
        /// A majority gets more of the oplog.
        Replicate: "replicate",
        /// Time passes up to a process's next timer.
        Tick: "tick",
        /// The source says who it is.
        Identify: "identify",
        /// The store answers a request for the lease.
        Lease: "lease",
        /// It answers a renewal.
        Renew: "renew",
        /// It answers a release.
        Release: "release",
        /// The producer is made.
        Prepare: "prepare",
        /// The stream opens.
        Open: "open",
        /// A fetch of the stream is answered.
        Fetch: "fetch",
        /// A fetch of a stream that was closed since is answered.
        LateFetch: "late fetch",
        /// The broker takes a message.
        Append: "append",
        /// The broker's answers come in.
        Report: "report",
        /// The store answers a save.
        Save: "save",
        /// A save of which nobody waits for the answer any more gets to the store.
        LateSave: "late save",
        /// What a former producer had on the wire gets to the broker.
        LateAppend: "late append",
        /// A process that has ended is started anew.
        Start: "start",
        /// A frozen process goes on.
        Thaw: "thaw",
        /// The process with a Syncer is started anew.
        StartSyncer: "start syncer",
        /// A frozen Syncer goes on.
        ThawSyncer: "thaw syncer",
        /// Time passes up to a Syncer's next timer.
        TickSyncer: "tick syncer",
        /// The database is connected.
        Connect: "connect",
        /// The group is joined.
        Join: "join",
        /// It is left.
        Leave: "leave",
        /// A member hears from the group.
        News: "news",
        /// The ledger's rows are taken.
        Acquire: "acquire",
        /// Gaps are recorded.
        MoveOffsets: "move offsets",
        /// The ledger is asked.
        CheckLedger: "check ledger",
        /// A fetch is answered.
        Poll: "poll",
        /// A transaction gets on by one statement.
        Transact: "transact",
        /// What became of a transaction is heard.
        Answer: "answer",
        /// A dead letter is answered.
        DeadLetter: "dead letter",
        /// A commit of offsets is answered.
        Commit: "commit",
        /// A copy of the database is made.
        BackUp: "back up",
        /// Fault: a process dies.
        Crash: "crash",
        /// Fault: a process freezes, and another one is started in its place.
        Supplant: "supplant",
        /// Fault: the producer dies.
        LoseProducer: "lose producer",
        /// Fault: the stream breaks.
        BreakStream: "break stream",
        /// Fault: another primary, without what no majority had.
        Elect: "elect",
        /// Fault: the node that streams read from lags behind.
        Lag: "lag",
        /// Fault: the oplog loses its oldest part.
        Forget: "forget",
        /// Fault: the token file's machine loses its power, and the process with it.
        CutPower: "cut power",
        /// Fault: the token store is rolled back to an older copy.
        RollBackStore: "roll back store",
        /// Fault: the token store is emptied.
        FlushStore: "flush store",
        /// Fault: the token record is damaged.
        DamageStore: "damage store",
        /// Fault: a supervisor asks a process to end.
        Drain: "drain",
        /// Fault: a Syncer dies.
        CrashSyncer: "crash syncer",
        /// Fault: a Syncer freezes, and the group gives it up.
        FreezeSyncer: "freeze syncer",
        /// Fault: the group gives a Syncer up, which goes on until it hears of it.
        Evict: "evict",
        /// Fault: a partition goes to another member.
        Shift: "shift",
        /// Fault: a consumer dies.
        ConsumerFails: "consumer fails",
        /// Fault: a partition's oldest records expire.
        Expire: "expire",
        /// Fault: the database is restored from its copy.
        Restore: "restore",
        /// Fault: a supervisor asks a Syncer to end.
        DrainSyncer: "drain syncer",
    }
}

impl Act {
    /// True for what happens to a process with a Syncer.
    #[must_use]
    pub const fn is_of_a_syncer(self) -> bool {
        matches!(
            self,
            Self::StartSyncer
                | Self::ThawSyncer
                | Self::TickSyncer
                | Self::Connect
                | Self::Join
                | Self::Leave
                | Self::News
                | Self::Acquire
                | Self::MoveOffsets
                | Self::CheckLedger
                | Self::Poll
                | Self::DeadLetter
                | Self::Commit
                | Self::CrashSyncer
                | Self::FreezeSyncer
                | Self::Evict
                | Self::ConsumerFails
                | Self::DrainSyncer
        )
    }

    /// True where a request of a process is answered, which may end badly.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(
            self,
            Self::Identify
                | Self::Lease
                | Self::Renew
                | Self::Release
                | Self::Prepare
                | Self::Open
                | Self::Fetch
                | Self::Append
                | Self::Save
                | Self::Connect
                | Self::Join
                | Self::Acquire
                | Self::MoveOffsets
                | Self::CheckLedger
                | Self::Transact
                | Self::DeadLetter
                | Self::Commit
        )
    }

    /// True for what only happens as a fault.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        self as u8 >= Self::Crash as u8
    }
}

labels! {
    /// How a request ends.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum How {
        /// As asked.
        Good: "",
        /// It is not carried out, and the answer says so.
        Failed: "failed",
        /// It is carried out, and the answer is lost.
        Unheard: "unheard",
        /// The answer is lost, and it is carried out later or never.
        Late: "late",
        /// Nobody is reached.
        Away: "away",
        /// It fails in a way of its own: the argument says how.
        Oddly: "oddly",
    }
}

/// One move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// What happens.
    pub act: Act,
    /// To which process.
    pub who: u8,
    /// Which of several, or how many.
    pub arg: u16,
    /// How it ends.
    pub how: How,
}

impl Move {
    /// It as a number, for the trace.
    #[must_use]
    pub const fn bits(self) -> u64 {
        (self.act as u64) << 32 | (self.who as u64) << 24 | (self.how as u64) << 16 | self.arg as u64
    }
}

/// `save 0 unheard (3)`
impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { act, who, arg, how } = self;
        write!(f, "{} {who} {} ({arg})", act.as_str(), how.as_str())
    }
}
