//! Kafka behind the executor's ports: the Watcher's producer, the Syncer's consumer, and nothing that
//! decides. Both sit on librdkafka, whose errors are classified here ([`fault_of`]).
//!
//! | module | what it holds |
//! |---|---|
//! | `producer`, `preparation`, `delivery` | [`KafkaProducer`], what precedes its first message, what its client's thread reports |
//! | `consumer` | [`KafkaConsumer`], the handle whose clones give orders |
//! | `poller`, `rebalance` | the thread that owns polling, and the group's callbacks |
//! | `orphans` | partitions that the group has given to nobody |
//! | `batches` | how large a batch may be, and which message was alone in its own |
//! | `group` | whether a consumer group is gone and has read everything |
//! | `topics`, `ends` | topics that are made and looked at before the first message |
//! | `probe`, `reach` | whether the brokers live, and why none answers |
//! | `murmur2` | which partition a key falls into |
//! | `marker`, `dead_letter` | what goes to the dead letters, from either service |
//! | `dead_letter_reader`, `replay` | dead letters read back, and sent back to their topics |
//! | `reports` | producers of a few records, each with an answer of its own |
//! | `headers`, `arena` | a polled record copied out of librdkafka's buffers |
//! | `classify`, `client_errors` | librdkafka's errors as faults |
//! | `owned` | librdkafka's properties that a user may not set |
//! | `settings`, `config` | what a user may set, and what it becomes in librdkafka |

mod arena;
mod batches;
mod classify;
mod client_errors;
mod config;
mod consumer;
mod dead_letter;
mod dead_letter_reader;
mod delivery;
mod ends;
mod group;
mod headers;
mod marker;
mod murmur2;
mod orphans;
mod owned;
mod partitions;
mod poller;
mod preparation;
mod probe;
mod producer;
mod reach;
mod rebalance;
mod replay;
mod reports;
mod settings;
mod topics;

pub use classify::fault_of;
pub use consumer::KafkaConsumer;
pub use dead_letter_reader::{DeadLetter, DeadLetterReader};
pub use ends::lineage_at_ends;
pub use group::{Behind, GroupState, group_state};
pub use headers::HeadersIter;
pub use owned::{ClientKind, check_property, owned_property};
pub use producer::KafkaProducer;
pub use replay::{NoWayBack, ReplayProducer, WayBack};
pub use settings::{Compression, ConnectionSettings, ConsumerSettings, ProducerSettings};
