//! MongoDB behind the executor's [`Source`](cdc_ports::Source): a change stream over one database,
//! read in raw batches from a cursor of our own.
//!
//! The driver's change stream type is not used: its resume drops the token when the resume itself is
//! retried, and goes on from "now" without an error. Here every opening names its start, nothing resumes by
//! itself, and a broken cursor is a failure that the machine decides over.
//!
//! ```text
//!  MongoSource::open ──aggregate {$changeStream, $match}, batchSize 0──▶ cursor
//!  MongoSource::next ◀─ replies, at most one ahead ─ reader task ◀─getMore─┘
//! ```

#![allow(clippy::wildcard_enum_match_arm, reason = "the driver's error kinds are an open list")]

mod batch;
mod catalog;
mod classify;
mod connection;
mod diagnosis;
mod history;
mod images;
mod lookout;
mod pipeline;
mod reader;
mod reply;
mod settings;
mod source;
mod stream;
mod words;

pub use connection::Deployment;
pub use settings::{MongoSettings, UpdateImage, check_uri};
pub use source::MongoSource;
