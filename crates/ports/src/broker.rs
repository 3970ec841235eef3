use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cdc_event::Message;
use cdc_machine::{EffectId, SeqNo};
use cdc_syncer::{FetchStart, LogBounds, Partition, Record, Reject, SqlState};
use cdc_watcher::{Batching, TopicState};

use crate::{Failure, KafkaRecord};

/// What Kafka says of one message.
#[derive(Debug)]
pub enum ProducerReport {
    /// Acknowledged by all in-sync replicas.
    Delivered(SeqNo),
    /// The same of a sampled event.
    DeliveredSampled(SeqNo, Acknowledged),
    /// Not delivered, or nobody knows. `TooLarge` where it shared a batch that was refused for its size.
    Failed(SeqNo, Failure),
    /// It was refused alone for its size; the marker is to go to the dead letters in its place.
    TooLarge(SeqNo, Message),
    /// The producer died; no report will come for what it still holds.
    Lost(Failure),
}

/// Where a message has come to stand, and when its acknowledgement came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When the client told.
    pub at: SystemTime,
}

/// Why a message was refused on the spot.
#[derive(Debug)]
pub enum SendRefused {
    /// Not queued: try to make progress elsewhere first.
    Failed(Failure),
    /// Larger than the client may send; the marker is to go to the dead letters in its place.
    TooLarge(Box<Message>),
}

/// The Watcher's way into Kafka. One sequencer calls `send`, so that librdkafka's order is ours (trap T6).
pub trait Producer: Send + 'static {
    /// Makes a client (anew, where there was one) that batches as told, and sees that the topics exist, one for
    /// each watched collection. Returns how it found them, in the same order.
    ///
    /// # Errors
    /// Whatever keeps it from doing so, classified.
    fn prepare(
        &mut self,
        batching: Batching,
    ) -> impl Future<Output = Result<Vec<TopicState>, Failure>> + Send;

    /// Queues one message, for the partition that its key falls into among so many. Its fate is reported through
    /// the sink under its number.
    ///
    /// # Errors
    /// When it was not queued; no report follows.
    fn send(&mut self, seq: SeqNo, message: Message, partitions: u32) -> Result<(), SendRefused>;

    /// Queues a copy of a control message for every partition of every topic, all under one number: each copy
    /// is reported on its own. Returns how many were queued, and why others were not; on those no report
    /// follows.
    fn send_control(&mut self, seq: SeqNo, message: &Message) -> (u32, Option<Failure>);

    /// Queues a marker for the dead letters, under the number of the message that did not fit.
    ///
    /// # Errors
    /// When it was not queued; no report follows.
    fn send_marker(&mut self, seq: SeqNo, marker: Message) -> Result<(), SendRefused>;

    /// Takes back what is only queued. Each such message is reported as failed.
    fn purge_queued(&mut self);

    /// The topics, one for each watched collection.
    fn topics(&self) -> &[Arc<str>];

    /// Asks the brokers how many partitions the topics have, in the same order: a sign of life for the health of a
    /// stream on which nothing happens, and how it is known that a topic has grown. Nothing where there is no client.
    /// It stands alone: it may outlive the producer.
    fn probe(&self) -> impl Future<Output = Result<Vec<u32>, Failure>> + Send + 'static;
}

/// A topic's partition, as the machine's [`Partition`] numbers stand for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition's number in it.
    pub partition: i32,
}

/// A record with its place.
pub type PolledRecord = Record<KafkaRecord>;

/// What a consumer tells of its own accord.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// The group gave these, beside what is there.
    Assigned(Vec<Partition>),
    /// The group takes these back and waits, at most until the deadline below its session time-out.
    Revoking(EffectId, Vec<Partition>),
    /// These are gone.
    Lost(Vec<Partition>),
    /// The answer to a fetch.
    Records(Vec<PolledRecord>),
    /// The consumer died.
    Failed(Failure),
}

/// A topic that the brokers do not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingTopic {
    /// Its name.
    pub topic: String,
    /// A name like it that they have.
    pub similar: Option<String>,
}

/// A record on its way to the dead letters.
#[derive(Debug)]
pub struct RejectedRecord {
    /// Where it was read.
    pub origin: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// The record.
    pub record: KafkaRecord,
    /// Why it was not written.
    pub reason: Reject,
    /// What PostgreSQL answered, where it was asked.
    pub sqlstate: Option<SqlState>,
    /// Column, type and limit.
    pub detail: Arc<str>,
    /// How often it was tried.
    pub attempts: u32,
}

/// The Syncer's way out of Kafka. The client has a thread of its own that keeps polling; these calls hand it
/// orders and return at once, unless they are `async`. Clones are handles to the same client; one task awaits
/// [`Self::event`].
pub trait RecordConsumer: Clone + Send + Sync + 'static {
    /// Subscribes, with a new client where there was one, and waits for the broker to answer.
    ///
    /// # Errors
    /// Whatever keeps it from doing so, classified.
    fn join(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Leaves the group and closes the client within a bounded time.
    fn leave(&self) -> impl Future<Output = ()> + Send;

    /// The next thing that the client has to tell.
    fn event(&self) -> impl Future<Output = ConsumerEvent> + Send;

    /// The name behind a number; numbers are given out at assignment and never change.
    fn name(&self, partition: Partition) -> TopicPartition;

    /// The group's committed offsets, in the same order; `None` where there is none.
    ///
    /// # Errors
    /// Whatever the broker says, classified.
    fn committed(
        &self,
        partitions: &[Partition],
    ) -> impl Future<Output = Result<Vec<Option<i64>>, Failure>> + Send;

    /// What the partitions' logs hold, in the same order; `None` where the topic has no such partition (any more):
    /// the group may know that later than the brokers.
    ///
    /// # Errors
    /// Whatever the broker says, classified.
    fn log_bounds(
        &self,
        partitions: &[Partition],
    ) -> impl Future<Output = Result<Vec<Option<LogBounds>>, Failure>> + Send;

    /// Where the partitions' logs end, in the same order; `None` where the brokers do not say.
    ///
    /// # Errors
    /// Whatever the broker says, classified.
    fn log_ends(
        &self,
        partitions: &[Partition],
    ) -> impl Future<Output = Result<Vec<Option<i64>>, Failure>> + Send;

    /// The topics of the configuration that the brokers do not have.
    ///
    /// # Errors
    /// Whatever the broker says, classified.
    fn missing_topics(&self) -> impl Future<Output = Result<Vec<MissingTopic>, Failure>> + Send;

    /// Commits offsets and waits for the broker's answer.
    ///
    /// # Errors
    /// Whatever the broker says, classified; a rebalance in progress is `Fenced`.
    fn commit(&self, offsets: &[(Partition, i64)]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Begins to fetch, or begins anew.
    fn start(&self, starts: &[FetchStart]);

    /// Fetches these no longer and drops what was polled of them. The group still counts them as ours.
    fn stop(&self, partitions: &[Partition]);

    /// Allows one answer of at most this much.
    fn fetch(&self, max_records: u32, max_bytes: u64);

    /// Stops fetching, goes on polling.
    fn pause(&self);

    /// Fetches again.
    fn resume(&self);

    /// Lets the group have what it asked back.
    fn confirm_revoked(&self, id: EffectId);

    /// Puts a record aside, durably, within a bounded time.
    ///
    /// # Errors
    /// Whatever the broker says, classified.
    fn dead_letter(&self, record: RejectedRecord) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Asks the brokers for a sign of life, for the health of a service that has nothing to do.
    ///
    /// # Errors
    /// Whatever keeps them from answering, classified.
    fn probe(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// How long a revocation may take before the group loses patience: the machine confirms it by then.
    fn revocation_deadline(&self) -> Duration;
}
