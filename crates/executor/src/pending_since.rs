use std::time::Duration;

use tokio::time::Instant;

/// Since when an answer is pending. A machine has at most one request of a kind outstanding.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingSince {
    since: Option<Instant>,
}

impl PendingSince {
    /// A request was handed over.
    pub(crate) fn asked(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// The answer came. Returns how long it took.
    pub(crate) fn answered(&mut self) -> Duration {
        self.since.take().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How long an answer has been pending; zero where none is.
    pub(crate) fn age(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}
