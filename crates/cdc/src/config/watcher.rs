//! The Watcher's options.

use std::net::SocketAddr;
use std::time::Duration;

use cdc_kafka::{ClientKind, Compression};
use cdc_machine::{Key, Visitor as _, options, words};
use cdc_mongo::{MongoSettings, UpdateImage};
use cdc_postgres::Namespace;
use secrecy::{ExposeSecret, SecretString};

use super::common::{self, CONNECTION, Logging, Properties, TopicTemplate, is_topic};
use super::described::{Preset, Shape};
use super::layers::Sources;
use super::namespaces::{self, Namespaces};
use super::problem::ConfigError;
use super::sampling::SamplingOptions;
use super::section::{Section, read_tree};
use super::token_storage::{TokenBackend, TokenStorageOptions};
use super::trace_export::{TraceExport, TraceOptions};

/// The Watcher's configuration, `watcher.yaml`.
#[derive(Debug)]
pub struct WatcherConfig {
    /// `instance`: the lease's holder; unique per process.
    pub instance: String,
    /// `mongodb`
    pub mongodb: MongoConfig,
    /// `kafka`
    pub kafka: ProducerConfig,
    /// `token_storage`
    pub token_storage: TokenBackend,
    /// What the machine is told: limits, policies and retries.
    pub machine: cdc_watcher::Config,
    /// `dead_letter.topic`
    pub dead_letter_topic: TopicTemplate,
    /// `logging`
    pub logging: Logging,
    /// `tracing`: where the spans go; `None` where none are made.
    pub tracing: Option<TraceExport>,
    /// `tracing`: which events are followed
    pub sampling: SamplingOptions,
    /// `http.listen`
    pub http_listen: SocketAddr,
}

options! {
    /// `watcher.yaml`.
    #[derive(Debug)]
    struct WatcherOptions for Section<'_> {
        /// Who holds the lease; unique per process. A second process of one name on one machine waits, and `/health`
        /// says for which. One that is gone is replaced at once, on another machine within its lease's 15 s.
        instance: String = String::new() => instance("instance"),
        /// `mongodb`
        mongodb: MongoConfig = MongoConfig::default() => nested(),
        /// `kafka`
        kafka: ProducerConfig = ProducerConfig::default() => nested(),
        /// The format of the messages' bodies. See docs/message-format.md.
        format: Format = Format::Json => word("format"),
        /// `token_storage`
        token_storage: TokenStorageOptions = TokenStorageOptions::default() => nested(),
        /// What the machine is told.
        machine: cdc_watcher::Config = cdc_watcher::Config::default() => nested(),
        /// Where markers of messages that are too large go. No topic that carries documents. See docs/dead-letters.md.
        dead_letter_topic: TopicTemplate = TopicTemplate::dead_letters()
            => template("dead_letter.topic", &["topic"]),
        /// `logging`
        logging: Logging = Logging::default() => nested(),
        /// `tracing`
        tracing: TraceOptions = TraceOptions::default() => nested(),
        /// `tracing`
        sampling: SamplingOptions = SamplingOptions::default() => nested(),
        /// Where `/health`, `/metrics` and the like are served.
        http_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9464)) => address("http.listen"),
    }
}

words! {
    /// The format of the messages' bodies.
    pub enum Format, later ["extended_json", "debezium"] {
        /// JSON, and beside it the types that JSON cannot express.
        Json: "json",
    }
}

options! {
    /// `mongodb`.
    #[derive(Debug)]
    pub struct MongoConfig for pub(super) Section<'_> {
        /// The connection string. Its options may hold credentials and TLS.
        pub uri: SecretString = SecretString::default() => required_secret("mongodb.uri"),
        /// The collections to watch, one or a list.
        ///
        /// At least one, sorted, no two alike.
        pub collections: Vec<String> = Vec::new() => required_list("mongodb.collection"),
        /// The database to watch.
        pub database: String = String::new() => required_text("mongodb.database"),
        /// How long to wait for a connection, and for a server to be there at all.
        pub connection_timeout: Duration = MongoSettings::DEFAULT_CONNECTION_TIMEOUT
            => duration("mongodb.connection_timeout", CONNECTION),
        /// Where the full document of an update comes from.
        pub full_document: UpdateImage = UpdateImage::default() => word("mongodb.full_document"),
    }
}

options! {
    /// `kafka` of the Watcher.
    #[derive(Debug)]
    pub struct ProducerConfig for pub(super) Section<'_> {
        /// The brokers to begin with, each with its port.
        pub brokers: Vec<String> = Vec::new() => brokers("kafka.brokers"),
        /// The topic of a collection. Several collections need `{collection}` in it. For a name of another form the
        /// Watcher says which `kafka.namespaces` its Syncer needs.
        pub topic: TopicTemplate = TopicTemplate::by_collection()
            => template("kafka.topic", &["database", "collection"]),
        /// How batches of messages are compressed.
        pub compression: Compression = Compression::default() => word("kafka.compression"),
        /// Messages that fill a batch.
        ///
        /// More than fit into its bytes, where messages are of the usual size: a batch is what has queued.
        pub batch_size: u32 = 10_000 => number("kafka.batch_size", 1..=1_000_000),
        /// How long a batch waits to be filled. Without a wait a message leaves at once while none is on its way, and what
        /// queues behind those that are leaves together.
        pub batch_timeout: Duration = Duration::ZERO
            => duration("kafka.batch_timeout", Duration::ZERO..=Duration::from_secs(60)),
        /// Partitions of a topic that the Watcher creates; see docs/partitions.md for adding some later. Its
        /// `max.message.bytes` is 64 MiB, so that every document fits.
        pub partitions: u16 = 8 => number("kafka.partitions", 1..=10_000),
        /// Replicas of a topic that the Watcher creates. -1: the broker's default.
        pub replication_factor: i16 = -1 => replication_factor("kafka.replication_factor"),
        /// How long one attempt to deliver may take.
        pub delivery_timeout: Duration = Duration::from_secs(30)
            => duration("kafka.delivery_timeout", Duration::from_secs(1)..=Duration::from_secs(3_600)),
        /// Handed to librdkafka as they are. Those that a promise rests on are refused, with the key to set instead;
        /// sizes of messages and batches are among them.
        pub properties: Properties = Properties::default() => properties("kafka.properties", ClientKind::Producer),
    }
}

impl WatcherConfig {
    /// Reads and checks `watcher.yaml` and the layers above it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        read_tree(&sources.tree()?, Self::read).value
    }

    pub(super) fn read(watcher: &mut Section<'_>) -> Self {
        watcher.not_available(&["snapshot", "mongodb.tls", "kafka.security"]);
        let mut read = WatcherOptions::default();
        read.visit(watcher);
        read.mongodb.check(watcher);
        TraceOptions::refuse_missing(watcher);
        let WatcherOptions {
            instance,
            mongodb,
            kafka,
            dead_letter_topic,
            logging,
            tracing,
            sampling,
            http_listen,
            ..
        } = read;
        let token_storage = read.token_storage.backend(&mongodb.database, &mongodb.collections);
        let machine = cdc_watcher::Config { token_store: token_storage.dependency(), ..read.machine };
        let read = Self {
            instance,
            mongodb,
            kafka,
            token_storage,
            machine,
            dead_letter_topic,
            logging,
            tracing: tracing.export(watcher),
            sampling,
            http_listen,
        };
        read.check_topics(watcher);
        common::check_dead_letters(watcher, &read.dead_letter_topic, &read.topics());
        read
    }

    /// The topics of all collections, in their order.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        let database = &self.mongodb.database;
        let topic = |collection: &String| self.kafka.topic.for_collection(database, collection);
        self.mongodb.collections.iter().map(topic).collect()
    }

    /// The topics with what they carry.
    #[must_use]
    pub fn namespaces(&self) -> Namespaces {
        let of = |collection: &String| Namespace::new(self.mongodb.database.as_str(), collection.as_str());
        self.topics().into_iter().zip(self.mongodb.collections.iter().map(of)).collect()
    }

    /// What the Syncer of these topics must be told.
    #[must_use]
    pub fn needed_namespaces(&self) -> Option<String> {
        namespaces::needed(&self.namespaces())
    }

    /// Two collections in one topic would mix their documents: the keys of both are bare `_id`s.
    fn check_topics(&self, watcher: &Section<'_>) {
        let topics = self.topics();
        let distinct: std::collections::BTreeSet<_> = topics.iter().collect();
        if distinct.len() < topics.len() {
            watcher.contradiction(
                &["kafka.topic"],
                "one topic for more than one collection would mix their documents; put {collection} into it",
            );
        }
        for topic in distinct {
            // A missing database or collection is reported on its own.
            if !self.mongodb.database.is_empty() && !is_topic(topic) {
                let text = format!(
                    "it gives the topic {topic:?}, which is not a legal name in Kafka; write a topic that is"
                );
                watcher.contradiction(&["kafka.topic"], &text);
            }
        }
    }
}

/// Databases of the server's own.
const UNWATCHABLE: [&str; 3] = ["admin", "config", "local"];

impl MongoConfig {
    fn check(&mut self, watcher: &Section<'_>) {
        check_uri(watcher, &self.uri);
        let named = self.collections.len();
        self.collections.sort();
        self.collections.dedup();
        if self.collections.len() < named {
            watcher.contradiction(&["mongodb.collection"], "a collection is named twice");
        }
        for collection in self.collections.iter().filter(|collection| collection.starts_with("system.")) {
            let text = format!("{collection} is the server's own, and has no change stream; take it out");
            watcher.contradiction(&["mongodb.collection"], &text);
        }
        if UNWATCHABLE.contains(&self.database.as_str()) {
            let text = format!(
                "{} is the server's own, and has no change stream; name a database of yours",
                self.database
            );
            watcher.contradiction(&["mongodb.database"], &text);
        }
    }
}

/// What is said here never repeats the URI, which may hold a password.
fn check_uri(watcher: &Section<'_>, uri: &SecretString) {
    let (uri, keys) = (uri.expose_secret(), ["mongodb.uri", "mongodb.uri_file"]);
    if !uri.is_empty() && !uri.starts_with("mongodb://") && !uri.starts_with("mongodb+srv://") {
        let text = "not a connection string; legal: mongodb://host:port/… or mongodb+srv://host/…";
        watcher.contradiction(&keys, text);
    } else if !uri.is_empty()
        && let Err(why) = cdc_mongo::check_uri(uri)
    {
        watcher.contradiction(&keys, &why);
    }
}

impl Section<'_> {
    fn replication_factor(&mut self, key: Key, value: &mut i16) {
        let (legal, preset) =
            ("-1 (the broker's default), or a whole number from 1 to 100", Preset::Is(value.to_string()));
        self.tell(key.path, key.text, Shape::NumberOr { from: 1, to: 100, other: "-1" }, preset, *value);
        let factor = |text: &str| text.parse().ok().filter(|it| *it == -1 || (1..=100).contains(it));
        *value = self.scalar(key.path, legal, factor).unwrap_or(*value);
    }
}
