//! The Syncer's options.

use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use cdc_executor::BatchLog;
use cdc_kafka::{ClientKind, PREFETCH_KBYTES};
use cdc_machine::{Key, Visitor as _, options};
use cdc_postgres::{Endpoint, Fence, Naming, Settings};
use secrecy::SecretString;

use super::common::{self, CONNECTION, Logging, Properties, TopicTemplate, is_topic};
use super::described::Preset;
use super::layers::Sources;
use super::namespaces::{self, Namespaces};
use super::problem::ConfigError;
use super::section::{Section, read_tree};
use super::tables::{self, Tables};
use super::trace_export::{TraceExport, TraceOptions};

options! {
    /// The Syncer's configuration, `syncer.yaml`.
    #[derive(Debug)]
    pub struct SyncerConfig for Section<'_> {
        /// The process's name in the consumer group, taken in `cdc.members` first; unique per process. A second process
        /// of one name ends with 75 and names the first. The name of one that is gone is free at once, on another
        /// machine after 15 s.
        pub instance: String = String::new() => instance("instance"),
        /// `kafka`
        pub kafka: ConsumerConfig = ConsumerConfig::default() => nested(),
        /// `postgres`
        pub postgres: PostgresConfig = PostgresConfig::default() => nested(),
        /// What the machine is told: limits, policies and retries.
        pub machine: cdc_syncer::Config = cdc_syncer::Config::default() => nested(),
        /// Where records that cannot be written go. No topic that carries documents. See docs/dead-letters.md.
        pub dead_letter_topic: TopicTemplate = TopicTemplate::dead_letters()
            => template("dead_letter.topic", &["topic"]),
        /// `logging`
        pub logging: Logging = Logging::default() => nested(),
        /// `tracing`
        trace_options: TraceOptions = TraceOptions::default() => nested(),
        /// Where the spans go; `None` where none are made.
        pub tracing: Option<TraceExport> = None,
        /// How the log tells of batches.
        pub batches: BatchLog = BatchLog::default() => word("logging.batches"),
        /// Where `/health`, `/metrics` and the like are served.
        pub http_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9465)) => address("http.listen"),
    }
}

options! {
    /// `kafka` of the Syncer.
    #[derive(Debug)]
    pub struct ConsumerConfig for Section<'_> {
        /// The brokers to begin with, each with its port.
        pub brokers: Vec<String> = Vec::new() => brokers("kafka.brokers"),
        /// The topics to read, one or a list.
        ///
        /// At least one, sorted, no two alike.
        pub topics: Vec<String> = Vec::new() => required_list("kafka.topic"),
        /// The collection that each of the topics carries.
        pub namespaces: Namespaces = Namespaces::new(),
        /// The consumer group. It owns the tables, the partitions and the offsets in PostgreSQL.
        pub consumer_group: String = Settings::DEFAULT_GROUP.to_owned() => text_or_default("kafka.consumer_group"),
        /// Handed to librdkafka as they are. Those that a promise rests on are refused, the session's time-outs among
        /// them.
        ///
        /// librdkafka fetches up to 64 MiB ahead for every partition; the Syncer's own buffers are the bound here.
        pub properties: Properties =
            Properties::by_default([("queued.max.messages.kbytes", PREFETCH_KBYTES.to_string())])
            => properties("kafka.properties", ClientKind::Consumer),
    }
}

options! {
    /// `postgres`, and whatever else its adapter is told.
    #[derive(Debug)]
    pub struct PostgresConfig for Section<'_> {
        /// A host's name, an IP address, or the path of a socket's folder.
        pub host: String = String::new() => required_text("postgres.host"),
        /// The server's port. It also names the socket in a folder.
        pub port: u16 = adapters().port => number("postgres.port", 1..=u16::MAX),
        /// The database.
        pub database: String = String::new() => required_text("postgres.database"),
        /// The role to log in as. See docs/privileges.md.
        pub user: String = String::new() => required_text("postgres.user"),
        /// The role's password.
        pub password: Option<SecretString> = None => secret("postgres.password"),
        /// Connections that the pool keeps open; no more than `postgres.max_connections`.
        pub min_connections: u32 = adapters().min_connections => number("postgres.min_connections", 0..=10_000),
        /// Connections that the pool opens, at most.
        pub max_connections: u32 = adapters().max_connections => number("postgres.max_connections", 1..=10_000),
        /// How long to wait for a connection.
        pub connection_timeout: Duration = adapters().connection_timeout
            => duration("postgres.connection_timeout", CONNECTION),
        /// Whether the Syncer may create and alter tables. `false`: no DDL ever; the statements that are missing are
        /// printed.
        pub manage_schema: bool = adapters().manage_schema => switch("postgres.manage_schema"),
        /// Rows of one statement from which on COPY is used.
        pub copy_threshold: usize = adapters().copy_threshold => number("batch.copy_threshold", 1..=1_000_000),
        /// The schema of the tables. `{database}` in it stands for the collection's database.
        pub schema: Option<String> = None => schema("postgres.schema"),
        /// How a column is found for a document's field where nobody maps it.
        pub naming: Naming = adapters().naming => word("naming"),
        /// What is said of single tables.
        pub tables: Tables = Tables::new(),
        /// What becomes of a table that has no column for the position (`cdc_position`).
        pub fence: Fence = adapters().fence => word("fence"),
    }
}

/// The defaults of PostgreSQL's adapter.
fn adapters() -> Settings {
    Settings::new(Endpoint::Host(String::new()), "", "")
}

impl SyncerConfig {
    /// Reads and checks `syncer.yaml` and the layers above it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        read_tree(&sources.tree()?, Self::read).value
    }

    pub(super) fn read(syncer: &mut Section<'_>) -> Self {
        Self::read_beside(syncer, &Namespaces::new())
    }

    /// `filled` are the topics of the Watcher in the same file.
    pub(super) fn read_beside(syncer: &mut Section<'_>, filled: &Namespaces) -> Self {
        syncer.not_available(&["kafka.security", "postgres.tls"]);
        TraceOptions::refuse_missing(syncer);
        let mut read = Self::default();
        read.visit(syncer);
        read.tracing = std::mem::take(&mut read.trace_options).export(syncer);
        check_topics(syncer, &mut read.kafka.topics);
        read.kafka.namespaces =
            syncer.section("kafka", |kafka| namespaces::read(kafka, &read.kafka.topics, filled));
        read.postgres.tables = tables::read(syncer, &read.kafka.namespaces);
        read.postgres.check(syncer);
        tables::check_tables(syncer, &read.kafka.namespaces, &read.postgres.naming_settings());
        read.check_workers(syncer);
        common::check_dead_letters(syncer, &read.dead_letter_topic, &read.kafka.topics);
        read
    }

    fn check_workers(&self, syncer: &Section<'_>) {
        let (workers, connections) = (self.machine.pool_size, self.postgres.max_connections);
        if workers > connections {
            let text = format!(
                "{workers} workers need as many connections, and postgres.max_connections is {connections}"
            );
            syncer.contradiction(&["workers.pool_size"], &text);
        }
        let (one, all) = (self.machine.buffer_bytes, self.machine.max_buffered_bytes);
        if one > all {
            let (one, all) = (ByteSize(one), ByteSize(all));
            let text = format!("{all} is less than one batch may hold: batch.buffer_bytes is {one}");
            syncer.contradiction(&["workers.max_buffered_bytes"], &text);
        }
    }
}

fn check_topics(syncer: &Section<'_>, topics: &mut Vec<String>) {
    for topic in topics.iter() {
        if topic.starts_with('^') {
            syncer.contradiction(&["kafka.topic"], "patterns are not available yet; list the topics");
        } else if !is_topic(topic) {
            let text = format!("{topic:?} is not a legal topic; legal: letters, digits, '.', '_' and '-'");
            syncer.contradiction(&["kafka.topic"], &text);
        }
    }
    let named = topics.len();
    topics.sort();
    topics.dedup();
    if topics.len() < named {
        syncer.contradiction(&["kafka.topic"], "a topic is named twice");
    }
}

impl PostgresConfig {
    /// What the adapter is told of the names of tables.
    #[must_use]
    pub fn naming_settings(&self) -> Settings {
        let schema = self.schema.clone();
        Settings {
            is_schema_chosen: schema.is_some(),
            schema: schema.unwrap_or_else(|| Settings::DEFAULT_SCHEMA.to_owned()),
            naming: self.naming,
            tables: self.tables.clone(),
            ..adapters()
        }
    }

    fn check(&self, syncer: &Section<'_>) {
        if !self.host.is_empty() && !is_host(&self.host) {
            let text = "not a host name, an IP address or the path of a socket's folder; the port, the database and the user \
                        have keys of their own";
            syncer.contradiction(&["postgres.host"], text);
        }
        let (min, max) = (self.min_connections, self.max_connections);
        if min > max {
            let text = format!("{min} is more than postgres.max_connections ({max})");
            syncer.contradiction(&["postgres.min_connections", "postgres.max_connections"], &text);
        }
    }
}

/// A name, an address of either kind, or the folder of a Unix socket.
fn is_host(text: &str) -> bool {
    let is_name = || !text.contains([':', '/', '@', ',', '?', ' ']);
    text.starts_with('/') || text.parse::<std::net::IpAddr>().is_ok() || is_name()
}

impl Section<'_> {
    /// A schema's name, in which the collection's database may stand.
    fn schema(&mut self, key: Key, value: &mut Option<String>) {
        let legal = "a schema's name, in which {database} may stand";
        let is_name = |text: &str| {
            let bare = text.replace(Settings::DATABASE, "x");
            (!bare.is_empty() && !bare.contains(['{', '}', '\0'])).then(|| text.to_owned())
        };
        *value = self.value(key, legal, Preset::Said(Settings::DEFAULT_SCHEMA), is_name);
    }

    fn text_or_default(&mut self, key: Key, value: &mut String) {
        let mut given = None;
        self.text(key, &mut given, Preset::Is(value.clone()));
        if let Some(given) = given {
            *value = given;
        }
    }
}
