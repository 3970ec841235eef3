//! The Syncer machine: Kafka to PostgreSQL, as a pure transition function.

#![no_std]
extern crate alloc;

mod effect;
mod input;

pub use effect::{
    Batch, Effect, FetchStart, OffsetCommit, StartOffset, TimerKind, WrittenOffset,
};
pub use input::{Acquired, Input, Partition, Record, Reject, Rejected, Row, WorkerId, WriteOutcome};
