//! What a client is asked of offsets: the group's, and those that the logs hold.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cdc_ports::{Failure, TopicPartition};
use cdc_syncer::LogBounds;
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::classify::failure_from;
use crate::rebalance::GroupClient;

pub(super) const COMMITTED: &str = "kafka_committed";
pub(super) const BOUNDS: &str = "kafka_log_bounds";
pub(super) const ENDS: &str = "kafka_log_ends";

/// The longest that committed offsets may take to be read.
pub(super) const COMMITTED_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that one partition's bounds may take to be read, and all of them.
const BOUNDS_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const BOUNDS_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest that the ends of all logs, or the list of the topics, may take to be read. No machine waits for them.
pub(super) const ENDS_TIMEOUT: Duration = Duration::from_secs(2);

/// What the group has committed of each partition.
pub(super) fn committed(
    client: &GroupClient,
    asked: TopicPartitionList,
    names: &[TopicPartition],
) -> Result<Vec<Option<i64>>, Failure> {
    let answered = client
        .committed_offsets(asked, COMMITTED_TIMEOUT)
        .map_err(|error| failure_from(COMMITTED, "the group's offsets could not be read", &error))?;
    names.iter().map(|name| committed_offset(&answered, name)).collect()
}

/// Which offsets each partition holds.
pub(super) fn bounds(
    client: &GroupClient,
    names: &[TopicPartition],
) -> Result<Vec<Option<LogBounds>>, Failure> {
    let sizes = topic_sizes(client, names)?;
    names
        .iter()
        .map(|TopicPartition { topic, partition }| {
            if sizes.get(topic).is_none_or(|size| *partition >= *size) {
                return Ok(None);
            }
            let bounds = client.fetch_watermarks(topic, *partition, BOUNDS_REQUEST_TIMEOUT);
            let (first, end) = bounds.map_err(|error| {
                let what = format!("the offsets that {topic}/{partition} holds could not be read");
                failure_from(BOUNDS, &what, &error)
            })?;
            Ok(Some(LogBounds { first, end }))
        })
        .collect()
}

/// Where each partition's log ends. A request by time, one for each leader; librdkafka passes the end on as it is.
pub(super) fn ends(
    client: &GroupClient,
    asked: TopicPartitionList,
    names: &[TopicPartition],
) -> Result<Vec<Option<i64>>, Failure> {
    let answered = client
        .offsets_for_times(asked, ENDS_TIMEOUT)
        .map_err(|error| failure_from(ENDS, "the ends of the partitions' logs could not be read", &error))?;
    let end_of = |name: &TopicPartition| {
        let element = answered.find_partition(&name.topic, name.partition)?;
        match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(end)) => Some(end),
            _ => None,
        }
    };
    Ok(names.iter().map(end_of).collect())
}

/// How many partitions each of these topics has now. Asked first: for the bounds of a partition that does not exist
/// librdkafka would look until its time is up.
fn topic_sizes(client: &GroupClient, names: &[TopicPartition]) -> Result<HashMap<Arc<str>, i32>, Failure> {
    let topics: HashSet<&Arc<str>> = names.iter().map(|name| &name.topic).collect();
    let mut sizes = HashMap::new();
    for topic in topics {
        let answered = client.fetch_metadata(Some(topic), BOUNDS_REQUEST_TIMEOUT).map_err(|error| {
            failure_from(BOUNDS, &format!("the partitions of {topic} could not be read"), &error)
        })?;
        let size = answered.topics().iter().find(|it| it.name() == &**topic).map(|it| it.partitions().len());
        sizes.insert(Arc::clone(topic), size.and_then(|size| i32::try_from(size).ok()).unwrap_or(0));
    }
    Ok(sizes)
}

fn committed_offset(answered: &TopicPartitionList, name: &TopicPartition) -> Result<Option<i64>, Failure> {
    let what = || format!("the group's offset of {}/{}", name.topic, name.partition);
    let Some(element) = answered.find_partition(&name.topic, name.partition) else { return Ok(None) };
    element.error().map_err(|error| failure_from(COMMITTED, &what(), &error))?;
    match element.offset() {
        Offset::Offset(offset) => Ok(Some(offset)),
        Offset::Invalid | Offset::Beginning | Offset::End | Offset::Stored | Offset::OffsetTail(_) => {
            Ok(None)
        }
    }
}
