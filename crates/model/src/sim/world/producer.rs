//! What the broker answers a Watcher's producer.

use cdc_machine::Fault;
use cdc_watcher::{Batching, Input, TopicState};

use super::World;
use crate::sim::kafka::{DEAD_LETTERS, Log, Producer, Stage};
use crate::sim::message::{Kind, Message, PARTITIONS, PARTS, TABLES};
use crate::sim::schedule::How;

impl World {
    pub(super) fn prepare(&mut self, who: usize, how: How, arg: u16) {
        let Some(process) = self.watchers[who].as_mut() else { return };
        let Some((id, batching)) = process.preparation.take() else { return };
        let stream = process.producer.stream;
        let is_single = batching == Batching::Single;
        let former =
            std::mem::replace(&mut process.producer, Producer { is_single, stream, ..Producer::default() });
        self.kafka.orphan(former, usize::from(arg % 3));
        let result = match how {
            How::Failed | How::Unheard | How::Away | How::Late => Err(Fault::Unreachable),
            How::Oddly => Err([Fault::Transient, Fault::Fenced, Fault::Auth][usize::from(arg % 3)]),
            How::Good => Ok((0..TABLES).map(|table| self.topic(table)).collect()),
        };
        self.tell(who, Input::ProducerPrepared { id, result });
    }

    fn topic(&self, table: usize) -> TopicState {
        let logs = &self.kafka.logs[table * PARTS..(table + 1) * PARTS];
        TopicState {
            partitions: u32::try_from(PARTS).unwrap_or(1),
            was_made: false,
            holds_messages: logs.iter().any(Log::holds_messages),
            lineage: logs.iter().filter_map(Log::lineage).max(),
        }
    }

    pub(super) fn append(&mut self, who: usize, arg: usize, how: How) {
        let Some(process) = self.watchers[who].as_mut() else { return };
        let of = |step: usize| (arg + step) % (PARTITIONS + 1);
        let queues = &process.producer.queues;
        let has_sent = |partition: &usize| queues[*partition].iter().any(|it| it.stage == Stage::Sent);
        let Some(partition) = (0..=PARTITIONS).map(of).find(has_sent) else { return };
        let (life, is_single) = (process.life, process.producer.is_single);
        let Some(sent) = process.producer.next_sent(partition) else { return };
        let (message, stream, seq) = (sent.message, sent.stream, sent.seq);
        let is_event = partition != DEAD_LETTERS && message.kind != Kind::Gap;
        // A marker in its place loses a document's state, which may hold on to a name for ever.
        let how = if how == How::Oddly && self.options.exchanges { How::Failed } else { how };
        sent.stage = match how {
            How::Good => Stage::Appended,
            How::Failed | How::Unheard | How::Away | How::Late => Stage::Failed,
            How::Oddly if is_event && !is_single => Stage::BatchTooLarge,
            How::Oddly => Stage::Failed,
        };
        if how == How::Oddly && is_event && is_single {
            process.producer.queues[partition].retain(|it| it.seq != seq);
            let marker = Message { kind: Kind::Marker, ..message };
            return self.tell(who, Input::DeliveryTooLarge { seq, marker });
        }
        match how {
            How::Good | How::Unheard if partition == DEAD_LETTERS => {
                self.marked.insert(message.token);
                self.oracles.delivery.arrived(message.token);
            }
            How::Good | How::Unheard => {
                let offset = self.kafka.append(partition, message);
                if is_event {
                    let in_order = self.oracles.topics.appended((life, stream), partition, message.token);
                    self.fail(in_order);
                }
                self.appended(partition, offset, message);
            }
            How::Late if partition != DEAD_LETTERS => self.kafka.remember_late(partition, message),
            How::Failed | How::Late | How::Away | How::Oddly => {}
        }
    }

    pub(super) fn report(&mut self, who: usize, arg: u16) {
        let Some(process) = self.watchers[who].as_mut() else { return };
        let (mut seqs, mut failed) = (Vec::new(), Vec::new());
        let mask = if arg & 0x1f == 0 { u16::MAX } else { arg };
        for (bit, queue) in process.producer.queues.iter_mut().enumerate() {
            while mask & (1 << bit) != 0
                && let Some(answered) = queue.pop_front_if(|it| it.stage != Stage::Sent)
            {
                match answered.stage {
                    Stage::BatchTooLarge => failed.push((answered.seq, Fault::TooLarge)),
                    Stage::Failed => failed.push((answered.seq, Fault::Transient)),
                    Stage::Appended | Stage::Sent => seqs.push(answered.seq),
                }
            }
        }
        if !seqs.is_empty() {
            self.tell(who, Input::Delivered { seqs });
        }
        for (seq, fault) in failed {
            self.tell(who, Input::DeliveryFailed { seq, fault });
        }
    }
}
