//! The crate from outside: events in, messages and keys out, and back to values.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails here says where")]
#![allow(clippy::wildcard_enum_match_arm, reason = "the driver's value type has many more variants")]

mod back_to_bson;
mod common;
mod decoding;
mod drawn_event;
mod fuzz_targets;
mod generator;
mod keys;
mod messages;
mod positions;
mod python;
mod round_trip;
mod same_id;
