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
mod catalog_types;
mod claim;
mod classify;
mod closed;
mod column;
mod convert;
mod database;
mod dead_letters;
mod decimal;
mod defaults;
mod described;
mod failure;
mod gaps;
mod glance;
mod glances;
mod grants;
mod holds;
mod identity;
mod judge;
mod ledger;
mod members;
mod namespace;
mod outranked;
mod overtaken;
mod parked;
mod piecewise;
mod plan;
mod pointers;
mod pool;
mod privileges;
mod retry;
mod room;
mod row;
mod session;
mod settings;
mod shape;
mod stage;
mod statements;
mod table;
mod tables;
mod targets;
mod transaction;
mod withdraw;
mod write;

pub use bookkeeping::bookkeeping_sql;
pub use catalog::mirror_sql;
pub use classify::{Asked, Classification, classify};
pub use database::PostgresDatabase;
pub use dead_letters::{Done, LetterBook, LetterPlace, Outcome};
pub use gaps::OffsetGapRecord;
pub use namespace::{Namespace, NotANamespace};
pub use overtaken::{By, Question, Standing};
pub use settings::{Endpoint, Fence, Member, Settings};
