//! Whether a consumer group has read its topics to the end and is gone: for commands that change what it relies on.

use std::sync::Arc;
use std::time::Duration;

use cdc_machine::Fault;
use cdc_ports::Failure;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::classify::failure_from;
use crate::client_errors::ClientErrors;
use crate::config;
use crate::settings::ConnectionSettings;
use crate::topics::partition_count;

const OPERATION: &str = "kafka_group";
/// The longest that one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A partition that the group has not read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// What the group has committed.
    pub committed: Option<i64>,
    /// Where the log ends.
    pub end: i64,
}

/// A consumer group beside the topics that it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// Members that the group has now.
    pub members: usize,
    /// What it has not read.
    pub behind: Vec<Behind>,
    /// How many partitions each topic has, in the order given.
    pub partitions: Vec<u32>,
}

/// Looks at a group and its topics. Blocks for as long as the brokers take, up to ten seconds for each answer.
///
/// # Errors
/// Whatever the brokers say, classified; a topic that is not there is `Fatal`.
pub fn group_state(
    connection: &ConnectionSettings,
    group: &str,
    topics: &[Arc<str>],
) -> Result<GroupState, Failure> {
    let client: BaseConsumer<ClientErrors> = config::admin(connection)
        .set("group.id", group)
        .create_with_context(ClientErrors::default())
        .map_err(|error| failure_from(OPERATION, "a client could not be made", &error))?;
    let failed = |error: &KafkaError| failure_from(OPERATION, &format!("the group {group}"), error);
    let groups = client.fetch_group_list(Some(group), TIMEOUT).map_err(|error| failed(&error))?;
    let members = groups.groups().iter().map(|found| found.members().len()).sum();
    let mut state = GroupState { members, ..GroupState::default() };
    for topic in topics {
        let count = partition_count(client.client(), topic, TIMEOUT).map_err(|error| failed(&error))?;
        if count == 0 {
            return Err(Failure::new(Fault::Fatal, OPERATION, format!("the topic {topic} is not there")));
        }
        state.partitions.push(count);
        let mut asked = TopicPartitionList::new();
        for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
            asked.add_partition(topic, partition);
        }
        let committed = client.committed_offsets(asked, TIMEOUT).map_err(|error| failed(&error))?;
        for element in committed.elements() {
            let partition = element.partition();
            let (_, end) =
                client.fetch_watermarks(topic, partition, TIMEOUT).map_err(|error| failed(&error))?;
            // librdkafka's own marks, such as "none", are below 0.
            let committed = element.offset().to_raw().filter(|offset| *offset >= 0);
            if committed.unwrap_or(0) < end {
                state.behind.push(Behind { topic: Arc::clone(topic), partition, committed, end });
            }
        }
    }
    Ok(state)
}
