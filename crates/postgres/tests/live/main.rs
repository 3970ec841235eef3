//! The adapter against a real PostgreSQL. One server for all tests; a database of its own for each.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod bad_records;
mod binding;
mod columns;
mod dead_letters;
mod earlier_statements;
mod fence;
mod foreign_columns;
mod foreign_keys;
mod held;
mod ids;
mod ledger;
mod limits;
mod mapped;
mod members;
mod messages;
mod names;
mod parked;
mod player_records;
mod players;
mod pool;
mod privileges;
mod row_errors;
mod schema;
mod stages;
mod stand;
mod types;
mod upgrade;
