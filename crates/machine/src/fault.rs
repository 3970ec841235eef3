use core::fmt;

/// What went wrong, as far as a machine has to know. Adapters classify at their edge; the text, the code
/// and the stack go to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// May work later: network, time-out, election, an overloaded server. Retried with back-off.
    Transient,
    /// Nobody answers, or only to say that nobody is served now: the server is away, starts, ends, is full or is no
    /// longer the one that takes writes. Retried as connections are, whichever request meets it.
    Unreachable,
    /// Another transaction was in the way, and goes on: works at once when tried again. A deadlock's victim.
    RetryNow,
    /// Another row stands in the way: a unique violation on another constraint than the key.
    Blocked,
    /// This record can never be written; its neighbours can.
    Poison,
    /// This record does not fit the broker's limits.
    TooLarge,
    /// The saved position is no longer in the source's history.
    HistoryLost,
    /// Somebody else owns the position, the lease or the partition now.
    Fenced,
    /// Authentication or privilege. A restart does not help; a person does.
    Auth,
    /// What answers is not, or not yet, what the configuration names: another replica set, no such database.
    /// Retried with back-off, since somebody may be making it; the last answer decides how the service ends.
    Unfit,
    /// The request itself is refused, and neither waiting nor skipping would mend that.
    Fatal,
    /// The program contradicts itself.
    Bug,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 12] = [
        Self::Transient,
        Self::Unreachable,
        Self::RetryNow,
        Self::Blocked,
        Self::Poison,
        Self::TooLarge,
        Self::HistoryLost,
        Self::Fenced,
        Self::Auth,
        Self::Unfit,
        Self::Fatal,
        Self::Bug,
    ];

    /// The label in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Unreachable => "unreachable",
            Self::RetryNow => "retry_now",
            Self::Blocked => "blocked",
            Self::Poison => "poison",
            Self::TooLarge => "too_large",
            Self::HistoryLost => "history_lost",
            Self::Fenced => "fenced",
            Self::Auth => "auth",
            Self::Unfit => "unfit",
            Self::Fatal => "fatal",
            Self::Bug => "bug",
        }
    }

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
