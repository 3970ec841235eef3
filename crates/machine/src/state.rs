use core::fmt;

use crate::labels;

labels! {
    /// The name of a state, in the order of a life. Each names what the service is waiting for, so that an operator who
    /// reads it knows which side is slow.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum StateName {
        /// Watcher: the lease, the saved position, an open change stream, or the end of a back-off.
        /// Syncer: group membership, the pool, or the end of a back-off.
        Connecting: "Connecting",
        /// The next event (Watcher) or record (Syncer): there is credit.
        Streaming: "Streaming",
        /// Kafka's delivery reports (Watcher) or PostgreSQL's commits (Syncer): there is no credit, or
        /// everything in flight settles before a rewind or a revocation.
        AwaitingAck: "AwaitingAck",
        /// The token store (Watcher) or the offset commit (Syncer): there is no credit, and all that was read is
        /// acked or written.
        SavingToken: "SavingToken",
        /// The last acknowledgements and the last save or commit.
        Draining: "Draining",
        /// Nothing: the machine has ended, with a cause.
        Stopped: "Stopped",
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
