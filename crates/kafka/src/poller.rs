//! The thread that owns polling. It alone assigns, seeks and pauses, so nothing here needs a lock.
//!
//! It polls while there is credit, while nothing polled is waiting for credit, while fetching is paused and
//! while a revocation waits. With a record in hand and no credit it waits for an order: whoever has no room
//! for long pauses, so that rebalances are served meanwhile.

mod group;
mod verdict;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use cdc_machine::{EffectId, Epoch, Fault};
use cdc_ports::{ConsumerEvent, Failure, PolledRecord};
use cdc_syncer::{FetchStart, Partition, Record, StartOffset};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use xxhash_rust::xxh3::xxh3_64;

use crate::arena::Arena;
use crate::classify::failure_from;
use crate::partitions::PartitionNames;
use crate::rebalance::GroupCallbacks;

use verdict::judge;

/// The longest that an order waits while nothing arrives.
const POLL_WAIT: Duration = Duration::from_millis(10);
/// The longest that librdkafka may take to accept a seek, which needs no broker.
const SEEK_TIMEOUT: Duration = Duration::from_secs(1);

/// An order from the handle.
#[derive(Debug)]
pub(crate) enum Command {
    Start(Vec<FetchStart>),
    Stop(Vec<Partition>),
    Fetch { max_records: u32, max_bytes: u64 },
    Pause,
    Resume,
    ConfirmRevoked(EffectId),
    Leave,
}

/// How the thread speaks: its session's number goes with each event, so that what a former client said last
/// is not taken for the present one's.
pub(crate) struct Voice {
    pub(crate) session: u64,
    pub(crate) events: tokio::sync::mpsc::Sender<(u64, ConsumerEvent)>,
}

impl Voice {
    /// Waits while the queue is full. It has room for hundreds; a driver that reads none is gone.
    fn say(&self, event: ConsumerEvent) {
        if self.events.blocking_send((self.session, event)).is_err() {
            tracing::debug!("a consumer event was dropped: nobody listens any more");
        }
    }
}

/// A partition that is fetched.
struct Fetching {
    partition: Partition,
    topic: Arc<str>,
    number: i32,
    epoch: Epoch,
    /// Lower offsets are not handed out: librdkafka has returned a stale position after a resume.
    next: i64,
}

struct Credit {
    records: usize,
    bytes: u64,
}

/// What the group takes back, until it is confirmed.
struct Revocation {
    id: EffectId,
    partitions: Vec<Partition>,
    until: Instant,
}

pub(crate) struct Poller {
    client: Arc<BaseConsumer<GroupCallbacks>>,
    commands: Receiver<Command>,
    voice: Voice,
    names: Arc<PartitionNames>,
    revocation_deadline: Duration,
    next_revocation: u64,
    /// What the group gave us, fetched or not.
    owned: HashSet<Partition>,
    fetching: Vec<Fetching>,
    /// Fetched no longer, but still in librdkafka's assignment: while a revocation waits, any change of that would
    /// answer it.
    stopping: Vec<Fetching>,
    /// The index in `fetching` of the last record's partition: records come in runs.
    last: usize,
    credit: Option<Credit>,
    /// Polled while there was no credit, or too large for what was left of it.
    pending: VecDeque<PolledRecord>,
    paused: bool,
    revocation: Option<Revocation>,
    arena: Arena,
}

impl Poller {
    pub(crate) fn new(
        client: Arc<BaseConsumer<GroupCallbacks>>,
        commands: Receiver<Command>,
        voice: Voice,
        names: Arc<PartitionNames>,
        revocation_deadline: Duration,
    ) -> Self {
        Self {
            client,
            commands,
            // Unique among all sessions: a late confirmation must not confirm another revocation.
            next_revocation: voice.session << 32,
            voice,
            names,
            revocation_deadline,
            owned: HashSet::new(),
            fetching: Vec::new(),
            stopping: Vec::new(),
            last: 0,
            credit: None,
            pending: VecDeque::new(),
            paused: false,
            revocation: None,
            arena: Arena::default(),
        }
    }

    /// Polls until it is told to leave, or the client dies; closes the client.
    pub(crate) fn run(mut self) {
        match self.serve() {
            Ok(()) => self.leave(),
            Err(failed) => {
                // A static member that only came back would get the same assignment again. The log may not be what that
                // was made for (made anew, with fewer partitions), or the assignment may leave partitions to nobody.
                let is_to_leave = self.client.context().reason_to_leave().is_some();
                if is_to_leave || failed.fault == Fault::HistoryLost {
                    self.leave();
                }
                self.voice.say(ConsumerEvent::Failed(failed));
            }
        }
        // Dropping the client closes it and polls until it is closed. Where the brokers are away that may
        // never end, and nobody waits for this thread for long.
        self.client.context().close();
    }

    /// # Errors
    /// What the client died of.
    fn serve(&mut self) -> Result<(), Failure> {
        loop {
            loop {
                match self.commands.try_recv() {
                    Ok(Command::Leave) | Err(TryRecvError::Disconnected) => return Ok(()),
                    Ok(command) => self.obey(command)?,
                    Err(TryRecvError::Empty) => break,
                }
            }
            if let Some(reason) = self.client.context().reason_to_leave() {
                return Err(Failure::new(Fault::Transient, "kafka_group", reason));
            }
            self.check_revocation()?;
            self.end_stopping()?;
            if self.credit.is_some() {
                self.fill()?;
            } else if self.pending.is_empty() || self.paused || self.revocation.is_some() {
                self.poll_into_pending()?;
            } else {
                match self.commands.recv_timeout(POLL_WAIT) {
                    Ok(Command::Leave) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    Ok(command) => self.obey(command)?,
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
            while self.revocation.is_none()
                && let Some(notice) = self.client.context().next_notice()
            {
                self.heed(notice)?;
            }
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Start(starts) => self.start(&starts),
            Command::Stop(partitions) => self.stop(&partitions),
            Command::Fetch { max_records, max_bytes } => {
                let records = usize::try_from(max_records.max(1)).unwrap_or(usize::MAX);
                self.credit = Some(Credit { records, bytes: max_bytes });
                Ok(())
            }
            Command::Pause => self.set_paused(true),
            Command::Resume => self.set_paused(false),
            Command::ConfirmRevoked(id) => match self.revocation.take_if(|pending| pending.id == id) {
                Some(confirmed) => self.give_back(&confirmed.partitions),
                None => Ok(()),
            },
            // Taken out by the loop, which ends with it.
            Command::Leave => Ok(()),
        }
    }

    // ---- records

    /// Hands out what there is, as soon as there is one record.
    fn fill(&mut self) -> Result<(), Failure> {
        let Some(credit) = self.credit.take() else { return Ok(()) };
        let mut records = Vec::with_capacity(credit.records.min(1024));
        let mut bytes = 0u64;
        while records.len() < credit.records {
            let record = match self.pending.pop_front() {
                Some(record) => record,
                None => {
                    let wait = if records.is_empty() { POLL_WAIT } else { Duration::ZERO };
                    match self.poll(wait)? {
                        Polled::Record(record) => record,
                        Polled::Dropped => continue,
                        Polled::Nothing => break,
                    }
                }
            };
            let size = u64::from(record.bytes);
            if !records.is_empty() && bytes + size > credit.bytes {
                self.pending.push_front(record);
                break;
            }
            bytes += size;
            records.push(record);
        }
        if records.is_empty() {
            self.credit = Some(credit);
        } else {
            self.voice.say(ConsumerEvent::Records(records));
        }
        Ok(())
    }

    fn poll_into_pending(&mut self) -> Result<(), Failure> {
        if let Polled::Record(record) = self.poll(POLL_WAIT)? {
            self.pending.push_back(record);
        }
        Ok(())
    }

    fn poll(&mut self, wait: Duration) -> Result<Polled, Failure> {
        let client = Arc::clone(&self.client);
        match client.poll(wait) {
            None => Ok(Polled::Nothing),
            Some(Ok(message)) => Ok(self.accept(&message).map_or(Polled::Dropped, Polled::Record)),
            Some(Err(error)) => judge(&error).map_or(Ok(Polled::Dropped), Err),
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
            route: xxh3_64(message.key().unwrap_or_default()),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            handle: self.arena.copy(message),
        })
    }

    // ---- what is fetched

    fn start(&mut self, starts: &[FetchStart]) -> Result<(), Failure> {
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
            self.client.incremental_assign(&assign).map_err(|error| rebalance_failure("assign", &error))?;
            if self.paused {
                self.client.pause(&assign).map_err(|error| rebalance_failure("pause", &error))?;
            }
        }
        if seek.count() > 0 {
            self.seek(seek)?;
        }
        Ok(())
    }

    /// What was polled of them is dropped; they stay the group's gift.
    fn stop(&mut self, partitions: &[Partition]) -> Result<(), Failure> {
        let is_of = |fetching: &mut Fetching| partitions.contains(&fetching.partition);
        let stopped: Vec<Fetching> = self.fetching.extract_if(.., is_of).collect();
        self.pending.retain(|record| !partitions.contains(&record.partition));
        self.unpause(&list_of(&stopped))?;
        self.stopping.extend(stopped);
        Ok(())
    }

    /// Takes what is fetched no longer out of librdkafka's assignment.
    fn end_stopping(&mut self) -> Result<(), Failure> {
        if self.stopping.is_empty() || self.revocation.is_some() {
            return Ok(());
        }
        let stopped = list_of(&std::mem::take(&mut self.stopping));
        self.client.incremental_unassign(&stopped).map_err(|error| rebalance_failure("unassign", &error))
    }

    /// librdkafka keeps the mark beyond the assignment: a partition that came back would stay paused for ever.
    fn unpause(&self, leaving: &TopicPartitionList) -> Result<(), Failure> {
        if self.paused && leaving.count() > 0 {
            return self.client.resume(leaving).map_err(|error| rebalance_failure("resume", &error));
        }
        Ok(())
    }

    fn seek(&self, list: TopicPartitionList) -> Result<(), Failure> {
        let answered = self
            .client
            .seek_partitions(list, SEEK_TIMEOUT)
            .map_err(|error| rebalance_failure("seek", &error))?;
        for element in answered.elements() {
            element.error().map_err(|error| {
                failure_from("kafka_seek", &format!("{}/{}", element.topic(), element.partition()), &error)
            })?;
        }
        Ok(())
    }

    fn set_paused(&mut self, paused: bool) -> Result<(), Failure> {
        self.paused = paused;
        let list = list_of(&self.fetching);
        let done = if paused { self.client.pause(&list) } else { self.client.resume(&list) };
        done.map_err(|error| rebalance_failure("pause or resume", &error))
    }
}

/// What one poll brought.
enum Polled {
    Record(PolledRecord),
    /// Something that is not handed out: a record of a partition that is not fetched, a passing error.
    Dropped,
    Nothing,
}

fn list_of(fetching: &[Fetching]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(fetching.len());
    for it in fetching {
        list.add_partition(&it.topic, it.number);
    }
    list
}

/// librdkafka refuses these only where its state is not what this thread believes; a new client mends it.
fn rebalance_failure(what: &str, error: &KafkaError) -> Failure {
    Failure::new(
        Fault::Transient,
        "kafka_rebalance",
        format!("librdkafka refused to {what} partitions; the consumer is made anew"),
    )
    .because(error.clone())
}
