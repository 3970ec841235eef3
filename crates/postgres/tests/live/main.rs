//! The adapter against a real PostgreSQL. One server for all tests; a database of its own for each.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bad_records;
mod columns;
mod fence;
mod ledger;
mod messages;
mod players;
mod pool;
mod schema;
mod stand;
