//! End-to-end tests of both services on real servers.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bad_records;
mod compares;
mod converges;
mod drains;
mod health;
mod large_documents;
mod one_process;
mod to_the_letter;
mod two_watchers;
mod unique;

/// One pipeline at a time: each brings four servers and two services onto the same few cores.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
