//! How far the Watcher is behind its source, by the source's clock: true also while somebody stands still.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A source that has caught up answers within a second or so. One that is silent for longer may have events.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// What the source's last answer has shown.
#[derive(Debug, Default)]
pub(super) struct SourceLag {
    /// When it came, and how far behind it was then, in seconds.
    last: Option<(Instant, f64)>,
    /// Cluster time of the newest event read, in Unix seconds; 0 where there was none.
    newest: u32,
}

impl SourceLag {
    /// Events came, the newest of this cluster time.
    pub(super) fn read(&mut self, newest_unix_seconds: u32) {
        self.newest = newest_unix_seconds;
        self.last = Some((Instant::now(), age(newest_unix_seconds)));
    }

    /// The source has nothing newer, as far as it has searched: so far behind its own clock.
    pub(super) fn caught_up(&mut self, behind_seconds: u32) {
        self.last = Some((Instant::now(), f64::from(behind_seconds)));
    }

    /// Cluster time of the newest event read; 0 where there was none.
    pub(super) const fn newest_unix_seconds(&self) -> u32 {
        self.newest
    }

    /// How far behind it is now; `None` until that is known. `unacknowledged` is the cluster time of the oldest event that
    /// Kafka has not acknowledged.
    pub(super) fn seconds(&self, unacknowledged: Option<u32>) -> Option<f64> {
        let (at, behind) = self.last?;
        let silent = at.elapsed();
        // Nobody knows what a silent source has: at least this long nothing of it was read.
        let unread = if silent > SILENT_AFTER { behind + silent.as_secs_f64() } else { behind };
        let unacknowledged = unacknowledged.map_or(0.0, age);
        Some(unread.max(unacknowledged))
    }
}

fn age(unix_seconds: u32) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (now.as_secs_f64() - f64::from(unix_seconds)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds_ago(seconds: u64) -> u32 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        u32::try_from(now - seconds).unwrap()
    }

    #[test]
    fn it_is_absent_until_known_and_zero_when_idle() {
        let mut lag = SourceLag::default();
        assert_eq!(lag.seconds(None), None);
        lag.caught_up(0);
        assert_eq!(lag.seconds(None), Some(0.0));
    }

    #[test]
    fn what_kafka_has_not_acknowledged_counts_and_so_does_a_search_under_way() {
        let mut lag = SourceLag::default();
        lag.read(seconds_ago(2));
        lag.caught_up(0);
        let waiting = lag.seconds(Some(seconds_ago(30))).unwrap();
        assert!((29.0..33.0).contains(&waiting), "{waiting}");
        lag.caught_up(500);
        assert_eq!(lag.seconds(None), Some(500.0));
    }

    #[test]
    fn a_source_that_is_silent_is_further_behind_every_second() {
        let mut lag = SourceLag::default();
        lag.caught_up(0);
        let before = Instant::now().checked_sub(Duration::from_secs(20)).unwrap();
        lag.last = Some((before, 0.0));
        assert!(lag.seconds(None).unwrap() >= 20.0);
    }
}
