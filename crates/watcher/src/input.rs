use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{EffectId, Epoch, Fault, Lineage, SeqNo, Signal, TimerId};

use crate::TimerKind;

/// A position with the lineage that its record was made under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint<T> {
    /// Where to go on: after this token.
    pub token: T,
    /// When the record was first made.
    pub lineage: Lineage,
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
    Message { record: R, bytes: u32 },
    /// Nothing to deliver (a drop, a rename, an index build): counted by the executor; the slot is settled
    /// as soon as everything before it is.
    Skip,
}

/// A fact about the world, as the Watcher hears it. `R` is a message's handle, `T` a resume token; the
/// machine looks into neither, except that tokens have an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's own line says what its fields are")]
pub enum Input<R, T> {
    /// The service begins.
    Start,

    /// The lease is ours. `saved` is what the record holds; `fresh` is the lineage that a new record would
    /// get.
    LeaseAcquired { id: EffectId, saved: Option<Checkpoint<T>>, fresh: Lineage },
    /// Somebody else holds the lease for at most this long.
    LeaseHeld { id: EffectId, expires_in: Duration },
    /// The store did not answer, or its record belongs to another source (then the fault is `Fatal`).
    LeaseFailed { id: EffectId, fault: Fault },
    /// The lease's time is extended.
    LeaseRenewed { id: EffectId },
    /// It was not.
    LeaseRenewFailed { id: EffectId, fault: Fault },
    /// The lease is given back, or could not be: either way the service may end.
    LeaseReleased { id: EffectId },
    /// The record was made for another source or topic.
    LeaseForeign { id: EffectId },

    /// The producer is ready and the topics exist. `holds_messages` is true where any end offset is above 0.
    ProducerReady { id: EffectId, holds_messages: bool },
    /// The producer could not be made, or the topics not be had.
    ProducerFailed { id: EffectId, fault: Fault },
    /// The running producer died (a fatal librdkafka error). No report comes for what it still held.
    ProducerLost { fault: Fault },

    /// The change stream is open. `at` is the position before its first event.
    Opened { epoch: Epoch, at: T },
    /// It could not be opened.
    OpenFailed { epoch: Epoch, fault: Fault },
    /// The answer to one `Pull`: at most as much as it asked for. `idle` is an empty batch's post-batch token.
    Batch { epoch: Epoch, events: Vec<Event<R, T>>, idle: Option<T> },
    /// The stream broke.
    SourceFailed { epoch: Epoch, fault: Fault },

    /// Kafka has these messages.
    Delivered { seqs: Vec<SeqNo> },
    /// Kafka does not have this message. `TooLarge` where it fits the limits as the producer knows them, so
    /// that they must have been lowered.
    DeliveryFailed { seq: SeqNo, fault: Fault },
    /// This message does not fit. `marker` says so in its place.
    DeliveryTooLarge { seq: SeqNo, marker: R },

    /// The token is stored.
    Saved { id: EffectId },
    /// It is not, or nobody knows.
    SaveFailed { id: EffectId, fault: Fault },

    /// A timer ran out.
    Timer(TimerId<TimerKind>),
    /// A person or a supervisor asks.
    Signal(Signal),
}
