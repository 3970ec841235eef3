//! The Watcher's line a second: how many events Kafka has acknowledged since the last one, and how far that goes.

use std::time::Duration;

use cdc_event::Position;
use tokio::time::Instant;

use super::SERVICE;

/// The shortest time between two lines.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// What was published since the last line.
#[derive(Debug)]
pub(super) struct Sums {
    said: Instant,
    events: u64,
    /// Everything up to here is acknowledged.
    position: Option<Position>,
}

impl Default for Sums {
    fn default() -> Self {
        Self { said: Instant::now(), events: 0, position: None }
    }
}

impl Sums {
    /// Kafka has acknowledged so many.
    pub(super) fn published(&mut self, events: u64) {
        self.events += events;
    }

    /// Everything up to here is acknowledged, and about to be saved.
    pub(super) fn acknowledged(&mut self, position: Position) {
        self.position = Some(position);
    }

    /// Writes the line where there is something to tell and the last one is a second old, or `at_once`.
    pub(super) fn say(&mut self, at_once: bool) {
        if self.events == 0 || !(at_once || self.said.elapsed() >= SAY_EVERY) {
            return;
        }
        let position = self.position.map(|position| position.to_string());
        tracing::info!(
            service = SERVICE,
            operation = "kafka_publish",
            events = std::mem::take(&mut self.events),
            position = position.as_deref().unwrap_or("none yet"),
            "events published"
        );
        self.said = Instant::now();
    }
}
