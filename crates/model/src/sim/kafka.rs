//! Kafka: partitions with retention, and idempotent producers. What a producer has handed to the broker may be appended
//! late, after the process is gone and another one writes.

use std::collections::VecDeque;

use cdc_machine::{Lineage, SeqNo};

use super::message::{Kind, Message, PARTITIONS, lineage_of};

/// A message in a log.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Logged {
    /// Where it stands. Gaps are normal.
    pub offset: i64,
    /// What stands there.
    pub message: Message,
}

/// One partition.
#[derive(Clone, Debug, Default, Hash)]
pub struct Log {
    records: VecDeque<Logged>,
    /// The first offset that is kept.
    pub first: i64,
    /// The one that comes next.
    pub end: i64,
}

impl Log {
    fn append(&mut self, message: Message) -> i64 {
        let offset = self.end;
        self.records.push_back(Logged { offset, message });
        // An aborted batch or a control record leaves an offset out now and then.
        self.end = offset + 1 + i64::from(offset % 7 == 5);
        offset
    }

    /// The records from an offset on.
    pub fn from(&self, offset: i64) -> impl Iterator<Item = &Logged> {
        let at = self.records.partition_point(|record| record.offset < offset);
        self.records.range(at..)
    }

    /// The oldest records expire, so many.
    pub fn expire(&mut self, count: usize) {
        let count = count.min(self.records.len());
        if let Some(last) = count.checked_sub(1).and_then(|at| self.records.get(at)) {
            self.first = last.offset + 1;
        }
        self.records.drain(..count);
    }

    /// True where a message was ever written.
    #[must_use]
    pub const fn holds_messages(&self) -> bool {
        self.end > 0
    }

    /// The lineage of its last message.
    #[must_use]
    pub fn lineage(&self) -> Option<Lineage> {
        let versions = self.records.iter().rev().filter(|it| it.message.kind != Kind::Gap);
        versions.map(|it| lineage_of(it.message.version)).next()
    }
}

/// A message on its way.
#[derive(Clone, Copy, Debug, Hash)]
pub struct InFlight {
    /// The machine's number for it.
    pub seq: SeqNo,
    /// What it is.
    pub message: Message,
    /// The stream that it was read from.
    pub stream: u64,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Queued, or on the wire.
    Sent,
    /// In the log; the report is on its way.
    Appended,
    /// Not in the log, as the report will say.
    Failed,
    /// The same, since the batch that it was in was too large.
    BatchTooLarge,
}

/// A producer's queues: one for each partition, and one for the dead letters.
#[derive(Clone, Debug, Default, Hash)]
pub struct Producer {
    /// By partition.
    pub queues: [VecDeque<InFlight>; PARTITIONS + 1],
    /// Each message goes alone.
    pub is_single: bool,
    /// The stream that messages come from now.
    pub stream: u64,
}

/// The queue of the dead letters.
pub const DEAD_LETTERS: usize = PARTITIONS;

impl Producer {
    /// Takes a message for a partition.
    pub fn send(&mut self, partition: usize, seq: SeqNo, message: Message) {
        let stream = self.stream;
        self.queues[partition].push_back(InFlight { seq, message, stream, stage: Stage::Sent });
    }

    /// True where the broker has not seen everything.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        self.queues.iter().any(|queue| queue.iter().any(|it| it.stage == Stage::Sent))
    }

    /// So many messages of the fullest queue the broker has not seen.
    #[must_use]
    pub fn most_sent(&self) -> usize {
        let sent = |queue: &VecDeque<InFlight>| queue.iter().filter(|it| it.stage == Stage::Sent).count();
        self.queues.iter().map(sent).max().unwrap_or(0)
    }

    /// True where the broker has answered.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        self.queues.iter().any(|queue| queue.front().is_some_and(|it| it.stage != Stage::Sent))
    }

    /// The next message of a partition that the broker has not seen.
    pub fn next_sent(&mut self, partition: usize) -> Option<&mut InFlight> {
        self.queues[partition].iter_mut().find(|it| it.stage == Stage::Sent)
    }

    /// Fails every second message that has not been appended, from the last one on: what has left the queue cannot be
    /// taken back.
    pub fn purge(&mut self, on_the_wire: usize) {
        for queue in &mut self.queues {
            let sent = queue.iter_mut().filter(|it| it.stage == Stage::Sent);
            sent.skip(on_the_wire).for_each(|it| it.stage = Stage::Failed);
        }
    }

    /// True where nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}

/// What a former producer had on the wire to one partition.
#[derive(Clone, Debug, Hash)]
pub struct Late {
    /// Where it goes.
    pub partition: usize,
    /// In order.
    pub messages: VecDeque<Message>,
}

/// The broker.
#[derive(Clone, Debug, Default, Hash)]
pub struct Kafka {
    /// The partitions.
    pub logs: [Log; PARTITIONS],
    /// What may still be appended of producers that are gone.
    pub late: Vec<Late>,
}

/// Former producers' queues that are remembered.
const LATE_MAX: usize = 8;

impl Kafka {
    /// A message is in the log: its offset.
    pub fn append(&mut self, partition: usize, message: Message) -> i64 {
        self.logs[partition].append(message)
    }

    /// A producer is gone; so many messages of each of its queues were on the wire.
    pub fn orphan(&mut self, producer: Producer, on_the_wire: usize) {
        for (partition, queue) in producer.queues.into_iter().enumerate().take(PARTITIONS) {
            let sent = queue.into_iter().filter(|it| it.stage == Stage::Sent);
            let messages: VecDeque<Message> = sent.take(on_the_wire).map(|it| it.message).collect();
            if !messages.is_empty() && self.late.len() < LATE_MAX {
                self.late.push(Late { partition, messages });
            }
        }
    }

    /// A request that the producer has given up arrives later.
    pub fn remember_late(&mut self, partition: usize, message: Message) {
        if self.late.len() < LATE_MAX {
            self.late.push(Late { partition, messages: VecDeque::from([message]) });
        }
    }

    /// A late message of a former producer arrives.
    pub fn append_late(&mut self, which: usize) -> Option<(usize, i64, Message)> {
        let count = self.late.len();
        let at = which.checked_rem(count)?;
        let late = &mut self.late[at];
        let (partition, message) = (late.partition, late.messages.pop_front());
        if late.messages.is_empty() {
            self.late.swap_remove(at);
        }
        let message = message?;
        Some((partition, self.append(partition, message), message))
    }
}
