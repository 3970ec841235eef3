//! What the executor needs of the world: one trait for each neighbour, implemented by the adapters.
//!
//! A port does what it is told and says what became of it. It decides nothing: it neither retries, nor
//! reconnects, nor skips. Each failure is classified at the adapter's edge into a [`Failure`]. What both sides of a port
//! name the same way is here too: a process, a time, a name that was almost meant.
//!
//! No runtime, no metrics, no health: an adapter knows of the executor only what it has to answer.

mod broker;
mod database;
mod failure;
mod process;
mod similar;
mod source;
mod stack_trace;
mod token_store;
mod utc;

pub use broker::{
    ConsumerEvent, Headers, KafkaRecord, MissingTopic, PolledRecord, Producer, ProducerReport,
    RecordConsumer, RejectedRecord, ReportSink, SendRefused, TopicPartition,
};
pub use database::{
    CONTROL_KINDS, Database, LedgerCheck, LedgerClaim, LedgerCommit, LedgerEntry, RetryCounts, RetryReply,
    Share, TablesAtRisk, TopicRows, WriteCounts, WriteReply,
};
pub use failure::Failure;
pub use process::{Life, ProcessId};
pub use similar::similar;
pub use source::{Opening, Serves, Sighting, Source, SourceBatch};
pub use stack_trace::StackTrace;
pub use token_store::{
    Acquisition, GapRecord, Holder, Recorded, RecordedCollection, StoreIdentity, TokenRecord, TokenStore,
    Watched,
};
pub use utc::utc;
