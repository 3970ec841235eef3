//! Topics before their first message: made where they are missing, looked at where they are there.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cdc_machine::Fault;
use cdc_ports::Failure;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

use crate::batches::TopicLimits;
use crate::classify::{failure, failure_from};
use crate::client_errors::ClientErrors;
use crate::config;
use crate::settings::ConnectionSettings;

/// The longest that one answer of the brokers may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at a topic that has no leader yet.
const LEADER_WAIT: Duration = Duration::from_millis(100);
/// `max.message.bytes` of a topic that is made here. Kafka's default of 1 MiB would turn each larger document
/// into a marker; the largest change event has 16 MiB, which JSON spells up to fourfold. Brokers read requests
/// of up to 100 MiB (`socket.request.max.bytes`).
const MESSAGE_MAX_BYTES: &str = "67108864";
/// Dead letters are few, and one partition keeps them in the order in which they fell.
pub(crate) const DEAD_LETTER_PARTITIONS: i32 = 1;

/// A topic to be there.
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i32,
}

/// Talks to the brokers about topics. Every call blocks for at most [`REQUEST_TIMEOUT`].
pub(crate) struct TopicAdmin {
    client: AdminClient<ClientErrors>,
    runtime: tokio::runtime::Handle,
}

impl TopicAdmin {
    /// # Errors
    /// `Fatal` where librdkafka refuses the configuration.
    pub(crate) fn new(
        connection: &ConnectionSettings,
        errors: ClientErrors,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, Failure> {
        let client = config::admin(connection).create_with_context(errors).map_err(|error| {
            failure_from("kafka_topics", "an administration client could not be made", &error)
        })?;
        Ok(Self { client, runtime })
    }

    fn options() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
    }

    /// Makes topics. That another process was faster is no failure.
    ///
    /// # Errors
    /// Whatever keeps a topic from being made, classified.
    pub(crate) fn create(&self, wanted: &[Wanted]) -> Result<(), Failure> {
        if wanted.is_empty() {
            return Ok(());
        }
        let topics: Vec<NewTopic<'_>> = wanted
            .iter()
            .map(|topic| {
                NewTopic::new(
                    &topic.name,
                    topic.partitions,
                    TopicReplication::Fixed(topic.replication_factor),
                )
                .set("max.message.bytes", MESSAGE_MAX_BYTES)
            })
            .collect();
        let answers = match self.runtime.block_on(self.client.create_topics(&topics, &Self::options())) {
            Ok(answers) => answers,
            Err(error) => return Err(failure_from("kafka_topics", "topics could not be made", &error)),
        };
        for answer in answers {
            match answer {
                Ok(name) => tracing::info!(topic = name, "topic created"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    return Err(failure(
                        "kafka_topics",
                        &format!("the topic {name} could not be made"),
                        code,
                    ));
                }
            }
        }
        Ok(())
    }

    /// What the topics say that they allow (`max.message.bytes`), as far as they say it within `patience`. It
    /// only makes batches fit at once: the broker has the last word.
    pub(crate) fn limits(&self, topics: &[&str], patience: Duration) -> TopicLimits {
        let asked: Vec<_> = topics.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(patience));
        let answers = match self.runtime.block_on(self.client.describe_configs(&asked, &options)) {
            Ok(answers) => answers,
            Err(error) => {
                Self::tell_unknown_limits(&error.to_string());
                return TopicLimits::default();
            }
        };
        let mut limits = TopicLimits { smallest: Some(u32::MAX), largest: None };
        for answer in answers {
            let limit =
                answer.map(|found| found.get("max.message.bytes")?.value.as_ref()?.parse::<u32>().ok());
            match limit {
                Ok(Some(limit)) => {
                    limits.smallest = limits.smallest.map(|smallest| smallest.min(limit));
                    limits.largest = limits.largest.max(Some(limit));
                    continue;
                }
                Ok(None) => Self::tell_unknown_limits("the answer does not name it"),
                Err(code) => Self::tell_unknown_limits(&code.to_string()),
            }
            // One that is unknown may allow less than all others.
            limits.smallest = None;
        }
        limits
    }

    fn tell_unknown_limits(error: &str) {
        tracing::info!(
            operation = "kafka_topics",
            error,
            "a topic's max.message.bytes could not be read; a batch that is refused is sent again, one message at a time"
        );
    }
}

/// All topics that the brokers list, each with its partitions. Asked for one by name they would make it, with their own
/// number of partitions, where they make topics by themselves.
///
/// # Errors
/// Whatever the brokers say, classified.
pub(crate) fn listed<C: ClientContext>(
    client: &Client<C>,
    operation: &'static str,
    timeout: Duration,
) -> Result<BTreeMap<String, Vec<i32>>, Failure> {
    let metadata = client
        .fetch_metadata(None, timeout)
        .map_err(|error| failure_from(operation, "the brokers did not list their topics", &error))?;
    let partitions =
        |topic: &MetadataTopic| topic.partitions().iter().map(|partition| partition.id()).collect();
    Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), partitions(topic))).collect())
}

/// Those that the brokers do not list.
///
/// # Errors
/// Whatever the brokers say, classified.
pub(crate) fn missing<C: ClientContext>(
    client: &Client<C>,
    wanted: Vec<Wanted>,
) -> Result<Vec<Wanted>, Failure> {
    let listed = listed(client, "kafka_topics", REQUEST_TIMEOUT)?;
    let exists = |wanted: &Wanted| listed.get(&wanted.name).is_some_and(|partitions| !partitions.is_empty());
    Ok(wanted.into_iter().filter(|wanted| !exists(wanted)).collect())
}

/// Asks until the answer is there, or the deadline: a topic that was made a moment ago has no leader yet, or
/// not everywhere.
fn ask_until<T>(
    deadline: Instant,
    mut ask: impl FnMut(Duration) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (_never, wait) = mpsc::channel::<()>();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match ask(left.max(LEADER_WAIT)) {
            Err(failed) if failed.fault == Fault::Transient && left > LEADER_WAIT => {
                // Nobody sends: this only waits, and the thread belongs to the blocking pool.
                let _ = wait.recv_timeout(LEADER_WAIT);
            }
            answer => return answer,
        }
    }
}

/// Waits until each of a topic's partitions has a leader. Returns how many there are.
///
/// # Errors
/// `Transient` at the deadline; whatever else the brokers say, classified.
pub(crate) fn await_topic<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    deadline: Instant,
) -> Result<i32, Failure> {
    let what = format!("the topic {topic} is not ready");
    ask_until(deadline, |left| {
        let metadata = client
            .fetch_metadata(Some(topic), left)
            .map_err(|error| failure_from("kafka_topics", &what, &error))?;
        let code = match metadata.topics().first() {
            None => RDKafkaErrorCode::UnknownTopicOrPartition,
            Some(found) => match found.error() {
                Some(error) => RDKafkaErrorCode::from(error),
                None if found.partitions().is_empty() => RDKafkaErrorCode::UnknownTopicOrPartition,
                None if found.partitions().iter().any(|partition| partition.leader() < 0) => {
                    RDKafkaErrorCode::LeaderNotAvailable
                }
                None => return Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
            },
        };
        Err(failure("kafka_topics", &what, code))
    })
}

/// How many partitions a topic has; 0 where it is not there.
///
/// # Errors
/// Where the brokers do not answer.
pub(crate) fn partition_count<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<u32, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let count = metadata.topics().first().map_or(0, |found| found.partitions().len());
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// True where any partition's end offset is above 0.
///
/// # Errors
/// Whatever the brokers say, classified.
pub(crate) fn holds_messages<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partitions: i32,
    deadline: Instant,
) -> Result<bool, Failure> {
    for partition in 0..partitions {
        let (_, end) = ask_until(deadline, |left| {
            client.fetch_watermarks(topic, partition, left).map_err(|error| {
                failure_from(
                    "kafka_topics",
                    &format!("the end of {topic}/{partition} could not be read"),
                    &error,
                )
            })
        })?;
        if end > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn a_topic_without_a_leader_is_asked_for_until_the_deadline() {
        const NO_LEADER: Result<i32, RDKafkaErrorCode> = Err(RDKafkaErrorCode::LeaderNotAvailable);
        let asked = |deadline: Duration, answers: &[Result<i32, RDKafkaErrorCode>]| {
            let mut asked = 0;
            let answer = ask_until(Instant::now() + deadline, |_| {
                let answer = answers[asked.min(answers.len() - 1)];
                asked += 1;
                answer.map_err(|code| failure("kafka_topics", "the topic is not ready", code))
            });
            (answer.map_err(|failed| failed.fault), asked)
        };
        assert_eq!(asked(REQUEST_TIMEOUT, &[NO_LEADER, NO_LEADER, Ok(4)]), (Ok(4), 3));
        assert_eq!(asked(Duration::ZERO, &[NO_LEADER]), (Err(Fault::Transient), 1));
        let refused = Err(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(asked(REQUEST_TIMEOUT, &[NO_LEADER, refused]), (Err(Fault::Auth), 2));
    }

    #[test]
    fn to_ask_for_topics_is_not_to_make_them() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("a", 3, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "none");
        let consumer: BaseConsumer = config.create().unwrap();
        let listed = listed(consumer.client(), "kafka_topics", REQUEST_TIMEOUT).unwrap();
        assert_eq!(listed.get("a").map(Vec::len), Some(3));
        assert!(!listed.contains_key("gone"));
    }
}
