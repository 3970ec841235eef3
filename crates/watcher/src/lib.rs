//! The Watcher machine: MongoDB change stream to Kafka, as a pure transition function.
//!
//! ```text
//!           Fetch ──▶ Fetched ──▶ Publish ──▶ Delivered ──▶ SaveToken ──▶ TokenSaved
//!  source ─────┘         │           │            │             │             │
//!                        ▼           ▼            ▼             ▼             ▼
//!                     opened     in flight     settled    settled prefix    saved
//!
//!  credit = max_replay_events − (opened − saved)
//! ```
//!
//! [`Watcher`]'s own file is the machine on a page: `hear` hands an input to the part that it is for, `advance` derives
//! the next state and orders what it waits for. Each part has a file, with what it owns, its handlers and its rules.
//!
//! | file | part |
//! |---|---|
//! | `requests.rs` | what the machine asks, orders and hears: the tables |
//! | `identity.rs` | who the source is, asked before anything else |
//! | `lease.rs` | the lease on the token record |
//! | `publishing.rs` | the producer and Kafka's reports, with `batches.rs` and `announcements.rs` |
//! | `stream.rs` | the change stream |
//! | `origin.rs` | where the stream begins, and the lineage |
//! | `credit.rs` | the credit to read more |
//! | `record.rs` | what is on record beside the position, and the gaps that are still to be |
//! | `saving.rs` | saves of the token |
//! | `watcher/draining.rs` | the drain and the end |

#![no_std]
extern crate alloc;

mod announcements;
mod batches;
mod config;
mod context;
mod credit;
mod ending;
mod events;
mod gap;
mod identity;
mod lease;
mod origin;
mod position;
mod publishing;
mod record;
mod requests;
mod saving;
mod stream;
mod trouble;
mod verdict;
mod watcher;

#[cfg(test)]
mod tests;

pub use batches::Batching;
pub use config::{Config, LEASE_TTL, OnHistoryLost, OnTooLarge, Retries};
pub use events::{Batch, Event, Notice, Opened, Payload, Reading, SourceRefusal, StartAt};
pub use gap::{CollectionId, Contents, Gap, GapCause, Known, RecordChange, TopicState};
pub use position::{Checkpoint, LeaseRefusal, Saved, Taken};
pub use requests::{AckedToken, Effect, Input, TimerKind};
pub use watcher::{WaitsFor, Watcher};
