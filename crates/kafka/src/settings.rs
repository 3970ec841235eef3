use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cdc_machine::words;

/// How to reach the brokers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// `host:port`, any of the cluster's brokers.
    pub brokers: Vec<String>,
    /// The name in the brokers' logs and quotas.
    pub client_id: String,
    /// librdkafka's own properties, security included. They override this crate's defaults, except for
    /// those that a guarantee rests on: these are refused.
    pub properties: Vec<(String, String)>,
}

/// Names only: a property's value may be a password.
impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ConnectionSettings")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("properties", &names)
            .finish()
    }
}

words! {
    /// How batches of messages are compressed. The words are librdkafka's.
    #[derive(Default)]
    pub enum Compression {
        /// Not at all.
        None: "none",
        /// zlib.
        Gzip: "gzip",
        /// Fast.
        #[default]
        Snappy: "snappy",
        /// Fast, and smaller than snappy.
        Lz4: "lz4",
        /// Smallest.
        Zstd: "zstd",
    }
}

/// The Watcher's side of Kafka.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// The brokers.
    pub connection: ConnectionSettings,
    /// Every topic that messages will go to. They are made at the start where they are missing.
    pub topics: Vec<Arc<str>>,
    /// Partitions of a topic that is made.
    pub partitions: u16,
    /// Replicas of a topic that is made; -1 leaves it to the brokers.
    pub replication_factor: i32,
    /// Compression of batches.
    pub compression: Compression,
    /// The most messages in one batch of one partition.
    pub batch_size: u32,
    /// How long a batch waits for more messages.
    pub batch_timeout: Duration,
    /// How long a message may take before it counts as failed.
    pub delivery_timeout: Duration,
    /// The most messages that the sequencer ever has in flight.
    pub max_in_flight_events: u32,
    /// The most bytes of keys and values that it ever has in flight, a single oversized event apart.
    pub max_in_flight_bytes: u64,
    /// How long the brokers may take to say what the topics allow. It works without, see [`Self::LIMITS_TIMEOUT`].
    pub limits_timeout: Duration,
    /// Where markers of messages that do not fit go, `{topic}` standing for the message's own topic;
    /// `None` where the policy sends none, and no such topic is made.
    pub dead_letter_topic: Option<String>,
}

impl ProducerSettings {
    /// The usual patience with the question what the topics allow.
    pub const LIMITS_TIMEOUT: Duration = Duration::from_secs(5);
}

/// The Syncer's side of Kafka.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// The brokers.
    pub connection: ConnectionSettings,
    /// Topics by name, or patterns beginning with `^`. They need not exist yet.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// This process's name in the group: unique, and the same after a restart.
    pub instance: String,
    /// How long the group waits for a silent member.
    pub session_timeout: Duration,
    /// Where records that cannot be written go, `{topic}` standing for the record's own topic.
    pub dead_letter_topic: String,
    /// Replicas of a dead-letter topic that is made; -1 leaves it to the brokers.
    pub replication_factor: i32,
}

impl ConsumerSettings {
    /// The usual time that a group waits for a silent member. A lost one is replaced within ten seconds: this, the
    /// others' next heartbeat, and the taking over of its partitions.
    pub const SESSION_TIMEOUT: Duration = Duration::from_secs(8);

    /// A topic to ask the brokers of; `None` where there are only patterns.
    pub(crate) fn named_topic(&self) -> Option<&str> {
        self.topics.iter().map(String::as_str).find(|topic| !topic.starts_with('^'))
    }
}

/// The dead-letter topic of a topic.
pub(crate) fn dead_letter_topic(template: &str, topic: &str) -> String {
    template.replace("{topic}", topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_names_the_topic() {
        assert_eq!(dead_letter_topic("{topic}.dead-letters", "cdc.db.a"), "cdc.db.a.dead-letters");
        assert_eq!(dead_letter_topic("all-dead", "cdc.db.a"), "all-dead");
    }

    #[test]
    fn values_of_properties_are_not_printed() {
        let settings = ConnectionSettings {
            properties: vec![("sasl.password".into(), "hunter2".into())],
            ..ConnectionSettings::default()
        };
        let printed = format!("{settings:?}");
        assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
    }
}
