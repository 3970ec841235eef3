use std::sync::{Arc, PoisonError, RwLock};

use cdc_ports::TopicPartition;
use cdc_syncer::Partition;

/// The names behind the machine's partition numbers. A number is given at first sight and never changes, so
/// that it means the same in every session of a process.
#[derive(Debug, Default)]
pub(crate) struct PartitionNames {
    names: RwLock<Vec<TopicPartition>>,
}

impl PartitionNames {
    /// The number of a partition.
    pub(crate) fn number(&self, topic: &str, partition: i32) -> Partition {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let known = names.iter().position(|name| name.partition == partition && &*name.topic == topic);
        let index = known.unwrap_or_else(|| {
            let topic = names
                .iter()
                .find(|name| &*name.topic == topic)
                .map_or_else(|| Arc::from(topic), |name| Arc::clone(&name.topic));
            names.push(TopicPartition { topic, partition });
            names.len() - 1
        });
        Partition(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The name behind a number; `None` for a number that was never given.
    pub(crate) fn name(&self, partition: Partition) -> Option<TopicPartition> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(usize::try_from(partition.0).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_once() {
        let names = PartitionNames::default();
        let a0 = names.number("a", 0);
        let a1 = names.number("a", 1);
        let b0 = names.number("b", 0);
        assert_eq!([a0, a1, b0], [Partition(0), Partition(1), Partition(2)]);
        assert_eq!(names.number("a", 1), a1);
        assert_eq!(names.name(b0), Some(TopicPartition { topic: Arc::from("b"), partition: 0 }));
        assert_eq!(names.name(Partition(3)), None);
    }
}
