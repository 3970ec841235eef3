use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{EffectId, Epoch, Fault, Lineage, SeqNo, Signal, TimerId};

use crate::{CollectionId, Contents, Known, Notice, TimerKind, TopicState};

/// A position with the lineage that its record was made under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint<T> {
    /// Where to go on: after this token.
    pub token: T,
    /// When the record was first made.
    pub lineage: Lineage,
    /// The watched collections, in the configuration's order; `None` for one that the record does not name.
    pub known: Vec<Option<Known>>,
}

/// What the token record holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Saved<T> {
    /// There is no record, or it never held a position.
    Nothing,
    /// There was a position, which a damaged record has lost.
    Lost,
    /// A position.
    Position(Checkpoint<T>),
}

/// What the source says of one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event<R, T> {
    /// The event's own resume token.
    pub token: T,
    /// What to do with it.
    pub payload: Payload<R>,
}

/// What an event carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's own line says what its fields are")]
pub enum Payload<R> {
    /// A message for Kafka, and its size in bytes.
    Message { record: R, bytes: u32, collection: CollectionId },
    /// Control messages for every partition: a collection was dropped or renamed. Those that are `gone` have
    /// no documents now but such as the stream tells of; those that are `replaced` have others than the
    /// stream has told of, and one of the messages is their gap's.
    Control { notices: Vec<Notice<R>>, gone: Vec<CollectionId>, replaced: Vec<CollectionId> },
    /// The event does not fit a reply of the source, and came without its documents. `marker` says so in
    /// its place.
    Oversized { marker: R },
    /// Nothing to deliver (an invalidation, an index build): counted by the executor; the slot is settled as
    /// soon as everything before it is.
    Skip,
}

/// A fact about the world, as the Watcher hears it. `R` is a message's handle, `T` a resume token; the
/// machine looks into neither, except that tokens have an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's own line says what its fields are")]
pub enum Input<R, T> {
    /// The service begins.
    Start,

    /// The lease is ours. `saved` is what the record holds; `unannounced` are the control messages of its
    /// gaps that Kafka may not have; `fresh` is the lineage that a new record would get.
    LeaseAcquired { id: EffectId, saved: Saved<T>, unannounced: Vec<Notice<R>>, fresh: Lineage },
    /// Somebody else holds the lease for at most this long.
    LeaseHeld { id: EffectId, expires_in: Duration },
    /// The store did not answer, or in a way that no record explains.
    LeaseFailed { id: EffectId, fault: Fault },
    /// The lease's time is extended.
    LeaseRenewed { id: EffectId },
    /// It was not.
    LeaseRenewFailed { id: EffectId, fault: Fault },
    /// The lease is given back, or could not be: either way the service may end.
    LeaseReleased { id: EffectId },
    /// The record was made for another source or topic.
    LeaseForeign { id: EffectId },
    /// The record is damaged, and was left as it is.
    LeaseDamaged { id: EffectId },
    /// The record was written by a newer release, and was left as it is.
    LeaseUnreadable { id: EffectId },

    /// The producer is ready and the topics exist: one for each watched collection, in the same order.
    ProducerReady { id: EffectId, topics: Vec<TopicState> },
    /// The producer could not be made, or the topics not be had.
    ProducerFailed { id: EffectId, fault: Fault },
    /// The running producer died (a fatal librdkafka error). No report comes for what it still held.
    ProducerLost { fault: Fault },

    /// The change stream is open. `at` is the position before its first event; `contents` are the watched
    /// collections, in the configuration's order, as they were when all before `looked_at` had happened. That is
    /// an order only: no stream is opened there.
    Opened { epoch: Epoch, at: T, contents: Vec<Contents>, looked_at: T },
    /// It could not be opened.
    OpenFailed { epoch: Epoch, fault: Fault },
    /// The answer to one `Pull`: at most as much as it asked for. `idle` is an empty batch's post-batch token.
    Batch { epoch: Epoch, events: Vec<Event<R, T>>, idle: Option<T> },
    /// The stream broke.
    SourceFailed { epoch: Epoch, fault: Fault },

    /// Kafka has these messages.
    Delivered { seqs: Vec<SeqNo> },
    /// Kafka does not have this message. `TooLarge` where the batch that it shared was refused for its size.
    DeliveryFailed { seq: SeqNo, fault: Fault },
    /// This message does not fit: it was refused alone. `marker` says so in its place.
    DeliveryTooLarge { seq: SeqNo, marker: R },

    /// The token is stored. `unannounced` are the control messages of the gaps that this save opened and
    /// Kafka does not have.
    Saved { id: EffectId, unannounced: Vec<Notice<R>> },
    /// It is not, or nobody knows.
    SaveFailed { id: EffectId, fault: Fault },

    /// A timer ran out.
    Timer(TimerId<TimerKind>),
    /// A person or a supervisor asks.
    Signal(Signal),
}
