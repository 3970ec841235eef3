use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// When messages were handed to the Kafka client, in groups of one step each, so that the latency of a
/// report and the age of the oldest unanswered message are known without a clock reading per message.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    groups: VecDeque<Group>,
    sent: u64,
    settled: u64,
}

/// The messages of one step.
#[derive(Debug)]
struct Group {
    /// Messages handed over so far, with these.
    through: u64,
    at: Instant,
    /// The newest one's cluster time, in Unix seconds; 0 where there is none.
    source_seconds: u32,
}

impl Publishing {
    /// `count` messages were handed over in this step, the newest of this cluster time.
    pub(super) fn sent(&mut self, count: u64, source_seconds: u32) {
        if count > 0 {
            self.sent += count;
            self.groups.push_back(Group { through: self.sent, at: Instant::now(), source_seconds });
        }
    }

    /// Cluster time of the oldest messages that are not answered, in Unix seconds.
    pub(super) fn oldest_source_seconds(&self) -> Option<u32> {
        self.groups.front().map(|group| group.source_seconds).filter(|seconds| *seconds > 0)
    }

    /// `count` messages were answered. Returns how long the oldest of them took.
    pub(super) fn settled(&mut self, count: u64) -> Duration {
        let took = self.age();
        self.settled += count;
        while self.groups.front().is_some_and(|group| group.through <= self.settled) {
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
        self.groups.front().map_or(Duration::ZERO, |group| group.at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_leave_when_all_their_messages_are_answered() {
        let mut publishing = Publishing::default();
        publishing.sent(3, 7);
        publishing.sent(0, 8);
        publishing.sent(2, 9);
        assert_eq!(publishing.groups.len(), 2);
        publishing.settled(2);
        assert_eq!(publishing.groups.len(), 2);
        assert_eq!(publishing.oldest_source_seconds(), Some(7));
        publishing.settled(1);
        assert_eq!(publishing.groups.len(), 1);
        assert_eq!(publishing.oldest_source_seconds(), Some(9));
        publishing.lost();
        assert_eq!(publishing.age(), Duration::ZERO);
    }
}
