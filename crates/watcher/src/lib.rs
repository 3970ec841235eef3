//! The Watcher machine: MongoDB change stream to Kafka, as a pure transition function.

#![no_std]
extern crate alloc;

mod effect;
mod input;

pub use effect::{AckedToken, Effect, StartAt, TimerKind};
pub use input::{Checkpoint, Event, Input, Payload};
