//! What both services' configurations share.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use cdc_kafka::{ClientKind, check_property, guarded_property};
use cdc_machine::{Key, Visitor, options, words};

use super::described::Preset;
use super::section::Section;

/// How long a connection may take to come about.
pub(super) const CONNECTION: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

/// The longest name that Kafka gives a topic, in bytes.
const TOPIC_BYTES: usize = 249;

words! {
    /// The least severe level that is logged.
    pub enum LogLevel {
        /// Every step of the machines.
        Debug: "debug",
        /// What an operator wants to read.
        Info: "info",
        /// What may need a look.
        Warn: "warn",
        /// What has failed.
        Error: "error",
    }
}

words! {
    /// How a line of the log is written.
    pub enum LogFormat {
        /// One JSON object a line.
        Json: "json",
        /// For people.
        Console: "console",
    }
}

options! {
    /// `logging`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Logging for pub(super) impl Visitor {
        /// The least severe level that is logged.
        pub level: LogLevel = LogLevel::Info => word("logging.level"),
        /// How a line of the log is written.
        pub format: LogFormat = LogFormat::Json => word("logging.format"),
    }
}

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

    /// `{topic}.dead-letters`, the default.
    pub(super) fn dead_letters() -> Self {
        Self("{topic}.dead-letters".to_owned())
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

/// Refuses dead-letter topics of a service that reads or fills these topics: what falls must not come back as data.
pub(super) fn check_dead_letters(service: &mut Section<'_>, template: &TopicTemplate, topics: &[String]) {
    service.not_available(&["dead_letter.retention"]);
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
        service.contradiction(&["dead_letter.topic"], &text);
    }
}

/// What is said of dead letters that would be read as documents.
pub(super) fn come_back(topic: &str, dead: &str) -> String {
    format!(
        "the dead letters of topic {topic} would go into topic {dead}, which carries documents; give them a topic of \
         their own, such as \"{{topic}}.dead-letters\""
    )
}

/// Readers of what both services have.
impl Section<'_> {
    /// A topic's name with these placeholders.
    pub(super) fn template(&mut self, key: Key, value: &mut TopicTemplate, placeholders: &[&str]) {
        let braced: Vec<String> = placeholders.iter().map(|name| format!("{{{name}}}")).collect();
        let legal = match braced.as_slice() {
            [first, last] => format!("letters, digits, '.', '_', '-', {first} and {last}"),
            names => format!("letters, digits, '.', '_', '-' and {}", names.join(", ")),
        };
        let preset = Preset::Is(value.0.clone());
        if let Some(template) =
            self.value(key, &legal, preset, |text| TopicTemplate::parse(text, placeholders))
        {
            *value = template;
        }
    }

    /// An address to listen at.
    pub(super) fn address(&mut self, key: Key, value: &mut SocketAddr) {
        let legal = format!("an address and a port, such as \"{value}\" or \"0.0.0.0:{}\"", value.port());
        let preset = Preset::Is(value.to_string());
        *value = self.value(key, &legal, preset, |text| text.parse().ok()).unwrap_or(*value);
    }

    /// The process's name; the host's where it is not given.
    pub(super) fn instance(&mut self, key: Key, value: &mut String) {
        let mut given = None;
        self.text(key, &mut given, Preset::Said("the host's name"));
        *value = given.unwrap_or_else(host_name);
    }

    /// Host and port each.
    pub(super) fn brokers(&mut self, key: Key, value: &mut Vec<String>) {
        self.required_list(key, value);
        if !value.iter().all(|broker| is_host_and_port(broker)) {
            let text = "each broker is a host and a port, such as \"localhost:9092\"";
            self.contradiction(&[key.path], text);
        }
    }

    /// librdkafka's own. What the pipeline sets itself, or a key of its own stands for, is refused.
    pub(super) fn properties(&mut self, key: Key, value: &mut Properties, client: ClientKind) {
        let preset = match value.0.as_slice() {
            [] => Preset::Nothing,
            pairs => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                Preset::Is(format!("{{{}}}", pairs.join(", ")))
            }
        };
        let given = self.free_keys(key, preset);
        for (name, value) in &given {
            if let Some(why) = guarded_property(client, name) {
                let text = format!("{name} is set by the pipeline itself: {why}; take it out");
                self.contradiction(&[key.path], &text);
            } else if let Err(why) = check_property(name, value) {
                self.contradiction(&[key.path], &why);
            }
        }
        let defaults = std::mem::replace(&mut value.0, given);
        for (name, default) in defaults {
            if !value.0.iter().any(|(given, _)| *given == name) {
                value.0.push((name, default));
            }
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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
    /// These, where nobody says otherwise.
    pub(super) fn by_default(defaults: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(defaults.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Names and values, in the order of the file.
    #[must_use]
    pub fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
