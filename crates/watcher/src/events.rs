//! What the source says: who it is, where a stream begins, and what it brings.

use alloc::vec::Vec;

use cdc_machine::{FailureWord, Fault};

use crate::{CollectionId, Contents};

/// Why the source cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceRefusal {
    /// It is none that can be watched, or does not have what the configuration names in a way that can be: a person
    /// has to decide.
    Unwatchable,
    /// It did not say.
    Failed(Fault),
}

impl FailureWord for SourceRefusal {
    fn word(&self) -> &'static str {
        match self {
            Self::Unwatchable => "unwatchable",
            Self::Failed(fault) => fault.as_str(),
        }
    }
}

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

/// A change stream that is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Opened<T> {
    /// The position before its first event.
    pub at: T,
    /// The watched collections, in the configuration's order, as they were when all before `looked_at` had happened.
    pub contents: Vec<Contents>,
    /// That point: an order only, no stream is opened there.
    pub looked_at: T,
}

/// The answer to one fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch<R, T> {
    /// In the source's order.
    pub events: Vec<Event<R, T>>,
    /// An empty batch's post-batch token.
    pub idle: Option<T>,
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

/// A control message, for every partition of every topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notice<R> {
    /// The message.
    pub record: R,
    /// The size of one copy.
    pub bytes: u32,
}
