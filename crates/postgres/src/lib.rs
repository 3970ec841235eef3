//! PostgreSQL behind the Syncer's port: a pool that waits, a ledger that owns the partitions, and the mapping
//! of documents to rows.
//!
//! A batch becomes one transaction:
//!
//! ```text
//! records ─▶ envelopes ─▶ contest per row ─▶ columns in binary form
//!                                                   │ few rows: arrays of a prepared statement
//!                                                   │ many:     COPY into a temporary table, then a merge
//! BEGIN + hold the partitions ─▶ deletes ─▶ upserts ─▶ COMMIT, verified
//! ```
//!
//! A row that a constraint over several rows blocks is parked in the same transaction, where the machine gives leave: what can
//! be written is written piece by piece, and the rest waits in `cdc.parked`.
//!
//! The position fence makes a replay harmless, the hold makes a former owner harmless, and the verified commit
//! makes the answer true.

mod bindings;
mod bookkeeping;
mod catalog;
mod commands;
mod credit;
mod database;
mod execute;
mod ledger;
mod namespace;
mod parked;
mod plan;
mod server;
mod settings;
mod statements;
mod table;
mod tables;
mod values;

pub use bookkeeping::bookkeeping_sql;
pub use catalog::ensure::mirror_sql;
pub use commands::dead_letters::{Done, LetterBook, LetterPlace, Outcome};
pub use commands::gaps::OffsetGapRecord;
pub use commands::overtaken::{By, Question, Standing};
pub use database::PostgresDatabase;
pub use namespace::{Namespace, NotANamespace};
pub use server::classify::{Asked, Classification, classify};
pub use settings::{Endpoint, Fence, Member, Settings};
