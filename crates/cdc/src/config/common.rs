//! What both services' configurations share.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use cdc_kafka::{ClientKind, check_property, owned_property};

use super::section::Section;

/// How long a drain may take at most.
const SHUTDOWN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// How long a connection may take to come about.
pub(super) const CONNECTION: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

/// The longest name that Kafka gives a topic, in bytes.
const TOPIC_BYTES: usize = 249;

/// The least severe level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Every step of the machines.
    Debug,
    /// What an operator wants to read.
    Info,
    /// What may need a look.
    Warn,
    /// What has failed.
    Error,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Console,
}

/// `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// `level`
    pub level: LogLevel,
    /// `format`
    pub format: LogFormat,
}

impl Logging {
    pub(super) fn read(logging: &mut Section<'_>) -> Self {
        let levels = [
            ("debug", LogLevel::Debug),
            ("info", LogLevel::Info),
            ("warn", LogLevel::Warn),
            ("error", LogLevel::Error),
        ];
        let formats = [("json", LogFormat::Json), ("console", LogFormat::Console)];
        Self {
            level: logging.choice("level", &levels, &[], LogLevel::Info),
            format: logging.choice("format", &formats, &[], LogFormat::Json),
        }
    }
}

/// What becomes of a record that can never be delivered or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReject {
    /// It is put aside, durably, and the stream goes on.
    DeadLetter,
    /// It is counted and logged, and the stream goes on.
    Skip,
    /// The service stops and a person decides.
    Stop,
}

/// What becomes of a record that other rows stand in the way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBlocked {
    /// It waits in `cdc.parked` until they do no longer.
    Park,
    /// As for a record that can never be written.
    Reject(OnReject),
}

/// The words for [`OnBlocked`].
pub(super) const ON_BLOCKED: [(&str, OnBlocked); 4] = [
    ("park", OnBlocked::Park),
    ("dead_letter", OnBlocked::Reject(OnReject::DeadLetter)),
    ("skip", OnBlocked::Reject(OnReject::Skip)),
    ("stop", OnBlocked::Reject(OnReject::Stop)),
];

/// The words for [`OnReject`].
pub(super) const ON_REJECT: [(&str, OnReject); 3] =
    [("dead_letter", OnReject::DeadLetter), ("skip", OnReject::Skip), ("stop", OnReject::Stop)];

/// A topic's name with placeholders: `cdc.{database}.{collection}`, `{topic}.dead-letters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate(String);

impl TopicTemplate {
    /// A template in which only these placeholders stand, and otherwise only what a topic's name may hold.
    pub(super) fn parse(text: &str, placeholders: &[&str]) -> Option<Self> {
        let bare =
            placeholders.iter().fold(text.to_owned(), |rest, name| rest.replace(&format!("{{{name}}}"), "x"));
        is_topic(&bare).then(|| Self(text.to_owned()))
    }

    /// `cdc.{database}.{collection}`, the default.
    pub(super) fn by_collection() -> Self {
        Self("cdc.{database}.{collection}".to_owned())
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The topic of a collection.
    #[must_use]
    pub fn for_collection(&self, database: &str, collection: &str) -> String {
        self.0.replace("{database}", database).replace("{collection}", collection)
    }

    /// The dead-letter topic of a topic.
    #[must_use]
    pub fn for_topic(&self, topic: &str) -> String {
        self.0.replace("{topic}", topic)
    }
}

/// True for a name that Kafka accepts.
pub(super) fn is_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= TOPIC_BYTES && name != "." && name != ".." && name.bytes().all(legal)
}

/// `topic` of the section `dead_letter`, of a service that reads or fills these topics: what falls must not come back
/// as data.
pub(super) fn dead_letter_topic(dead_letter: &mut Section<'_>, topics: &[String]) -> TopicTemplate {
    dead_letter.not_available(&["retention"]);
    let template = dead_letter
        .value("topic", "letters, digits, '.', '_', '-' and {topic}", |text| {
            TopicTemplate::parse(text, &["topic"])
        })
        .unwrap_or_else(|| TopicTemplate("{topic}.dead-letters".to_owned()));
    let problem = topics.iter().filter(|topic| is_topic(topic)).find_map(|topic| {
        let dead = template.for_topic(topic);
        if topics.contains(&dead) {
            return Some(come_back(topic, &dead));
        }
        let length = dead.len();
        (!is_topic(&dead)).then(|| {
            format!(
                "the dead letters of topic {topic} would need a topic of {length} bytes, and Kafka allows \
                 {TOPIC_BYTES}; choose a shorter name"
            )
        })
    });
    if let Some(text) = problem {
        dead_letter.contradiction(&["topic"], &text);
    }
    template
}

/// What is said of dead letters that would be read as documents.
pub(super) fn come_back(topic: &str, dead: &str) -> String {
    format!(
        "the dead letters of topic {topic} would go into topic {dead}, which carries documents; give them a topic of \
         their own, such as \"{{topic}}.dead-letters\""
    )
}

/// `http.listen`.
pub(super) fn http_listen(service: &mut Section<'_>, port: u16) -> SocketAddr {
    let default = SocketAddr::from(([127, 0, 0, 1], port));
    let legal = format!("an address and a port, such as \"{default}\" or \"0.0.0.0:{port}\"");
    service.section("http", |http| http.value("listen", &legal, |text| text.parse().ok()).unwrap_or(default))
}

/// `shutdown.timeout`.
pub(super) fn shutdown_timeout(service: &mut Section<'_>) -> Duration {
    service.section("shutdown", |shutdown| shutdown.duration("timeout", SHUTDOWN, Duration::from_secs(25)))
}

/// `instance`; the host's name where it is not given.
pub(super) fn instance(service: &mut Section<'_>) -> String {
    service.text("instance").unwrap_or_else(host_name)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// `kafka.brokers`: host and port each.
pub(super) fn brokers(kafka: &mut Section<'_>) -> Vec<String> {
    let brokers = kafka.required_list("brokers");
    for broker in &brokers {
        if !is_host_and_port(broker) {
            kafka.contradiction(&["brokers"], "each broker is a host and a port, such as \"localhost:9092\"");
        }
    }
    brokers
}

/// True for `host:port`, IPv6 hosts in brackets.
pub(super) fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = !host.contains([':', '/', '@', ' ']);
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty() && (bare || bracketed) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Settings handed to librdkafka as they are. The values may hold credentials and never print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, String)>);

impl Properties {
    /// `kafka.properties`. What the pipeline sets itself, or a key of its own stands for, is refused.
    pub(super) fn read(kafka: &mut Section<'_>, client: ClientKind, defaults: &[(&str, &str)]) -> Self {
        let mut pairs = kafka.free_keys("properties");
        for (name, value) in &pairs {
            if let Some(why) = owned_property(client, name) {
                let text = format!("{name} is set by the pipeline itself: {why}; take it out");
                kafka.contradiction(&["properties"], &text);
            } else if let Err(why) = check_property(name, value) {
                kafka.contradiction(&["properties"], &why);
            }
        }
        for (name, value) in defaults {
            if !pairs.iter().any(|(given, _)| given == name) {
                pairs.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        Self(pairs)
    }

    /// Names and values, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
