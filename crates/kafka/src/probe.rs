//! Whether the brokers live: not one that tells of the others, but those that lead partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

/// The longest that a sign of life may take: less than the caller waits, so that the caller hears the reason.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_millis(2_500);
/// What a sign of life is called in the log.
pub(crate) const PROBE: &str = "kafka_probe";
/// What a failure says where no sign came.
pub(crate) const SILENT: &str = "the brokers give no sign of life";
/// The least time that one of many leaders has to answer.
const SHARE_MIN: Duration = Duration::from_millis(100);

/// Whether any broker that leads a partition of a topic answers. A topic that is not there, or has no leader, is waited
/// for elsewhere.
///
/// # Errors
/// The last one's where none answers.
pub(crate) fn any_leader_answers<C: ClientContext>(
    client: &Client<C>,
    topic: &MetadataTopic,
    timeout: Duration,
) -> Result<(), KafkaError> {
    let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0);
    let leaders: BTreeMap<i32, i32> = led.map(|partition| (partition.leader(), partition.id())).collect();
    let share = timeout / u32::try_from(leaders.len().max(1)).unwrap_or(u32::MAX);
    let mut answer = Ok(());
    for partition in leaders.into_values() {
        answer = client.fetch_watermarks(topic.name(), partition, share.max(SHARE_MIN)).map(drop);
        if answer.is_ok() {
            break;
        }
    }
    answer
}

/// How many partitions each topic has, once each broker that leads some of them has answered; 0 where it is not there.
/// Any broker tells of the others, also one that announces them under names that lead nowhere: so each leader is asked
/// for the end of one partition, whichever of the topics that is of.
///
/// # Errors
/// Where the brokers do not answer before the deadline, or a partition has none that leads it.
pub(crate) fn leaders_answer<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    deadline: Instant,
) -> Result<Vec<u32>, KafkaError> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        let timed_out = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        if left.is_zero() { Err(timed_out) } else { Ok(left) }
    };
    // One answer for all of them: a request for each would be a load of its own.
    let only = if let [topic] = topics { Some(*topic) } else { None };
    let metadata = client.fetch_metadata(only, left()?)?;
    let mut asked = BTreeSet::new();
    let mut counts = Vec::with_capacity(topics.len());
    for topic in topics {
        let found = metadata.topics().iter().find(|found| found.name() == *topic);
        let partitions = found.map_or(&[][..], MetadataTopic::partitions);
        for partition in partitions {
            if partition.leader() < 0 {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
            }
            if asked.insert(partition.leader()) {
                client.fetch_watermarks(topic, partition.id(), left()?)?;
            }
        }
        counts.push(u32::try_from(partitions.len()).unwrap_or(u32::MAX));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn one_question_tells_of_all_topics_until_the_deadline() {
        let cluster = MockCluster::new(2).unwrap();
        for (topic, partitions) in [("a", 3), ("b", 5)] {
            cluster.create_topic(topic, partitions, 1).unwrap();
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "none");
        let consumer: BaseConsumer = config.create().unwrap();
        let ask = |deadline| leaders_answer(consumer.client(), &["a", "gone", "b"], deadline);
        assert_eq!(ask(Instant::now() + Duration::from_secs(10)).unwrap(), [3, 0, 5]);
        let late = ask(Instant::now()).unwrap_err();
        assert_eq!(late.rdkafka_error_code(), Some(RDKafkaErrorCode::OperationTimedOut));
    }
}
