//! What is fetched, and what was polled and not handed out yet.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cdc_machine::{Epoch, Fault};
use cdc_ports::{Failure, PolledRecord};
use cdc_syncer::{FetchStart, Partition, Record, StartOffset};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::polled_error::failure_of;
use crate::arena::Arena;
use crate::classify::failure_from;
use crate::partitions::PartitionNames;
use crate::rebalance::GroupClient;

/// The longest that librdkafka may take to accept a seek, which needs no broker.
const SEEK_TIMEOUT: Duration = Duration::from_secs(1);

/// A partition that is fetched.
struct Fetching {
    partition: Partition,
    topic: Arc<str>,
    number: i32,
    epoch: Epoch,
    /// Lower offsets are not handed out: librdkafka has returned a stale position after a resume.
    next: i64,
}

/// What one poll brought.
pub(super) enum Polled {
    Record(PolledRecord),
    /// Something that is not handed out: a record of a partition that is not fetched, a passing error.
    Dropped,
    Nothing,
}

/// The partitions of one client: what the group gave, what is fetched of it, what was polled.
pub(super) struct Fetches {
    client: Arc<GroupClient>,
    names: Arc<PartitionNames>,
    /// What the group gave us, fetched or not.
    owned: HashSet<Partition>,
    fetching: Vec<Fetching>,
    /// Fetched no longer, but still in librdkafka's assignment: while a revocation waits, any change of that would
    /// answer it.
    stopping: Vec<Fetching>,
    /// The index in `fetching` of the last record's partition: records come in runs.
    last: usize,
    /// Polled while there was no credit, or too large for what was left of it.
    pub(super) pending: VecDeque<PolledRecord>,
    is_paused: bool,
    arena: Arena,
}

impl Fetches {
    pub(super) fn new(client: Arc<GroupClient>, names: Arc<PartitionNames>) -> Self {
        Self {
            client,
            names,
            owned: HashSet::new(),
            fetching: Vec::new(),
            stopping: Vec::new(),
            last: 0,
            pending: VecDeque::new(),
            is_paused: false,
            arena: Arena::default(),
        }
    }

    /// True where records wait for an order and nothing else is to be polled for.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty() && !self.is_paused
    }

    // ---- records

    pub(super) fn poll(&mut self, wait: Duration) -> Result<Polled, Failure> {
        let client = Arc::clone(&self.client);
        match client.poll(wait) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) => Ok(self.accept(&message).map_or(Polled::Dropped, Polled::Record)),
            Some(Err(error)) => failure_of(&error).map_or(Ok(Polled::Dropped), Err),
        }
    }

    /// Copies a record of a partition that is fetched; `None` for any other.
    fn accept(&mut self, message: &BorrowedMessage<'_>) -> Option<PolledRecord> {
        let (topic, number) = (message.topic(), message.partition());
        let is_it = |fetching: &Fetching| fetching.number == number && &*fetching.topic == topic;
        if !self.fetching.get(self.last).is_some_and(is_it) {
            self.last = self.fetching.iter().position(is_it)?;
        }
        let fetching = self.fetching.get_mut(self.last)?;
        let offset = message.offset();
        if offset < fetching.next {
            return None;
        }
        fetching.next = offset + 1;
        let bytes = message.key_len() + message.payload_len();
        Some(Record {
            partition: fetching.partition,
            epoch: fetching.epoch,
            offset,
            route: cdc_event::route(message.key().unwrap_or_default()),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            handle: self.arena.copy(message),
        })
    }

    // ---- what is fetched

    pub(super) fn start(&mut self, starts: &[FetchStart]) -> Result<(), Failure> {
        let mut assign = TopicPartitionList::new();
        let mut seek = TopicPartitionList::new();
        for start in starts.iter().filter(|start| self.owned.contains(&start.partition)) {
            let Some(name) = self.names.name(start.partition) else { continue };
            let (offset, next) = match start.offset {
                StartOffset::Beginning => (Offset::Beginning, 0),
                StartOffset::At(offset) => (Offset::Offset(offset), offset),
            };
            self.pending.retain(|record| record.partition != start.partition);
            let is_it = |it: &mut Fetching| it.partition == start.partition;
            self.fetching.extend(self.stopping.extract_if(.., is_it));
            let list = match self.fetching.iter_mut().find(|it| it.partition == start.partition) {
                Some(fetching) => {
                    (fetching.epoch, fetching.next) = (start.epoch, next);
                    &mut seek
                }
                None => {
                    self.fetching.push(Fetching {
                        partition: start.partition,
                        topic: Arc::clone(&name.topic),
                        number: name.partition,
                        epoch: start.epoch,
                        next,
                    });
                    &mut assign
                }
            };
            list.add_partition_offset(&name.topic, name.partition, offset).map_err(|error| {
                failure_from("kafka_start", &format!("{} at {offset:?}", name.topic), &error)
            })?;
        }
        if assign.count() > 0 {
            self.client.incremental_assign(&assign).map_err(|error| refused("assign", &error))?;
            if self.is_paused {
                self.client.pause(&assign).map_err(|error| refused("pause", &error))?;
            }
        }
        if seek.count() > 0 {
            self.seek(seek)?;
        }
        Ok(())
    }

    /// What was polled of them is dropped; they stay the group's gift.
    pub(super) fn stop(&mut self, partitions: &[Partition]) -> Result<(), Failure> {
        let is_of = |fetching: &mut Fetching| partitions.contains(&fetching.partition);
        let stopped: Vec<Fetching> = self.fetching.extract_if(.., is_of).collect();
        self.pending.retain(|record| !partitions.contains(&record.partition));
        self.unpause(&list_of(&stopped))?;
        self.stopping.extend(stopped);
        Ok(())
    }

    /// Takes what is fetched no longer out of librdkafka's assignment.
    pub(super) fn end_stopping(&mut self) -> Result<(), Failure> {
        if self.stopping.is_empty() {
            return Ok(());
        }
        let stopped = list_of(&std::mem::take(&mut self.stopping));
        self.client.incremental_unassign(&stopped).map_err(|error| refused("unassign", &error))
    }

    /// librdkafka keeps the mark beyond the assignment: a partition that came back would stay paused for ever.
    fn unpause(&self, leaving: &TopicPartitionList) -> Result<(), Failure> {
        if self.is_paused && leaving.count() > 0 {
            return self.client.resume(leaving).map_err(|error| refused("resume", &error));
        }
        Ok(())
    }

    fn seek(&self, list: TopicPartitionList) -> Result<(), Failure> {
        let answered =
            self.client.seek_partitions(list, SEEK_TIMEOUT).map_err(|error| refused("seek", &error))?;
        for element in answered.elements() {
            element.error().map_err(|error| {
                failure_from("kafka_seek", &format!("{}/{}", element.topic(), element.partition()), &error)
            })?;
        }
        Ok(())
    }

    pub(super) fn set_paused(&mut self, paused: bool) -> Result<(), Failure> {
        self.is_paused = paused;
        let list = list_of(&self.fetching);
        let done = if paused { self.client.pause(&list) } else { self.client.resume(&list) };
        done.map_err(|error| refused("pause or resume", &error))
    }

    // ---- what the group gives and takes back

    /// Takes what the group gives. An empty assignment answers the group at once; fetching waits for the offsets to
    /// start at.
    pub(super) fn take(&mut self, given: &[(String, i32)]) -> Result<Vec<Partition>, Failure> {
        self.client
            .incremental_assign(&TopicPartitionList::new())
            .map_err(|error| refused("assign", &error))?;
        let given = self.numbers(given);
        self.owned.extend(&given);
        Ok(given)
    }

    /// Answers a revocation. Only what was started is in librdkafka's own assignment.
    pub(super) fn give_back(&mut self, partitions: &[Partition]) -> Result<(), Failure> {
        self.stop(partitions)?;
        let is_of = |fetching: &mut Fetching| partitions.contains(&fetching.partition);
        let started: Vec<Fetching> = self.stopping.extract_if(.., is_of).collect();
        self.owned.retain(|partition| !partitions.contains(partition));
        let started = list_of(&started);
        self.client.incremental_unassign(&started).map_err(|error| refused("unassign", &error))
    }

    pub(super) fn numbers(&self, names: &[(String, i32)]) -> Vec<Partition> {
        names.iter().map(|(topic, partition)| self.names.number(topic, *partition)).collect()
    }
}

fn list_of(fetching: &[Fetching]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(fetching.len());
    for it in fetching {
        list.add_partition(&it.topic, it.number);
    }
    list
}

/// librdkafka refuses these only where its state is not what this thread believes; a new client mends it.
fn refused(what: &str, error: &KafkaError) -> Failure {
    Failure::new(
        Fault::Transient,
        "kafka_rebalance",
        format!("librdkafka refused to {what} partitions; the consumer is made anew"),
    )
    .because(error.clone())
}
