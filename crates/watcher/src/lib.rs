//! The Watcher machine: MongoDB change stream to Kafka, as a pure transition function.
//!
//! ```text
//!            Pull ──▶ Batch ──▶ Publish ──▶ Delivered ──▶ SaveToken ──▶ Saved
//!  source ─────┘        │          │            │             │           │
//!                       ▼          ▼            ▼             ▼           ▼
//!                    opened    in flight     settled     settled prefix  saved
//!
//!  room = max_replay_events − (opened − saved)
//! ```
//!
//! One file for each state says what happens there; `settle` derives from the facts which state is next.
//! [`graph`] reads the state diagram and the state × input table off the code.

#![no_std]
extern crate alloc;

mod awaiting_ack;
mod batches;
mod config;
mod connecting;
mod draining;
mod effect;
mod facts;
mod gap;
pub mod graph;
mod input;
mod invariants;
mod lease;
mod names;
mod notes;
mod saving_token;
mod settle;
mod state;
mod streaming;
mod timers;
mod turn;
mod verdict;
mod watcher;

#[cfg(test)]
mod tests;

pub use config::{Config, OnHistoryLost, OnTooLarge, Retries};
pub use effect::{AckedToken, Batching, Effect, Reading, StartAt, TimerKind};
pub use gap::{Amendment, CollectionId, Contents, Gap, GapCause, Known, Notice, TopicState};
pub use input::{Checkpoint, Event, Input, Payload, Saved};
pub use watcher::Watcher;
