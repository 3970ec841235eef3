//! The Syncer machine: Kafka to PostgreSQL, as a pure transition function.
//!
//! ```text
//!  Fetch ──▶ Records ──▶ lane of the key's worker ──▶ WriteBatch ──▶ Written ──▶ CommitOffsets ──▶ Committed
//!               │                                                       │             │               │
//!               ▼                                                       ▼             ▼               ▼
//!             opened                                                 settled    settled prefix      saved
//!
//!  room = what every lane still takes, within the bounds on (opened − saved) in records and in bytes
//! ```
//!
//! Each assignment of a partition is an epoch of its own: it takes its row in the ledger, fetches, and ends
//! by revocation (settled and committed first), by loss or by another owner's claim (dropped). Completions
//! settle row by row, so that a batch may mix kept and revoked partitions.
//!
//! | file | what it answers for |
//! |---|---|
//! | `connecting`, `assignment`, `revocation`, `draining` | the database, the group and its partitions |
//! | `start_offset`, `ledger_check` | where a partition is read from, and whether it is still ours |
//! | `hold` | topics that cannot be written, and when they are looked at again |
//! | `streaming` | room, fetching, routing, pause and resume |
//! | `lanes`, `worker` | when a batch leaves, and what is in it |
//! | `awaiting_ack`, `bad_rows` | PostgreSQL's answers, bisection, dead letters |
//! | `breaker`, `breakers` | when too many of a topic's records are bad, and when no longer |
//! | `outage` | a PostgreSQL that is out of reach |
//! | `parked` | rows and deletes that wait for other rows, and their retries |
//! | `saving_token` | offset commits |
//! | `settle` | what follows from the facts, and which state is next |
//!
//! [`graph`] reads the state diagram and the state × input table off the code.

#![no_std]
extern crate alloc;

mod assignment;
mod awaiting_ack;
mod bad_rows;
mod breaker;
mod breakers;
mod config;
mod connecting;
mod draining;
mod effect;
mod facts;
pub mod graph;
mod hold;
mod input;
mod invariants;
mod lanes;
mod ledger_check;
mod names;
mod outage;
mod parked;
mod partitions;
mod revocation;
mod saving_token;
mod settle;
mod start_offset;
mod state;
mod streaming;
mod syncer;
mod timers;
mod turn;
mod verdict;
mod window;
mod worker;

#[cfg(test)]
mod tests;

pub use config::{Config, OffsetPolicy, OnBadRecord, OnTableError, OnUniqueViolation, Retries, StopAfter};
pub use effect::{
    Batch, Effect, FetchStart, OffsetCommit, OffsetGap, OffsetLoss, Parking, StartOffset, TimerKind,
    WrittenOffset,
};
pub use hold::{Held, Hold, HoldReason};
pub use input::{
    Acquired, Input, LogBounds, ParkedRows, Partition, Record, Reject, Rejected, RejectedParked,
    RetryOutcome, Row, SqlState, Topic, WorkerId, WriteOutcome,
};
pub use syncer::Syncer;
