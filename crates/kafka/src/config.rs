use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::Failure;
use rdkafka::ClientConfig;

use crate::batches::BatchLimits;
use crate::guarded::{ClientKind, guarded_property};
use crate::settings::{ConnectionSettings, ConsumerSettings, ProducerSettings};

/// What one partition may add to a fetch, in compressed bytes. librdkafka unpacks a whole fetch at once and
/// counts it only then: with its default of 1 MiB and documents that compress tenfold, eight partitions
/// unpack to 80 MiB. A single batch that is larger still comes, alone.
const PARTITION_FETCH_BYTES: u32 = 128 * 1024;
/// What one fetch may bring over all partitions, likewise: with four topics of eight partitions their shares add up
/// to 4 MiB, which unpack to 80. librdkafka wants no less than its `message.max.bytes` (1,000,000).
const FETCH_BYTES: u32 = 1024 * 1024;

/// The longest wait between two attempts to reach a broker: one that came back is used within a second.
const RECONNECT_BACKOFF_MAX: Duration = Duration::from_secs(1);
/// The longest that one request may take.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the group's members look for topics that did not exist when they subscribed.
const METADATA_REFRESH: Duration = Duration::from_secs(2);
/// Members tell the group that they live this many times within its patience. The answers tell them of a
/// rebalance: at Kafka's own ratio of 3 a lost member's partitions would stand still for 3 s longer.
const HEARTBEATS_PER_SESSION: u32 = 10;
/// Fetched ahead of the application, over all partitions, in KiB.
pub const PREFETCH_KBYTES: u64 = 8 * 1024;
/// How long a partition's fetcher rests once the prefetch is full. librdkafka's default of a second makes a
/// small prefetch stutter.
const FETCH_QUEUE_BACKOFF: Duration = Duration::from_millis(5);
/// Messages beside the window: markers for the dead letters.
const QUEUE_SLACK_MESSAGES: u64 = 1_000;
/// The same for control messages, which go to every partition: so many at once are queued in one go; more are
/// refused and sent again.
const QUEUE_CONTROL_EVENTS: u64 = 16;
/// Beside the window: the one event that may exceed it (a change event's two images, 16 MiB each, as JSON).
const QUEUE_SLACK_KBYTES: u64 = 96 * 1024;
/// librdkafka's most for `queue.buffering.max.messages`, and most for `….kbytes`.
const QUEUE_LIMIT: u64 = i32::MAX as u64;
/// The largest dead letter that is tried with its body: what its topic does not take the broker refuses, and
/// then it goes without. Below the largest request that a broker takes by default (100 MiB): beyond it the
/// broker would hang up instead of refusing.
const DEAD_LETTER_MAX_BYTES: u32 = 64 * 1024 * 1024;

/// The largest message that is tried, where no topic allows more: what our own topics allow, and the largest
/// change event fits. Whether a message fits its topic, the broker says: it counts what is left after compression.
pub(crate) const MESSAGE_MAX_BYTES: u32 = 64 * 1024 * 1024;
/// librdkafka's most for `message.max.bytes`.
const MESSAGE_LIMIT_BYTES: u32 = 1_000_000_000;

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Refuses the properties that a guarantee rests on. The configuration asks [`guarded_property`] before; other callers may
/// not have.
///
/// # Errors
/// `Fatal`, naming the first of them.
pub(crate) fn check_properties(client: ClientKind, connection: &ConnectionSettings) -> Result<(), Failure> {
    for (name, _) in &connection.properties {
        if let Some(reason) = guarded_property(client, name) {
            return Err(Failure::new(
                Fault::Fatal,
                "kafka_configure",
                format!("kafka.properties may not set {name}: {reason}; remove it"),
            ));
        }
    }
    Ok(())
}

/// What every client has in common.
pub(crate) fn base(connection: &ConnectionSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", connection.brokers.join(","))
        .set("client.id", &connection.client_id)
        .set("socket.timeout.ms", millis(SOCKET_TIMEOUT))
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.max.ms", millis(RECONNECT_BACKOFF_MAX));
    config
}

fn override_by(config: &mut ClientConfig, connection: &ConnectionSettings) {
    for (name, value) in &connection.properties {
        config.set(name, value);
    }
}

/// A client that only asks and creates.
pub(crate) fn admin(connection: &ConnectionSettings) -> ClientConfig {
    let mut config = base(connection);
    override_by(&mut config, connection);
    config
}

/// What one partition may add to a fetch of the topics' ends: a larger message comes alone.
const ENDS_FETCH_BYTES: u32 = 16 * 1024;
/// Fetched ahead of who looks at the topics' ends, in KiB.
const ENDS_PREFETCH_KBYTES: u32 = 1024;
/// How long a broker may wait before it says that a partition is at its end.
const ENDS_FETCH_WAIT: Duration = Duration::from_millis(5);

/// A reader of the topics' ends, for a moment and without a group. Whose messages they are does not matter, nor
/// whether their transaction was committed.
pub(crate) fn ends(connection: &ConnectionSettings) -> ClientConfig {
    let mut config = admin(connection);
    config
        .set("group.id", &connection.client_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_uncommitted")
        .set("fetch.min.bytes", "1")
        .set("fetch.wait.max.ms", millis(ENDS_FETCH_WAIT))
        // A message that fills the queue alone must not cost the next one librdkafka's own wait of a second.
        .set("fetch.queue.backoff.ms", millis(FETCH_QUEUE_BACKOFF))
        .set("fetch.message.max.bytes", ENDS_FETCH_BYTES.to_string())
        .set("queued.max.messages.kbytes", ENDS_PREFETCH_KBYTES.to_string());
    config
}

/// A producer whose order and durability the Watcher relies on. `largest` is the most that any topic is known to
/// allow.
pub(crate) fn producer(
    settings: &ProducerSettings,
    batches: BatchLimits,
    largest: Option<u32>,
) -> ClientConfig {
    let message_max_bytes = largest.unwrap_or_default().clamp(MESSAGE_MAX_BYTES, MESSAGE_LIMIT_BYTES);
    let batch_messages = if batches.is_single { 1 } else { settings.batch_size };
    let copies = settings.topics.len() as u64 * u64::from(settings.partitions) * QUEUE_CONTROL_EVENTS;
    let messages = u64::from(settings.max_in_flight_events) + QUEUE_SLACK_MESSAGES + copies;
    let kbytes = settings.max_in_flight_bytes / 1024 + QUEUE_SLACK_KBYTES;
    let mut config = durable(&settings.connection, settings.delivery_timeout);
    config
        .set("linger.ms", millis(settings.batch_timeout))
        .set("batch.num.messages", batch_messages.to_string())
        .set("batch.size", batches.bytes.to_string())
        .set("message.max.bytes", message_max_bytes.to_string())
        .set("compression.type", settings.compression.as_str())
        .set("queue.buffering.max.messages", messages.min(QUEUE_LIMIT).to_string())
        .set("queue.buffering.max.kbytes", kbytes.min(QUEUE_LIMIT).to_string());
    override_by(&mut config, &settings.connection);
    config
}

/// A reader of dead letters, for a moment and without a group.
pub(crate) fn dead_letter_reader(connection: &ConnectionSettings) -> ClientConfig {
    let mut config = ends(connection);
    config
        .set("fetch.message.max.bytes", PARTITION_FETCH_BYTES.to_string())
        .set("queued.max.messages.kbytes", PREFETCH_KBYTES.to_string());
    config
}

/// The Syncer's producer for dead letters, and for those that go back to their topic: a few records.
pub(crate) fn dead_letter_producer(
    connection: &ConnectionSettings,
    delivery_timeout: Duration,
) -> ClientConfig {
    let mut config = durable(connection, delivery_timeout);
    config.set("linger.ms", "0").set("message.max.bytes", DEAD_LETTER_MAX_BYTES.to_string());
    for (name, value) in &connection.properties {
        if !is_for_consumers(name) {
            config.set(name, value);
        }
    }
    config
}

/// Properties that a producer would only warn about.
fn is_for_consumers(name: &str) -> bool {
    ["fetch.", "queued.", "session.", "heartbeat.", "max.poll.", "isolation.", "check.crcs", "coordinator."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn durable(connection: &ConnectionSettings, delivery_timeout: Duration) -> ClientConfig {
    let mut config = base(connection);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        // A topic that is gone must not come back with the broker's own number of partitions.
        .set("allow.auto.create.topics", "false")
        .set("message.timeout.ms", millis(delivery_timeout))
        // A request that outlives its messages would keep them unreported.
        .set("request.timeout.ms", millis(SOCKET_TIMEOUT.min(delivery_timeout)));
    config
}

/// A member of the group that decides offsets and commits itself.
pub(crate) fn consumer(settings: &ConsumerSettings) -> ClientConfig {
    let mut config = base(&settings.connection);
    config
        .set("group.id", &settings.group)
        .set("group.instance.id", &settings.instance)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("session.timeout.ms", millis(settings.session_timeout))
        .set("heartbeat.interval.ms", millis(settings.session_timeout / HEARTBEATS_PER_SESSION))
        .set("topic.metadata.refresh.interval.ms", millis(METADATA_REFRESH))
        .set("fetch.min.bytes", "1")
        .set("queued.max.messages.kbytes", PREFETCH_KBYTES.to_string())
        .set("fetch.message.max.bytes", PARTITION_FETCH_BYTES.to_string())
        .set("fetch.max.bytes", FETCH_BYTES.to_string())
        .set("fetch.queue.backoff.ms", millis(FETCH_QUEUE_BACKOFF));
    override_by(&mut config, &settings.connection);
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use cdc_watcher::Batching;

    use crate::batches::TopicLimits;
    use crate::settings::Compression;

    fn connection(properties: &[(&str, &str)]) -> ConnectionSettings {
        ConnectionSettings {
            brokers: vec!["a:9092".into(), "b:9092".into()],
            client_id: "test".into(),
            properties: properties.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
        }
    }

    fn producer_settings(connection: ConnectionSettings) -> ProducerSettings {
        ProducerSettings {
            connection,
            topics: vec![Arc::from("t")],
            partitions: 8,
            replication_factor: -1,
            compression: Compression::Snappy,
            batch_size: 100,
            batch_timeout: Duration::from_millis(10),
            delivery_timeout: Duration::from_secs(30),
            max_in_flight_events: 10_000,
            max_in_flight_bytes: 32 << 20,
            limits_timeout: ProducerSettings::LIMITS_TIMEOUT,
            dead_letter_topic: None,
        }
    }

    fn shared() -> BatchLimits {
        BatchLimits::of(Batching::Shared { halvings: 0 }, TopicLimits::default())
    }

    fn consumer_settings(connection: ConnectionSettings) -> ConsumerSettings {
        ConsumerSettings {
            connection,
            topics: vec!["t".into()],
            group: "g".into(),
            instance: "i".into(),
            session_timeout: ConsumerSettings::SESSION_TIMEOUT,
            dead_letter_topic: "{topic}.dead-letters".into(),
            replication_factor: -1,
        }
    }

    #[test]
    fn a_guarded_property_is_refused_by_name() {
        for (client, name) in
            [(ClientKind::Producer, "batch.size"), (ClientKind::Consumer, "session.timeout.ms")]
        {
            let set = connection(&[("client.rack", "1"), (name, "x")]);
            let failure = check_properties(client, &set).unwrap_err();
            assert_eq!(failure.fault, Fault::Fatal);
            assert!(failure.message.contains(name), "{}", failure.message);
        }
        assert!(check_properties(ClientKind::Producer, &connection(&[("client.rack", "1")])).is_ok());
    }

    #[test]
    fn a_users_property_wins_over_a_default() {
        let set = connection(&[("socket.timeout.ms", "1000"), ("queued.max.messages.kbytes", "1024")]);
        let produced = producer(&producer_settings(set.clone()), shared(), None);
        assert_eq!(produced.get("socket.timeout.ms"), Some("1000"));
        let consumed = consumer(&consumer_settings(set));
        assert_eq!(consumed.get("queued.max.messages.kbytes"), Some("1024"));
    }

    #[test]
    fn the_seeds_settings_reach_librdkafka() {
        let config = producer(&producer_settings(connection(&[])), shared(), None);
        for (name, value) in [
            ("bootstrap.servers", "a:9092,b:9092"),
            ("batch.num.messages", "100"),
            ("linger.ms", "10"),
            ("compression.type", "snappy"),
            ("message.timeout.ms", "30000"),
            ("queue.buffering.max.messages", "11128"),
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("allow.auto.create.topics", "false"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        config.create::<rdkafka::producer::BaseProducer>().unwrap();
        consumer(&consumer_settings(connection(&[]))).create::<rdkafka::consumer::BaseConsumer>().unwrap();
    }

    #[test]
    fn a_producer_of_single_messages_has_batches_of_one() {
        let batches = BatchLimits::of(Batching::Single, TopicLimits::default());
        let config = producer(&producer_settings(connection(&[])), batches, None);
        assert_eq!(config.get("batch.num.messages"), Some("1"));
        config.create::<rdkafka::producer::BaseProducer>().unwrap();
    }

    #[test]
    fn the_broker_says_what_is_too_large() {
        for (largest, expected) in [
            (None, "67108864"),
            (Some(1_048_588), "67108864"),
            (Some(80 << 20), "83886080"),
            (Some(u32::MAX), "1000000000"),
        ] {
            let config = producer(&producer_settings(connection(&[])), shared(), largest);
            assert_eq!(config.get("message.max.bytes"), Some(expected), "{largest:?}");
            config.create::<rdkafka::producer::BaseProducer>().unwrap();
        }
    }
}
