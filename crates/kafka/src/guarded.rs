//! librdkafka's properties that `kafka.properties` may not set: a promise rests on them, or a key of the pipeline's
//! own stands for them.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use ClientKind::{Consumer, Producer};

/// Whose properties they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// The Watcher's.
    Producer,
    /// The Syncer's, whose dead letters go through a producer beside the consumer.
    Consumer,
}

const WATCHER: &[ClientKind] = &[Producer];
const SYNCER: &[ClientKind] = &[Consumer];
const BOTH: &[ClientKind] = &[Producer, Consumer];

const BROKERS: &str = "it is kafka.brokers";
const AFTER_ROWS: &str = "an offset is committed after the rows are";
const CLASSIC: &str = "revocation is a handshake of the classic protocol";
const ALL_REPLICAS: &str = "a message counts when all in-sync replicas have it";
const ORDER: &str = "more than five requests lose the order of a partition";
const ONE_PARTITION: &str = "a document must stay in its partition for every producer";
const UNTIL_TIMEOUT: &str = "a message is tried until its time is over; set kafka.delivery_timeout";
const DELIVERY: &str = "set kafka.delivery_timeout";
const DEAD_LETTER_TIME: &str = "a dead letter has its own time, which a revocation waits for";
const COMPRESSION: &str = "set kafka.compression";
const LINGER: &str = "set kafka.batch_timeout";
const SESSION: &str = "a lost member is replaced within ten seconds, and a revocation ends before that";
const BATCHES: &str = "batches follow from what the topic allows; set its max.message.bytes";

/// Each property with whose it is, and why it is not to be set or what to set instead.
const GUARDED: [(&str, &[ClientKind], &str); 41] = [
    ("acks", BOTH, ALL_REPLICAS),
    (
        "allow.auto.create.topics",
        BOTH,
        "a topic that is gone must not come back with the brokers' own settings",
    ),
    ("auto.commit.enable", BOTH, AFTER_ROWS),
    (
        "auto.offset.reset",
        BOTH,
        "a lost offset must be seen, not skipped; set the Syncer's kafka.offset_reset",
    ),
    ("batch.num.messages", WATCHER, "set kafka.batch_size"),
    ("batch.size", BOTH, BATCHES),
    ("bootstrap.servers", BOTH, BROKERS),
    ("compression.codec", WATCHER, COMPRESSION),
    ("compression.type", WATCHER, COMPRESSION),
    ("delivery.report.only.error", BOTH, "a message is settled by its delivery report"),
    ("delivery.timeout.ms", WATCHER, DELIVERY),
    ("delivery.timeout.ms", SYNCER, DEAD_LETTER_TIME),
    ("enable.auto.commit", BOTH, AFTER_ROWS),
    ("enable.auto.offset.store", BOTH, AFTER_ROWS),
    ("enable.gapless.guarantee", BOTH, "gaps are handled by rewinding"),
    ("enable.idempotence", BOTH, "a retry must neither repeat nor reorder"),
    ("enable.partition.eof", BOTH, "the poll loop expects records"),
    ("group.id", BOTH, "set the Syncer's kafka.consumer_group"),
    ("group.instance.id", BOTH, "a restarted process is known by its instance; set instance"),
    ("group.protocol", BOTH, CLASSIC),
    ("group.remote.assignor", BOTH, CLASSIC),
    ("heartbeat.interval.ms", BOTH, SESSION),
    ("linger.ms", WATCHER, LINGER),
    ("max.in.flight", BOTH, ORDER),
    ("max.in.flight.requests.per.connection", BOTH, ORDER),
    ("message.max.bytes", BOTH, "the topic says what is too large; set its max.message.bytes"),
    ("message.send.max.retries", BOTH, UNTIL_TIMEOUT),
    ("message.timeout.ms", WATCHER, DELIVERY),
    ("message.timeout.ms", SYNCER, DEAD_LETTER_TIME),
    ("metadata.broker.list", BOTH, BROKERS),
    ("partition.assignment.strategy", BOTH, "partitions are handed over one by one, cooperatively"),
    ("partitioner", BOTH, ONE_PARTITION),
    ("partitioner_cb", BOTH, ONE_PARTITION),
    ("queue.buffering.max.kbytes", WATCHER, "set performance.max_in_flight_bytes"),
    ("queue.buffering.max.messages", WATCHER, "set performance.max_replay_events"),
    ("queue.buffering.max.ms", WATCHER, LINGER),
    ("queuing.strategy", BOTH, "a partition is a queue"),
    ("request.required.acks", BOTH, ALL_REPLICAS),
    ("retries", BOTH, UNTIL_TIMEOUT),
    ("session.timeout.ms", BOTH, SESSION),
    ("transactional.id", BOTH, "the pipeline does not use Kafka's transactions"),
];

/// Why a client's `kafka.properties` may not set this one, or what to set instead; `None` where it may.
#[must_use]
pub fn guarded_property(client: ClientKind, name: &str) -> Option<&'static str> {
    if name.starts_with("test.mock.") {
        return Some("it replaces the brokers by nothing");
    }
    GUARDED.iter().find(|(guarded, of, _)| *guarded == name && of.contains(&client)).map(|(_, _, why)| *why)
}

/// Refuses a property that librdkafka does not know, or a value that it does not take, before any client is made.
///
/// # Errors
/// Why, without the value: it may be a password.
pub fn check_property(name: &str, value: &str) -> Result<(), String> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_taken) => Ok(()),
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Err(format!("librdkafka knows no property {name}; correct it or take it out"))
        }
        Err(_refused) => Err(format!("librdkafka does not accept the value of {name}; correct it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guarded_property_has_a_reason_for_its_client_alone() {
        for (name, of, why) in GUARDED {
            for client in of {
                assert_eq!(guarded_property(*client, name), Some(why), "{name}");
            }
        }
        assert_eq!(guarded_property(Consumer, "linger.ms"), None);
        assert_eq!(guarded_property(Consumer, "queued.max.messages.kbytes"), None);
        assert_eq!(guarded_property(Producer, "security.protocol"), None);
        assert!(guarded_property(Producer, "test.mock.broker.rtt").is_some());
    }

    #[test]
    fn librdkafka_is_asked_before_a_client_is_made() {
        assert_eq!(check_property("security.protocol", "ssl"), Ok(()));
        let unknown = check_property("lingr.ms", "hunter2").unwrap_err();
        assert!(unknown.contains("knows no property lingr.ms") && !unknown.contains("hunter2"), "{unknown}");
        let refused = check_property("socket.timeout.ms", "hunter2").unwrap_err();
        assert!(refused.contains("socket.timeout.ms") && !refused.contains("hunter2"), "{refused}");
    }

    /// A name that librdkafka does not know would be refused by it anyway, and hide a slip in ours.
    #[test]
    fn librdkafka_knows_every_guarded_property() {
        for (name, _, _) in GUARDED {
            let said = ClientConfig::new().set(name, "?").create::<rdkafka::producer::BaseProducer>();
            let error = said.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!error.contains("No such configuration property"), "{name}: {error}");
        }
    }
}
