use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When messages were handed to the Kafka client, in groups of one step each, so that the latency of a
/// report and the age of the oldest unanswered message are known without a clock reading per message.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    groups: VecDeque<(u64, Instant)>,
    sent: u64,
    settled: u64,
}

impl Publishing {
    /// `count` messages were handed over in this step.
    pub(super) fn sent(&mut self, count: u64) {
        if count > 0 {
            self.sent += count;
            self.groups.push_back((self.sent, Instant::now()));
        }
    }

    /// `count` messages were answered. Returns how long the oldest of them took.
    pub(super) fn settled(&mut self, count: u64) -> Duration {
        let took = self.age();
        self.settled += count;
        while self.groups.front().is_some_and(|(through, _)| *through <= self.settled) {
            self.groups.pop_front();
        }
        took
    }

    /// The client died: no answer comes for what it held.
    pub(super) fn lost(&mut self) {
        self.settled = self.sent;
        self.groups.clear();
    }

    /// How long the oldest unanswered message has been waiting; zero where none is.
    pub(super) fn age(&self) -> Duration {
        self.groups.front().map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_leave_when_all_their_messages_are_answered() {
        let mut publishing = Publishing::default();
        publishing.sent(3);
        publishing.sent(0);
        publishing.sent(2);
        assert_eq!(publishing.groups.len(), 2);
        publishing.settled(2);
        assert_eq!(publishing.groups.len(), 2);
        publishing.settled(1);
        assert_eq!(publishing.groups.len(), 1);
        publishing.lost();
        assert_eq!(publishing.age(), Duration::ZERO);
    }
}
