//! What the executor needs of the world: one trait for each neighbour, implemented by the adapters.
//!
//! A port does what it is told and says what became of it. It decides nothing: it neither retries, nor
//! reconnects, nor skips. Each failure is classified at the adapter's edge into a [`Failure`].

mod broker;
mod database;
mod failure;
mod source;
mod token_store;

pub use broker::{
    ConsumerEvent, Headers, KafkaRecord, MissingTopic, PolledRecord, Producer, ProducerReport,
    RecordConsumer, RejectedRecord, ReportSink, SendRefused, TopicPartition,
};
pub use database::{
    CONTROL_KINDS, Database, LedgerCheck, LedgerClaim, LedgerCommit, LedgerEntry, RetryCounts, RetryReply,
    Share, TablesAtRisk, TopicRows, WriteCounts, WriteReply,
};
pub use failure::Failure;
pub use source::{Opening, Serves, Sighting, Source, SourceBatch};
pub use token_store::{
    Acquisition, GapRecord, Holder, Recorded, RecordedCollection, StoreIdentity, TokenRecord, TokenStore,
    Watched,
};
