//! Configuration: files, environment and flags, into types.
//!
//! Every key is read with its legal values; unknown keys, illegal values and values whose mechanism does not
//! exist are errors, and all errors of a configuration are told at once. Nothing is parsed and ignored.

mod any;
mod common;
mod described;
mod findings;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod layers;
mod namespaces;
mod pipeline;
mod print;
mod problem;
mod readers;
mod sampling;
mod schema;
mod secrets;
mod section;
mod services;
mod standard_variables;
mod syncer;
mod tables;
mod token_place;
mod token_storage;
mod trace_export;
mod tree;
mod watcher;
mod yaml;

#[cfg(test)]
mod tests;

pub use any::{AnyConfig, Kind, described};
pub use common::{LogFormat, LogLevel, Logging, Properties, TopicTemplate};
pub use described::{Described, Preset, Shape, bytes, duration};
pub use layers::{Sources, variable_of};
pub use namespaces::Namespaces;
pub use pipeline::PipelineConfig;
pub use print::print;
pub use problem::{ConfigError, Problem};
pub use sampling::SamplingOptions;
pub use schema::schema;
pub use services::Services;
pub use syncer::{ConsumerConfig, PostgresConfig, SyncerConfig};
pub use token_storage::TokenBackend;
pub use trace_export::{TraceExport, TraceProtocol};
pub use watcher::{MongoConfig, ProducerConfig, WatcherConfig};
