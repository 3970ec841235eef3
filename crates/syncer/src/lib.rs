//! The Syncer machine: Kafka to PostgreSQL, as a pure transition function.
//!
//! ```text
//!  Fetch ──▶ Records ──▶ queue of the key's worker ──▶ WriteBatch ──▶ Written ──▶ CommitOffsets ──▶ Committed
//!               │                                                       │             │               │
//!               ▼                                                       ▼             ▼               ▼
//!             opened                                                 settled    settled prefix      saved
//!
//!  credit = what every queue still takes, within the bounds on (opened − saved) in records and in bytes
//! ```
//!
//! Each assignment of a partition is an epoch of its own: it takes its row in the ledger, fetches, and ends
//! by revocation (settled and committed first), by loss or by another owner's claim (dropped). Completions
//! settle row by row, so that a batch may mix kept and revoked partitions.
//!
//! Each part owns its data with its rules, in a file of its own, and is handed what it needs of the others:
//!
//! | file | what it answers for |
//! |---|---|
//! | `requests` | what it asks, with the replies; what it orders, and what it hears |
//! | `syncer` | who takes an input, what follows from it, and which state is next: it and its own files alone see all parts |
//! | `syncer/writing` | PostgreSQL's answers, bisection, parking |
//! | `connection`, `partitions`, `revocation` | the database, the group and its partitions |
//! | `acquisition`, `ledger_check` | where a partition is read from, and whether it is still ours |
//! | `hold` | topics that cannot be written, and when they are looked at again |
//! | `polling` | credit, fetching, pause and resume |
//! | `writers` | which rows wait for which worker, when a batch leaves, and what is in it |
//! | `bad_rows` | dead letters, and when too many of a topic's records are bad |
//! | `outage` | a PostgreSQL that is out of reach |
//! | `parked` | rows and deletes that wait for other rows, and their retries |
//! | `offsets` | offset commits |

#![no_std]
extern crate alloc;

mod acquisition;
mod bad_rows;
mod config;
mod connection;
mod context;
mod effect;
mod held;
mod hold;
mod ids;
mod input;
mod ledger_check;
mod offsets;
mod outage;
mod parked;
mod partitions;
mod polling;
mod requests;
mod revocation;
mod syncer;
mod verdict;
mod waits;
mod writers;

#[cfg(test)]
mod tests;

pub use config::{Config, OffsetPolicy, OnBadRecord, OnTableError, OnUniqueViolation, Retries, StopAfter};
pub use effect::{
    Batch, CommitFailure, FailedBy, FetchStart, OffsetCommit, OffsetGap, OffsetLoss, Parking, StartOffset,
    WrittenOffset,
};
pub use held::{Held, Hold, HoldReason};
pub use ids::{Partition, Topic, WorkerId};
pub use input::{
    Acquired, LedgerCheck, LogBounds, ParkedRows, Record, Reject, Rejected, RejectedParked, RetryOutcome,
    Row, SqlState, Taken, WriteOutcome,
};
pub use requests::{Effect, Input, TimerKind};
pub use syncer::Syncer;
pub use waits::WaitsFor;
