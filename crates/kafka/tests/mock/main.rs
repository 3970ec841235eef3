//! The clients against librdkafka's own mock cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, on any other answer too"
)]

mod banned;
mod canary;
mod consumer;
mod kit;
mod producer;
mod traces;
