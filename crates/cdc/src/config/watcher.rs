use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use cdc_kafka::{ClientKind, Compression};
use cdc_machine::Retry;
use cdc_postgres::Namespace;
use secrecy::{ExposeSecret, SecretString};

use super::common::{self, CONNECTION, Logging, ON_REJECT, OnReject, Properties, TopicTemplate, is_topic};
use super::namespaces::{self, Namespaces};
use super::section::Section;
use super::token_place;

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
    pub token_storage: TokenStorageConfig,
    /// `logging`
    pub logging: Logging,
    /// `performance`
    pub performance: PerformanceConfig,
    /// `on_history_lost`
    pub on_history_lost: OnHistoryLost,
    /// `on_too_large`
    pub on_too_large: OnReject,
    /// `dead_letter.topic`
    pub dead_letter_topic: TopicTemplate,
    /// `http.listen`
    pub http_listen: SocketAddr,
    /// `shutdown.timeout`
    pub shutdown_timeout: Duration,
}

/// `mongodb`.
#[derive(Debug)]
pub struct MongoConfig {
    /// `uri`, or what stands in `uri_file`
    pub uri: SecretString,
    /// `database`
    pub database: String,
    /// `collection`: at least one, no two alike
    pub collections: Vec<String>,
    /// `connection_timeout`
    pub connection_timeout: Duration,
    /// `full_document`
    pub full_document: FullDocument,
    /// `max_retries`
    pub max_retries: Retry,
}

/// Where the full document of an update comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullDocument {
    /// Looked up when the event is read: the document as it is then.
    Lookup,
    /// The collection's post-image: the document as the update left it.
    PostImage,
}

/// `kafka` of the Watcher.
#[derive(Debug)]
pub struct ProducerConfig {
    /// `brokers`
    pub brokers: Vec<String>,
    /// `topic`
    pub topic: TopicTemplate,
    /// `compression`
    pub compression: Compression,
    /// `batch_size`, in messages
    pub batch_size: u32,
    /// `batch_timeout`: how long a batch waits to be filled
    pub batch_timeout: Duration,
    /// `max_retries`
    pub max_retries: Retry,
    /// `partitions` of a topic that the Watcher makes
    pub partitions: u16,
    /// `replication_factor` of a topic that the Watcher makes; -1 leaves it to the broker
    pub replication_factor: i16,
    /// `delivery_timeout`: how long one attempt to deliver may take
    pub delivery_timeout: Duration,
    /// `properties`
    pub properties: Properties,
}

/// `token_storage`.
#[derive(Debug)]
pub struct TokenStorageConfig {
    /// `type`, with its section
    pub backend: TokenBackend,
    /// `max_retries` of a save
    pub max_retries: Retry,
}

/// Where the resume token is kept.
#[derive(Debug)]
pub enum TokenBackend {
    /// In Redis.
    Redis {
        /// `addr`: host and port
        addr: String,
        /// `username`: the ACL user
        username: Option<String>,
        /// `password`, or what stands in `password_file`
        password: Option<SecretString>,
        /// `db`
        db: u16,
        /// `key`
        key: String,
        /// Where the record may be instead; `None` where `key` is given.
        earlier: Option<Vec<String>>,
    },
    /// In a file on this machine.
    File {
        /// `path`
        path: PathBuf,
        /// Where the record may be instead; `None` where `path` is given.
        earlier: Option<Vec<PathBuf>>,
    },
}

/// `performance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerformanceConfig {
    /// `token_save_interval`: acknowledged events until a save
    pub token_save_interval: u32,
    /// `token_save_max_delay`: how long an acknowledged event stays unsaved at most
    pub token_save_max_delay: Duration,
    /// `max_replay_events`: events read and not yet covered by a save, at most
    pub max_replay_events: u32,
    /// `max_in_flight_bytes`: bytes read and not yet acknowledged, at most
    pub max_in_flight_bytes: u64,
}

/// What to do when the source no longer has the history behind the saved position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHistoryLost {
    /// The service stops and a person decides.
    Stop,
    /// The stream goes on from the present, with a gap on record.
    FromNow,
}

impl WatcherConfig {
    pub(super) fn read(watcher: &mut Section<'_>) -> Self {
        watcher.not_available(&["snapshot", "tracing"]);
        watcher.choice("format", &[("json", ())], &["extended_json", "debezium"], ());
        let mongodb = watcher.section("mongodb", MongoConfig::read);
        let kafka = watcher.section("kafka", |kafka| ProducerConfig::read(kafka, &mongodb));
        let topics = topics(&kafka.topic, &mongodb);
        Self {
            instance: common::instance(watcher),
            kafka,
            token_storage: watcher
                .section("token_storage", |storage| TokenStorageConfig::read(storage, &mongodb)),
            mongodb,
            logging: watcher.section("logging", Logging::read),
            performance: watcher.section("performance", PerformanceConfig::read),
            on_history_lost: watcher.choice(
                "on_history_lost",
                &[("stop", OnHistoryLost::Stop), ("from_now", OnHistoryLost::FromNow)],
                &["snapshot"],
                OnHistoryLost::Stop,
            ),
            on_too_large: watcher.choice("on_too_large", &ON_REJECT, &[], OnReject::DeadLetter),
            dead_letter_topic: watcher
                .section("dead_letter", |dead_letter| common::dead_letter_topic(dead_letter, &topics)),
            http_listen: common::http_listen(watcher, 9464),
            shutdown_timeout: common::shutdown_timeout(watcher),
        }
    }

    /// The topics of all collections, in their order.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        topics(&self.kafka.topic, &self.mongodb)
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
}

/// What is said here never repeats the URI, which may hold a password.
fn check_uri(mongodb: &Section<'_>, uri: &SecretString) {
    let uri = uri.expose_secret();
    if !uri.is_empty() && !uri.starts_with("mongodb://") && !uri.starts_with("mongodb+srv://") {
        let text = "not a connection string; legal: mongodb://host:port/… or mongodb+srv://host/…";
        mongodb.contradiction(&["uri", "uri_file"], text);
    } else if !uri.is_empty()
        && let Err(why) = cdc_mongo::check_uri(uri)
    {
        mongodb.contradiction(&["uri", "uri_file"], &why);
    }
}

fn topics(template: &TopicTemplate, mongodb: &MongoConfig) -> Vec<String> {
    let database = &mongodb.database;
    mongodb.collections.iter().map(|collection| template.for_collection(database, collection)).collect()
}

/// Databases of the server's own.
const UNWATCHABLE: [&str; 3] = ["admin", "config", "local"];

impl MongoConfig {
    fn read(mongodb: &mut Section<'_>) -> Self {
        mongodb.not_available(&["tls"]);
        let uri = mongodb.secret("uri", "uri_file").unwrap_or_else(|| {
            mongodb.require("uri");
            SecretString::default()
        });
        check_uri(mongodb, &uri);
        let mut collections = mongodb.required_list("collection");
        let named = collections.len();
        collections.sort();
        collections.dedup();
        if collections.len() < named {
            mongodb.contradiction(&["collection"], "a collection is named twice");
        }
        for collection in collections.iter().filter(|collection| collection.starts_with("system.")) {
            mongodb.contradiction(
                &["collection"],
                &format!("{collection} is the server's own, and has no change stream; take it out"),
            );
        }
        let database = mongodb.required_text("database");
        if UNWATCHABLE.contains(&database.as_str()) {
            mongodb.contradiction(
                &["database"],
                &format!(
                    "{database} is the server's own, and has no change stream; name a database of yours"
                ),
            );
        }
        Self {
            uri,
            database,
            collections,
            connection_timeout: mongodb.duration("connection_timeout", CONNECTION, Duration::from_secs(10)),
            full_document: mongodb.choice(
                "full_document",
                &[("lookup", FullDocument::Lookup), ("post_image", FullDocument::PostImage)],
                &[],
                FullDocument::Lookup,
            ),
            max_retries: mongodb.retries("max_retries", 5),
        }
    }
}

impl ProducerConfig {
    fn read(kafka: &mut Section<'_>, mongodb: &MongoConfig) -> Self {
        kafka.not_available(&["security"]);
        let legal = "letters, digits, '.', '_', '-', {database} and {collection}";
        let topic = kafka
            .value("topic", legal, |text| TopicTemplate::parse(text, &["database", "collection"]))
            .unwrap_or_else(TopicTemplate::by_collection);
        check_topics(kafka, &topic, mongodb);
        let compressions = Compression::ALL.map(|compression| (compression.as_str(), compression));
        Self {
            brokers: common::brokers(kafka),
            topic,
            compression: kafka.choice("compression", &compressions, &[], Compression::default()),
            batch_size: kafka.integer("batch_size", 1..=1_000_000, 100),
            batch_timeout: kafka.duration(
                "batch_timeout",
                Duration::from_millis(1)..=Duration::from_secs(60),
                Duration::from_millis(10),
            ),
            max_retries: kafka.retries("max_retries", 5),
            partitions: kafka.integer("partitions", 1..=10_000, 8),
            replication_factor: replication_factor(kafka),
            delivery_timeout: kafka.duration(
                "delivery_timeout",
                Duration::from_secs(1)..=Duration::from_secs(3600),
                Duration::from_secs(30),
            ),
            properties: Properties::read(kafka, ClientKind::Producer, &[]),
        }
    }
}

fn replication_factor(kafka: &mut Section<'_>) -> i16 {
    kafka
        .value("replication_factor", "-1 (the broker's default), or a whole number from 1 to 100", |text| {
            text.parse().ok().filter(|factor| *factor == -1 || (1..=100).contains(factor))
        })
        .unwrap_or(-1)
}

/// Two collections in one topic would mix their documents: the keys of both are bare `_id`s.
fn check_topics(kafka: &Section<'_>, template: &TopicTemplate, mongodb: &MongoConfig) {
    let topics = topics(template, mongodb);
    let distinct: std::collections::BTreeSet<_> = topics.iter().collect();
    if distinct.len() < topics.len() {
        kafka.contradiction(
            &["topic"],
            "one topic for more than one collection would mix their documents; put {collection} into it",
        );
    }
    for topic in distinct {
        // A missing database or collection is reported on its own.
        if !mongodb.database.is_empty() && !is_topic(topic) {
            let text = format!(
                "it gives the topic {topic:?}, which is not a legal name in Kafka; write a topic that is"
            );
            kafka.contradiction(&["topic"], &text);
        }
    }
}

/// What `token_storage.redis.addr` may be: the rest of a Redis URL has keys of its own.
const ADDR: &str = "a host and a port, such as \"localhost:6379\"; the user, the password and the database have keys of \
                    their own beside it: username, password and db";

impl TokenStorageConfig {
    fn read(storage: &mut Section<'_>, MongoConfig { database, collections, .. }: &MongoConfig) -> Self {
        let redis = storage.section("redis", |redis| {
            let addr = redis
                .value("addr", ADDR, |text| common::is_host_and_port(text).then(|| text.to_owned()))
                .unwrap_or_else(|| "localhost:6379".to_owned());
            let username = redis.text("username");
            let password = redis.secret("password", "password_file");
            let db = redis.integer("db", 0..=u16::MAX, 0);
            let (key, earlier) = chosen(redis.text("key"), || token_place::key(database, collections));
            TokenBackend::Redis { addr, username, password, db, key, earlier }
        });
        let file = storage.section("file", |file| {
            let path = file.text("path").map(PathBuf::from);
            let (path, earlier) = chosen(path, || token_place::path(database, collections));
            TokenBackend::File { path, earlier }
        });
        // Both sections may stand in the file, as in the shipped example; `type` says which one counts.
        let is_redis = storage.choice("type", &[("redis", true), ("file", false)], &[], true);
        Self { backend: if is_redis { redis } else { file }, max_retries: storage.retries("max_retries", 3) }
    }
}

/// The place that a person has chosen; or the default one, with those where the record may be instead.
fn chosen<T>(given: Option<T>, by_default: impl FnOnce() -> token_place::Places<T>) -> (T, Option<Vec<T>>) {
    match given {
        Some(place) => (place, None),
        None => {
            let token_place::Places { place, earlier } = by_default();
            (place, Some(earlier))
        }
    }
}

impl PerformanceConfig {
    fn read(performance: &mut Section<'_>) -> Self {
        Self {
            token_save_interval: performance.integer("token_save_interval", 1..=1_000_000, 10),
            token_save_max_delay: performance.duration(
                "token_save_max_delay",
                Duration::from_millis(1)..=Duration::from_secs(60),
                Duration::from_millis(200),
            ),
            max_replay_events: performance.integer("max_replay_events", 1..=1_000_000, 10_000),
            max_in_flight_bytes: performance.bytes(
                "max_in_flight_bytes",
                ByteSize::kib(64)..=ByteSize::gib(16),
                ByteSize::mib(32),
            ),
        }
    }
}
