//! What the executor needs of the world: one trait for each neighbour, implemented by the adapters.
//!
//! A port does what it is told and says what became of it. It decides nothing: it neither retries, nor
//! reconnects, nor skips; what an adapter does of its own accord stands among ARCHITECTURE.md's named exceptions.
//! No runtime, no metrics, no health: an adapter knows of the executor only what it has to answer.
//!
//! | file | what it holds |
//! |---|---|
//! | `failure`, `stack_trace` | [`Failure`], which every port answers with: read it first |
//! | `source` | [`Source`]: the change stream, and what stands behind the watched names |
//! | `token_store` | [`TokenStore`]: the leased record of the position |
//! | `broker`, `report_sink`, `record` | [`Producer`] with its reports, and [`RecordConsumer`] with its records |
//! | `database` | [`Database`]: tables, ledger, parked rows |
//! | `write_counts` | [`WriteCounts`]: what a batch did, one table of counters |
//! | `similar` | a name that was almost meant: what [`Sighting`] and [`MissingTopic`] suggest |

mod broker;
mod database;
mod failure;
mod record;
mod report_sink;
mod similar;
mod source;
mod stack_trace;
mod token_store;
mod write_counts;

pub use broker::{
    Acknowledged, ConsumerEvent, MissingTopic, PolledRecord, Producer, ProducerReport, RecordConsumer,
    RejectedRecord, SendRefused, TopicPartition,
};
/// Which process holds a lease or a name.
pub use cdc_process::{Life, ProcessId};
pub use cdc_syncer::LedgerCheck;
pub use database::{
    Database, LedgerClaim, LedgerCommit, LedgerEntry, RetryCounts, RetryReply, Share, TablesAtRisk,
    WriteReply,
};
pub use failure::Failure;
pub use record::{KafkaRecord, RecordTrace};
pub use report_sink::ReportSink;
pub use similar::similar;
pub use source::{Opening, Serves, Sighting, Source, SourceBatch, SourceIdentity};
pub use stack_trace::StackTrace;
pub use token_store::{
    Acquisition, GapRecord, Holder, Recorded, RecordedCollection, StoreIdentity, TokenRecord, TokenStore,
    Watched,
};
pub use write_counts::{CONTROL_KINDS, Fate, TopicRows, WriteCounts};
