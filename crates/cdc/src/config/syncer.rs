use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use cdc_executor::BatchLog;
use cdc_kafka::ClientKind;
use cdc_machine::Retry;
use cdc_postgres::Fence;
use cdc_syncer::{OffsetPolicy, OnTableError, StopAfter};
use secrecy::SecretString;

use super::common::{
    self, CONNECTION, Logging, ON_BLOCKED, ON_REJECT, OnBlocked, OnReject, Properties, TopicTemplate,
    is_topic,
};
use super::namespaces::{self, Namespaces};
use super::section::Section;

/// librdkafka fetches up to 64 MiB ahead for every partition; the Syncer's own buffers are the bound here.
const DEFAULT_PROPERTIES: [(&str, &str); 1] = [("queued.max.messages.kbytes", "8192")];

/// The consumer group of a Syncer that names none.
pub const DEFAULT_GROUP: &str = "cdc-syncer";

/// The words for [`OffsetPolicy`].
const OFFSET_RESET: [(&str, OffsetPolicy); 3] =
    [("earliest", OffsetPolicy::Earliest), ("latest", OffsetPolicy::Latest), ("stop", OffsetPolicy::Stop)];

/// The words for [`OnTableError`].
const ON_TABLE_ERROR: [(&str, OnTableError); 2] =
    [("hold", OnTableError::Hold), ("stop", OnTableError::Stop)];

/// The words for [`BatchLog`].
const BATCHES: [(&str, BatchLog); 2] = [("sums", BatchLog::Sums), ("each", BatchLog::Each)];

/// The words for [`Fence`].
const FENCE: [(&str, Fence); 2] = [("required", Fence::Required), ("if_possible", Fence::IfPossible)];

/// Bounds of `flush_interval` and, from zero, of `linger`.
const LONGEST_FLUSH: Duration = Duration::from_secs(3600);

/// The Syncer's configuration, `syncer.yaml`.
#[derive(Debug)]
pub struct SyncerConfig {
    /// `instance`: the member's name in its consumer group; unique per process.
    pub instance: String,
    /// `kafka`
    pub kafka: ConsumerConfig,
    /// `postgres`
    pub postgres: PostgresConfig,
    /// `batch`
    pub batch: BatchConfig,
    /// `workers`
    pub workers: WorkersConfig,
    /// `on_bad_record`
    pub on_bad_record: OnReject,
    /// `on_unique_violation`
    pub on_unique_violation: OnBlocked,
    /// `on_table_error`
    pub on_table_error: OnTableError,
    /// `fence`
    pub fence: Fence,
    /// `parked.max_rows`: rows and deletes that may wait for other rows, at most
    pub max_parked_rows: u64,
    /// `dead_letter.topic`
    pub dead_letter_topic: TopicTemplate,
    /// `dead_letter.stop_after`
    pub stop_after: StopAfter,
    /// `logging`
    pub logging: Logging,
    /// `logging.batches`
    pub batches: BatchLog,
    /// `http.listen`
    pub http_listen: SocketAddr,
    /// `shutdown.timeout`
    pub shutdown_timeout: Duration,
}

/// `kafka` of the Syncer.
#[derive(Debug)]
pub struct ConsumerConfig {
    /// `brokers`
    pub brokers: Vec<String>,
    /// `topic`: at least one, no two alike
    pub topics: Vec<String>,
    /// `namespaces`: the collection that each of the topics carries
    pub namespaces: Namespaces,
    /// `consumer_group`
    pub consumer_group: String,
    /// `offset_reset`
    pub offset_reset: OffsetPolicy,
    /// `max_retries`
    pub max_retries: Retry,
    /// `properties`
    pub properties: Properties,
}

/// `postgres`.
#[derive(Debug)]
pub struct PostgresConfig {
    /// `host`
    pub host: String,
    /// `port`
    pub port: u16,
    /// `database`
    pub database: String,
    /// `user`
    pub user: String,
    /// `password`, or what stands in `password_file`
    pub password: Option<SecretString>,
    /// `min_connections` that the pool keeps open
    pub min_connections: u32,
    /// `max_connections` that the pool opens
    pub max_connections: u32,
    /// `connection_timeout`
    pub connection_timeout: Duration,
    /// `manage_schema`: whether the Syncer may create and alter tables
    pub manage_schema: bool,
    /// `max_retries` of a connection
    pub max_retries: Retry,
    /// `write_max_retries` of a batch
    pub write_max_retries: Retry,
}

/// `batch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// `buffer_size`: records of one batch, at most
    pub buffer_size: u32,
    /// `flush_interval`: how long a record waits in a buffer at most
    pub flush_interval: Duration,
    /// `linger`: how long a record waits while its writer is idle
    pub linger: Duration,
    /// `copy_threshold`: rows of one statement from which on it goes by COPY
    pub copy_threshold: u32,
    /// `buffer_bytes` of one batch, at most
    pub buffer_bytes: u64,
}

/// `workers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkersConfig {
    /// `pool_size`: workers, each with one batch in flight
    pub pool_size: u32,
    /// `channel_buffer`: records on their way to the workers, at most
    pub channel_buffer: u32,
    /// `max_buffered_bytes`: bytes from poll to offset commit, at most
    pub max_buffered_bytes: u64,
}

impl SyncerConfig {
    pub(super) fn read(syncer: &mut Section<'_>) -> Self {
        Self::read_beside(syncer, &Namespaces::new())
    }

    /// `filled` are the topics of the Watcher in the same file.
    pub(super) fn read_beside(syncer: &mut Section<'_>, filled: &Namespaces) -> Self {
        syncer.not_available(&["tables", "tracing"]);
        let (logging, batches) = syncer.section("logging", |logging| {
            (Logging::read(logging), logging.choice("batches", &BATCHES, &[], BatchLog::Sums))
        });
        let postgres = syncer.section("postgres", PostgresConfig::read);
        let batch = syncer.section("batch", BatchConfig::read);
        let kafka = syncer.section("kafka", |kafka| ConsumerConfig::read(kafka, filled));
        let (dead_letter_topic, stop_after) = syncer.section("dead_letter", |dead_letter| {
            let topic = common::dead_letter_topic(dead_letter, &kafka.topics);
            (topic, dead_letter.section("stop_after", stop_after))
        });
        Self {
            instance: common::instance(syncer),
            kafka,
            workers: syncer.section("workers", |workers| WorkersConfig::read(workers, &postgres, &batch)),
            postgres,
            batch,
            on_bad_record: syncer.choice("on_bad_record", &ON_REJECT, &[], OnReject::DeadLetter),
            on_unique_violation: syncer.choice("on_unique_violation", &ON_BLOCKED, &[], OnBlocked::Park),
            on_table_error: syncer.choice("on_table_error", &ON_TABLE_ERROR, &[], OnTableError::Hold),
            fence: syncer.choice("fence", &FENCE, &[], Fence::Required),
            max_parked_rows: syncer
                .section("parked", |parked| parked.integer("max_rows", 1..=10_000_000, 10_000)),
            dead_letter_topic,
            stop_after,
            logging,
            batches,
            http_listen: common::http_listen(syncer, 9465),
            shutdown_timeout: common::shutdown_timeout(syncer),
        }
    }
}

/// `dead_letter.stop_after`.
fn stop_after(section: &mut Section<'_>) -> StopAfter {
    const LONGEST: u32 = 1_000_000;
    let default = StopAfter::default();
    let window = section.integer("window", 1..=LONGEST, default.window);
    let read = StopAfter {
        share: section.share("share", default.share),
        window,
        at_least: section.integer("at_least", 1..=LONGEST, default.at_least.min(window)),
    };
    if read.at_least > window {
        let text = format!("{} is more than dead_letter.stop_after.window ({window})", read.at_least);
        section.contradiction(&["at_least", "window"], &text);
    }
    read
}

impl ConsumerConfig {
    fn read(kafka: &mut Section<'_>, filled: &Namespaces) -> Self {
        kafka.not_available(&["security"]);
        let mut topics = kafka.required_list("topic");
        for topic in &topics {
            if topic.starts_with('^') {
                kafka.contradiction(&["topic"], "patterns are not available yet; list the topics");
            } else if !is_topic(topic) {
                let text =
                    format!("{topic:?} is not a legal topic; legal: letters, digits, '.', '_' and '-'");
                kafka.contradiction(&["topic"], &text);
            }
        }
        let named = topics.len();
        topics.sort();
        topics.dedup();
        if topics.len() < named {
            kafka.contradiction(&["topic"], "a topic is named twice");
        }
        Self {
            brokers: common::brokers(kafka),
            namespaces: namespaces::read(kafka, &topics, filled),
            topics,
            consumer_group: kafka.text("consumer_group").unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
            offset_reset: kafka.choice("offset_reset", &OFFSET_RESET, &[], OffsetPolicy::Earliest),
            max_retries: kafka.retries("max_retries", 5),
            properties: Properties::read(kafka, ClientKind::Consumer, &DEFAULT_PROPERTIES),
        }
    }
}

impl PostgresConfig {
    fn read(postgres: &mut Section<'_>) -> Self {
        postgres.not_available(&["tls"]);
        let read = Self {
            host: postgres.required_text("host"),
            port: postgres.integer("port", 1..=u16::MAX, 5432),
            database: postgres.required_text("database"),
            user: postgres.required_text("user"),
            password: postgres.secret("password", "password_file"),
            min_connections: postgres.integer("min_connections", 0..=10_000, 10),
            max_connections: postgres.integer("max_connections", 1..=10_000, 50),
            connection_timeout: postgres.duration("connection_timeout", CONNECTION, Duration::from_secs(10)),
            manage_schema: postgres.switch("manage_schema", true),
            max_retries: postgres.retries("max_retries", 5),
            write_max_retries: postgres.retries("write_max_retries", 3),
        };
        if !read.host.is_empty() && !is_host(&read.host) {
            let text = "not a host name, an IP address or the path of a socket's folder; the port, the database and the user \
                        have keys of their own";
            postgres.contradiction(&["host"], text);
        }
        let (min, max) = (read.min_connections, read.max_connections);
        if min > max {
            postgres.contradiction(
                &["min_connections", "max_connections"],
                &format!("{min} is more than postgres.max_connections ({max})"),
            );
        }
        read
    }
}

/// A name, an address of either kind, or the folder of a Unix socket.
fn is_host(text: &str) -> bool {
    let is_name = || !text.contains([':', '/', '@', ',', '?', ' ']);
    text.starts_with('/') || text.parse::<std::net::IpAddr>().is_ok() || is_name()
}

impl BatchConfig {
    fn read(batch: &mut Section<'_>) -> Self {
        let flush_interval = batch.duration(
            "flush_interval",
            Duration::from_millis(1)..=LONGEST_FLUSH,
            Duration::from_millis(500),
        );
        let linger = batch.duration(
            "linger",
            Duration::ZERO..=LONGEST_FLUSH,
            Duration::from_millis(5).min(flush_interval),
        );
        if linger > flush_interval {
            let text = |it| humantime::format_duration(it);
            batch.contradiction(
                &["linger", "flush_interval"],
                &format!("{} is more than batch.flush_interval ({})", text(linger), text(flush_interval)),
            );
        }
        Self {
            buffer_size: batch.integer("buffer_size", 1..=1_000_000, 1000),
            flush_interval,
            linger,
            copy_threshold: batch.integer("copy_threshold", 1..=1_000_000, 100),
            buffer_bytes: batch.bytes("buffer_bytes", ByteSize::kib(64)..=ByteSize::gib(4), ByteSize::mib(8)),
        }
    }
}

impl WorkersConfig {
    fn read(workers: &mut Section<'_>, postgres: &PostgresConfig, batch: &BatchConfig) -> Self {
        let read = Self {
            pool_size: workers.integer("pool_size", 1..=1024, 10),
            channel_buffer: workers.integer("channel_buffer", 1..=1_000_000, 1000),
            max_buffered_bytes: workers.bytes(
                "max_buffered_bytes",
                ByteSize::kib(64)..=ByteSize::gib(64),
                ByteSize::mib(32),
            ),
        };
        if read.pool_size > postgres.max_connections {
            let (size, max) = (read.pool_size, postgres.max_connections);
            workers.contradiction(
                &["pool_size"],
                &format!("{size} workers need as many connections, and postgres.max_connections is {max}"),
            );
        }
        if batch.buffer_bytes > read.max_buffered_bytes {
            let (one, all) = (ByteSize(batch.buffer_bytes), ByteSize(read.max_buffered_bytes));
            workers.contradiction(
                &["max_buffered_bytes"],
                &format!("{all} is less than one batch may hold: batch.buffer_bytes is {one}"),
            );
        }
        read
    }
}
