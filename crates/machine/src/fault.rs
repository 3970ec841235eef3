use core::fmt;

use crate::labels;

labels! {
    /// What went wrong, as far as a machine has to know. Adapters classify at their edge; the text, the code
    /// and the stack go to the log.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Fault {
        /// May work later: network, time-out, election, an overloaded server. Retried with back-off.
        Transient: "transient",
        /// Nobody answers, or only to say that nobody is served now: the server is away, starts, ends, is full or is no
        /// longer the one that takes writes. Retried as connections are, whichever request meets it.
        Unreachable: "unreachable",
        /// Another transaction was in the way, and goes on: works at once when tried again. A deadlock's victim.
        RetryNow: "retry_now",
        /// Another row stands in the way: a unique violation on another constraint than the key.
        Blocked: "blocked",
        /// This record can never be written; its neighbours can.
        Poison: "poison",
        /// This record does not fit the broker's limits.
        TooLarge: "too_large",
        /// The saved position is no longer in the source's history.
        HistoryLost: "history_lost",
        /// Somebody else owns the position, the lease or the partition now.
        Fenced: "fenced",
        /// Authentication or privilege. A restart does not help; a person does.
        Auth: "auth",
        /// What answers is not, or not yet, what the configuration names: another replica set, no such database.
        /// Retried with back-off, since somebody may be making it; the last answer decides how the service ends.
        Unfit: "unfit",
        /// The request itself is refused, and neither waiting nor skipping would mend that.
        Fatal: "fatal",
        /// The program contradicts itself.
        Bug: "bug",
    }
}

impl Fault {
    /// True where the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Transient | Self::Unreachable | Self::RetryNow | Self::Unfit)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
