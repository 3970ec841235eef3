//! Kafka behind the executor's ports: the Watcher's producer and the Syncer's consumer. Both sit on librdkafka, whose
//! errors are classified here ([`fault_of`]). What they do without an order stands among ARCHITECTURE.md's named exceptions.
//!
//! | module | what it holds |
//! |---|---|
//! | `producer`, `preparation`, `delivery` | [`KafkaProducer`], what precedes its first message, what its client's thread reports |
//! | `consumer` | [`KafkaConsumer`], the handle whose clones give orders |
//! | `poller`, `rebalance` | the thread that owns polling, and the group's callbacks |
//! | `orphans` | partitions that the group has given to nobody |
//! | `partitions` | the names behind the machine's partition numbers |
//! | `batches` | how large a batch may be, and which message was alone in its own |
//! | `group_state` | whether a consumer group is gone and has read everything |
//! | `topics`, `ends` | topics that are made and looked at before the first message |
//! | `probe`, `reach`, `stranded` | whether the brokers live, why none answers, and which client has lost them |
//! | `partitioner` | which partition a key falls into |
//! | `marker`, `dead_letter` | what goes to the dead letters, from either service |
//! | `dead_letter_reader`, `replay` | dead letters read back, and sent back to their topics |
//! | `answered_producer` | producers of a few records, each with an answer of its own |
//! | `headers`, `arena` | a polled record copied out of librdkafka's buffers |
//! | `classify`, `client_errors` | librdkafka's errors as faults |
//! | `guarded` | librdkafka's properties that a user may not set |
//! | `settings`, `config` | what a user may set, and what it becomes in librdkafka |

mod answered_producer;
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
mod group_state;
mod guarded;
mod headers;
mod marker;
mod orphans;
mod partitioner;
mod partitions;
mod poller;
mod preparation;
mod probe;
mod producer;
mod reach;
mod rebalance;
mod replay;
mod settings;
mod stranded;
mod topics;

pub use classify::fault_of;
pub use config::PREFETCH_KBYTES;
pub use consumer::KafkaConsumer;
pub use dead_letter_reader::{DeadLetter, DeadLetterReader};
pub use ends::lineage_at_ends;
pub use group_state::{Behind, GroupState, group_state};
pub use guarded::{ClientKind, check_property, guarded_property};
pub use headers::HeadersIter;
pub use producer::KafkaProducer;
pub use replay::{NoWayBack, ReplayProducer, WayBack};
pub use settings::{Compression, ConnectionSettings, ConsumerSettings, ProducerSettings};
