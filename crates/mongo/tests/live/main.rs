//! The source against a real replica set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod collections;
mod failures;
mod history;
mod images;
mod oversized;
mod privileges;
mod rig;
mod stream;
