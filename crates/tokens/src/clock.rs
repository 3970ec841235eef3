use std::time::{Duration, Instant};

/// The register's clock, carried on by the machine's own steady one between two answers.
#[derive(Debug)]
pub(crate) struct RegisterClock {
    read_ms: i64,
    read_at: Instant,
}

impl RegisterClock {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self { read_ms: now_ms, read_at: Instant::now() }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.read_ms.saturating_add(millis(self.read_at.elapsed()))
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A time of the register's clock for people.
pub(crate) fn rfc3339(unix_ms: i64) -> String {
    // Years beyond 9999 have no such text, and no clock shows them.
    bson::DateTime::from_millis(unix_ms).try_to_rfc3339_string().unwrap_or_default()
}
