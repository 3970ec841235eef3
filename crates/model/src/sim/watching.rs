//! A process with a Watcher in it: what the machine has asked, and what its clients hold.

use std::time::Duration;

use cdc_machine::{EffectId, Epoch, Lineage, SeqNo, StateName};
use cdc_watcher::{AckedToken, Batching, Effect, Reading, RecordChange, StartAt, TimerKind, Watcher};

use super::kafka::{DEAD_LETTERS, Producer};
use super::message::{Kind, Message, PARTITIONS, Token, partition_of};
use super::store::{Life, Memory};
use super::timers::Alarms;

/// An order of the Watcher's.
pub type Order = Effect<Message, Token>;

/// A stream that is open.
#[derive(Clone, Debug, Hash)]
pub struct Stream {
    /// Its number.
    pub epoch: Epoch,
    /// What it has come to.
    pub after: Token,
    /// What its messages carry.
    pub lineage: Lineage,
}

/// A stream that is to be opened.
#[derive(Clone, Debug, Hash)]
pub struct Opening {
    /// Its number.
    pub epoch: Epoch,
    /// Where.
    pub from: StartAt<Token>,
    /// What its messages will carry.
    pub lineage: Lineage,
    /// How it is read.
    pub reading: Reading,
}

/// A save that is to be answered.
#[derive(Clone, Debug, Hash)]
pub struct Save {
    /// The request.
    pub id: EffectId,
    /// The position.
    pub token: AckedToken<Token>,
    /// Its lineage.
    pub lineage: Lineage,
    /// What changes with it.
    pub change: RecordChange<Token>,
}

/// The process.
#[derive(Clone, Debug, Hash)]
pub struct Watching {
    /// Which process this is, for ever.
    pub life: Life,
    /// The name that it was given.
    pub instance: u8,
    /// It hears nothing and does nothing.
    pub is_frozen: bool,
    /// Another process was started in its place.
    pub is_replaced: bool,
    /// The machine.
    pub machine: Watcher<Message, Token>,
    /// Its timers.
    pub alarms: Alarms<TimerKind>,
    /// What it knows of the token record.
    pub memory: Memory,
    /// The source has been asked who it is.
    pub identify: bool,
    /// The lease has been asked for.
    pub lease: Option<(EffectId, bool)>,
    /// A renewal.
    pub renewal: Option<EffectId>,
    /// A release.
    pub release: Option<EffectId>,
    /// A producer.
    pub preparation: Option<(EffectId, Batching)>,
    /// A stream.
    pub opening: Option<Opening>,
    /// The one that is open.
    pub stream: Option<Stream>,
    /// A fetch.
    pub fetch: Option<(Epoch, u32, u64)>,
    /// A fetch of a stream that was closed since.
    pub late_fetch: Option<Epoch>,
    /// The producer.
    pub producer: Producer,
    /// A save.
    pub save: Option<Save>,
    /// Positions of all that was handed to Kafka, as far as no save is known to cover them.
    pub published: Vec<Token>,
    /// The stream breaks at the next fetch.
    pub is_stream_broken: bool,
    /// When a shutdown that was asked for has to be over.
    pub deadline: Option<Duration>,
}

impl Watching {
    /// A process that waits for its start.
    #[must_use]
    pub fn new(life: Life, instance: u8) -> Self {
        Self {
            life,
            instance,
            is_frozen: false,
            is_replaced: false,
            machine: Watcher::new(),
            alarms: Alarms::new(),
            memory: Memory::default(),
            identify: false,
            lease: None,
            renewal: None,
            release: None,
            preparation: None,
            opening: None,
            stream: None,
            fetch: None,
            late_fetch: None,
            producer: Producer::default(),
            save: None,
            published: Vec::new(),
            is_stream_broken: false,
            deadline: None,
        }
    }

    /// True once it has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.machine.state() == StateName::Stopped
    }

    /// Takes an order.
    pub fn carry_out(&mut self, order: Order, now: Duration) {
        match order {
            Effect::IdentifySource {} => self.identify = true,
            Effect::AcquireLease { id, over_damage } => self.lease = Some((id, over_damage)),
            Effect::RenewLease { id } => self.renewal = Some(id),
            Effect::ReleaseLease { id } => self.release = Some(id),
            Effect::PrepareProducer { id, batching } => self.preparation = Some((id, batching)),
            Effect::OpenStream { epoch, from, lineage, reading } => {
                self.producer.stream = epoch.0;
                self.opening = Some(Opening { epoch, from, lineage, reading });
            }
            Effect::Fetch { epoch, max_events, max_bytes } => {
                self.fetch = Some((epoch, max_events, max_bytes));
            }
            Effect::CloseStream { epoch } => {
                self.opening.take_if(|opening| opening.epoch == epoch);
                self.stream.take_if(|stream| stream.epoch == epoch);
                self.late_fetch = self.fetch.take().map(|(epoch, ..)| epoch).or(self.late_fetch);
            }
            Effect::SaveToken { id, token, lineage, change } => {
                self.save = Some(Save { id, token, lineage, change });
            }
            Effect::Publish { seq, record, partitions: _ } => self.publish(seq, record),
            Effect::PublishControl { seq, records, copies: _ } => {
                for record in records {
                    (0..PARTITIONS).for_each(|partition| self.producer.send(partition, seq, record));
                }
            }
            Effect::PublishMarker { seq, marker } => {
                self.published.push(marker.token);
                self.producer.send(DEAD_LETTERS, seq, Message { kind: Kind::Marker, ..marker });
            }
            Effect::PurgeQueued => self.producer.purge(1),
            Effect::SetTimer { timer, after } => self.alarms.set(timer, now + after),
            Effect::CancelTimer { timer } => self.alarms.cancel(timer),
            Effect::Stop { cause: _ } => {}
        }
    }

    fn publish(&mut self, seq: SeqNo, message: Message) {
        self.published.push(message.token);
        self.producer.send(partition_of(message.table, message.key), seq, message);
    }

    /// A save is known to cover these.
    pub fn forget_published(&mut self, saved: Token) {
        self.published.retain(|token| *token > saved);
    }
}
