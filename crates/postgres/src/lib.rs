//! PostgreSQL behind the Syncer's port: a pool that waits, a ledger that owns the partitions, and the mapping
//! of documents to rows.
//!
//! A batch goes down one line, in `writer.rs`; each stage knows only those before it:
//!
//! ```text
//! decode    records ─▶ candidates for their rows
//! plan      one candidate for each row ─▶ columns in binary form
//! prepare   the statements │ few rows: arrays of a prepared statement
//!                          │ many:     COPY into a temporary table, then a merge
//! execute   BEGIN + lock the partitions in the ledger ─▶ deletes ─▶ upserts ─▶ COMMIT, verified
//! ```
//!
//! Below the line lie, from the ground up: `server` (connections, transactions, errors), `table`, `values` (binary form),
//! `statements` (SQL of a table), `catalog` (what PostgreSQL says of it), `ledger`, `parked` and `tables` (what is known of
//! each topic's table, and how old that is).
//!
//! A row that a constraint over several rows blocks is parked in the same transaction, where the machine gives leave: what can
//! be written is written piece by piece, and the rest waits in `cdc.parked`.
//!
//! The position fence makes a replay harmless, the ledger's lock makes a former owner harmless, and the verified commit
//! makes the answer true.

mod bindings;
mod bookkeeping;
mod catalog;
mod commands;
mod credit;
mod database;
mod decode;
mod execute;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod home;
mod ledger;
mod mapping;
mod namespace;
mod parked;
mod plan;
mod prepare;
mod server;
mod settings;
mod statements;
mod stop;
mod table;
mod tables;
mod values;
mod writer;

pub use bookkeeping::bookkeeping_sql;
pub use catalog::ensure::mirror_sql;
pub use commands::dead_letters::{Done, LetterBook, LetterPlace, Outcome};
pub use commands::gaps::OffsetGapRecord;
pub use commands::overtaken::{By, Question, Standing};
pub use database::PostgresDatabase;
pub use mapping::{ColumnMapping, Deletes, FieldPath, Naming, NotAPath, TableMapping};
pub use namespace::{Namespace, NotANamespace};
pub use server::classify::{Asked, Classification, classify};
pub use settings::{Endpoint, Fence, Member, Settings};
