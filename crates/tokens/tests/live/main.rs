//! Both stores against the real thing: one suite for what they share, and a file for what only one can do.
//! Redis is a `redis-server` of the test's own, found on PATH.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    missing_docs
)]

mod backend;
mod file;
mod places;
mod processes;
mod properties;
mod redis;
mod redis_faults;
mod suite;
