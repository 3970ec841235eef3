//! MongoDB behind the executor's [`Source`](cdc_ports::Source): a change stream over one database,
//! read in raw batches from a cursor of our own.
//!
//! The driver's change stream type is not used: its resume drops the token when the resume itself is
//! retried, and goes on from "now" without an error. Here every opening names its start, and a broken cursor is a
//! failure that the machine decides over. The two openings that no machine orders (behind an `invalidate`, and by the
//! token's time after a change of the collections) stand among ARCHITECTURE.md's named exceptions.
//!
//! ```text
//!  MongoSource::open ──aggregate {$changeStream, $match}, batchSize 0──▶ cursor
//!  MongoSource::next ◀─ replies, at most one ahead ─ reader task ◀─getMore─┘
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `source`, `stream`, `reader` | [`MongoSource`], the stream that is open, the task that owns its cursor |
//! | `opening`, `pipeline` | how a stream is opened, and with which command |
//! | `reply`, `batch` | a reply walked in place, and its events encoded into one buffer |
//! | `sampler` | which events are followed to their rows, and in whose traces |
//! | `images` | updates without their post-image |
//! | `history` | whether the source's history is the one that a token was read from |
//! | `catalog`, `lookout` | what stands behind the watched names, at the start and later |
//! | `connection`, `diagnosis` | the client with its deadlines, and why no server answers |
//! | `classify`, `error_text` | the driver's errors as faults, and in words without documents |
//! | `settings` | what a user may set |

#![allow(clippy::wildcard_enum_match_arm, reason = "the driver's error kinds are an open list")]

mod batch;
mod catalog;
mod classify;
mod connection;
mod diagnosis;
mod error_text;
mod history;
mod images;
mod lookout;
mod opening;
mod pipeline;
mod reader;
mod reply;
mod sampler;
mod settings;
mod source;
mod stream;

pub use connection::Deployment;
pub use settings::{EventTracing, MongoSettings, UpdateImage, check_uri};
pub use source::MongoSource;
