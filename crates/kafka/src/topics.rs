//! Topics before their first message: made where they are missing, looked at where they are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cdc_executor::ports::Failure;
use cdc_machine::Fault;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::batches::TopicLimits;
use crate::classify::{failure, failure_from};
use crate::complaints::Complaints;
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
    client: AdminClient<Complaints>,
    runtime: tokio::runtime::Handle,
}

impl TopicAdmin {
    /// # Errors
    /// `Fatal` where librdkafka refuses the configuration.
    pub(crate) fn new(
        connection: &ConnectionSettings,
        complaints: Complaints,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, Failure> {
        let client = config::admin(connection).create_with_context(complaints).map_err(|error| {
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

/// Those that the brokers do not list. They are asked for all of their topics, since a producer that asks for
/// one by name has it made with the brokers' own number of partitions, where they make topics by themselves.
///
/// # Errors
/// Whatever the brokers say, classified.
pub(crate) fn missing<C: ClientContext>(
    client: &Client<C>,
    wanted: Vec<Wanted>,
) -> Result<Vec<Wanted>, Failure> {
    let metadata = client
        .fetch_metadata(None, REQUEST_TIMEOUT)
        .map_err(|error| failure_from("kafka_topics", "the brokers did not list their topics", &error))?;
    let exists = |wanted: &Wanted| {
        metadata.topics().iter().any(|topic| topic.name() == wanted.name && !topic.partitions().is_empty())
    };
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

/// Whether any broker that leads a partition of a topic answers. A topic that is not there, or has no leader, is waited
/// for elsewhere.
///
/// # Errors
/// The last one's where none answers.
pub(crate) fn any_leader_answers<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<(), KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let found = metadata.topics().first();
    let led = found.into_iter().flat_map(|topic| topic.partitions()).filter(|it| it.leader() >= 0);
    let leaders: BTreeMap<i32, i32> = led.map(|partition| (partition.leader(), partition.id())).collect();
    let share = timeout / u32::try_from(leaders.len().max(1)).unwrap_or(u32::MAX);
    let mut answer = Ok(());
    for partition in leaders.into_values() {
        answer = client.fetch_watermarks(topic, partition, share.max(LEADER_WAIT)).map(drop);
        if answer.is_ok() {
            break;
        }
    }
    answer
}

/// How many partitions a topic has, once each broker that leads some of them has answered; 0 where it is not there. Any
/// broker tells of the others, also one that announces them under names that lead nowhere: so each leader is asked for
/// the end of one partition.
///
/// # Errors
/// Where the brokers do not answer, or a partition has none that leads it.
pub(crate) fn sign_of_life<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    deadline: Instant,
) -> Result<u32, KafkaError> {
    let left = || deadline.saturating_duration_since(Instant::now()).max(LEADER_WAIT);
    let metadata = client.fetch_metadata(Some(topic), left())?;
    let Some(found) = metadata.topics().first() else { return Ok(0) };
    let mut asked = BTreeSet::new();
    for partition in found.partitions() {
        if partition.leader() < 0 {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
        }
        if asked.insert(partition.leader()) {
            client.fetch_watermarks(topic, partition.id(), left())?;
        }
    }
    Ok(u32::try_from(found.partitions().len()).unwrap_or(u32::MAX))
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
