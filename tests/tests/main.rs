//! End-to-end tests of both services on real servers.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails, and what it measured is printed"
)]

mod alerts;
mod away;
mod bad_records;
mod binding;
mod chaos;
mod collectors;
mod columns;
mod compares;
mod converges;
mod dead_letters;
mod drains;
mod fenced;
mod foreign_keys;
mod frozen;
mod gaps;
mod health;
mod held;
mod large_documents;
mod ledger;
mod matrix;
mod memory;
mod namesakes;
mod neighbours;
mod one_process;
mod operator;
mod parking_lot;
mod postgres_faults;
mod rebalances;
mod replicas;
mod sampled_events;
mod source;
mod tables;
mod to_the_letter;
mod traces;
mod two_watchers;
mod unique;
mod upgrade;
mod worlds;

/// One pipeline at a time under `cargo test`, which has one process for all: each brings four servers and two services
/// onto the same few cores. `test-runner` gives each test a process, and says itself how many run at once.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
