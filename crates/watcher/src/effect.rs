use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Cause, EffectId, Epoch, Lineage, SeqNo, Settled, TimerId};

use crate::Amendment;

/// Proof that Kafka has everything up to and including a token.
pub type AckedToken<T> = Settled<T>;

/// Where a change stream begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StartAt<T> {
    /// The source's present operation time: the very first start, or one with a gap on record.
    Now,
    /// Right after this token.
    After(T),
}

/// How a change stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// Each event as it is.
    Whole,
    /// Events that would not fit a reply come without their documents; the server measures each one, which
    /// costs it time.
    Stripped,
}

/// How the producer's messages share batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Batching {
    /// As the configuration says; the largest batch, in bytes, is halved so many times.
    Shared {
        /// How often the broker has refused a batch before.
        halvings: u8,
    },
    /// Each message alone, so that a refusal is the message's own.
    Single,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TimerKind {
    /// The end of a back-off in front of a reconnection. The executor adds jitter.
    Reconnect,
    /// The end of a back-off in front of another save. The executor adds jitter.
    SaveRetry,
    /// The shortest time between two saves.
    SaveSpacing,
    /// The longest time that an acked event stays unsaved while traffic is slow.
    SaveDelay,
    /// The longest time that an idle position stays unsaved.
    IdleSave,
    /// The lease's renewal.
    LeaseRenew,
    /// Another look at a lease that somebody else holds.
    LeaseWait,
    /// The end of a drain's patience.
    Drain,
}

/// An order to the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "a variant's own line says what its fields are")]
pub enum Effect<R, T> {
    /// Take the lease and read the record; with `over_damage` also where the record is damaged, which loses
    /// what it held. Answered by `LeaseAcquired`, `LeaseHeld`, `LeaseForeign`, `LeaseDamaged`,
    /// `LeaseUnreadable` or `LeaseFailed`.
    AcquireLease { id: EffectId, over_damage: bool },
    /// Extend the lease. Answered by `LeaseRenewed` or `LeaseRenewFailed`.
    RenewLease { id: EffectId },
    /// Give the lease back. Answered by `LeaseReleased`.
    ReleaseLease { id: EffectId },

    /// Make a producer (anew, where there was one) that batches like this, and see that the topics exist.
    /// Answered by `ProducerReady` or `ProducerFailed`.
    PrepareProducer { id: EffectId, batching: Batching },
    /// Hand one message to Kafka, into the partition that its key falls into among so many. Answered by
    /// `Delivered`, `DeliveryFailed` or `DeliveryTooLarge`.
    Publish { seq: SeqNo, record: R, partitions: u32 },
    /// Hand copies of these messages to every partition of every topic, `copies` of each in all. Each copy is
    /// answered by `Delivered` or `DeliveryFailed` under the same number.
    PublishControl { seq: SeqNo, records: Vec<R>, copies: u32 },
    /// Hand a body-less marker to Kafka's dead letters, in the place of a message that does not fit.
    PublishMarker { seq: SeqNo, marker: R },
    /// Say of a message that does not fit that it is left out. `marker` tells which.
    LeaveOut { marker: R },
    /// Take back what the producer has only queued: each such message is answered by `DeliveryFailed`.
    PurgeQueued,

    /// Open a change stream. Answered by `Opened` or `OpenFailed`.
    OpenStream { epoch: Epoch, from: StartAt<T>, lineage: Lineage, reading: Reading },
    /// Read at most this much. Answered by one `Batch` or `SourceFailed`.
    Pull { epoch: Epoch, max_events: u32, max_bytes: u64 },
    /// Close the stream. Not answered.
    CloseStream { epoch: Epoch },

    /// Record the position, and what changes with it, in one compare-and-set. Answered by `Saved` or
    /// `SaveFailed`.
    SaveToken { id: EffectId, token: AckedToken<T>, lineage: Lineage, amendment: Amendment<T> },

    /// Wake the machine after this long, once.
    SetTimer { timer: TimerId<TimerKind>, after: Duration },
    /// Do not.
    CancelTimer { timer: TimerId<TimerKind> },

    /// The service is over.
    Stop { cause: Cause },
}
