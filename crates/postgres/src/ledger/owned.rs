//! The ledger's rows that are ours, as arrays for its statements, and what an answer says of them.

use std::time::SystemTime;

use cdc_machine::Epoch;
use cdc_ports::TopicPartition;
use cdc_syncer::Partition;

/// A partition that is ours until somebody else takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedPartition {
    pub(crate) assignment: Epoch,
    pub(crate) name: TopicPartition,
    pub(crate) epoch: i64,
    pub(crate) owner: String,
    /// The lowest `next_offset` that the row may show; `None` before the first. Lower means that the database
    /// is a copy of an earlier one.
    pub(crate) floor: Option<i64>,
    /// When the server's process began on which it was taken. Another one may have come up from a copy that lacks the
    /// last commits, a standby that was behind or a point in time, and nothing in the row would show it.
    pub(crate) server: SystemTime,
}

/// Rows of the ledger, as arrays for its statements, sorted by topic and partition.
#[derive(Debug, Default)]
pub(crate) struct OwnedPartitions {
    pub(crate) partitions: Vec<Partition>,
    pub(crate) topics: Vec<String>,
    pub(crate) numbers: Vec<i32>,
    pub(crate) epochs: Vec<i64>,
    pub(crate) owners: Vec<String>,
    pub(crate) servers: Vec<SystemTime>,
    /// As they were when this was put together: what is recorded meanwhile is no reason to doubt the row.
    floors: Vec<Option<i64>>,
}

impl OwnedPartitions {
    pub(crate) fn push(&mut self, partition: Partition, row: &OwnedPartition) {
        self.partitions.push(partition);
        self.topics.push(row.name.topic.to_string());
        self.numbers.push(row.name.partition);
        self.epochs.push(row.epoch);
        self.owners.push(row.owner.clone());
        self.servers.push(row.server);
        self.floors.push(row.floor);
    }

    /// The partitions among these that the answer does not name, or names with a lower offset than we left.
    pub(crate) fn missing_from(&self, answer: &[tokio_postgres::Row]) -> Vec<Partition> {
        self.without(answer, |row, floor| row.get::<_, Option<i64>>(2) >= floor)
    }

    /// Topic and number of one of these.
    pub(crate) fn name(&self, partition: Partition) -> Option<(&str, i32)> {
        let at = self.partitions.iter().position(|owned| *owned == partition)?;
        Some((self.topics.get(at)?, *self.numbers.get(at)?))
    }

    /// The one of these with that name.
    pub(crate) fn named(&self, topic: &str, number: i32) -> Option<Partition> {
        let at =
            self.topics.iter().zip(&self.numbers).position(|(owned, of)| owned == topic && *of == number)?;
        self.partitions.get(at).copied()
    }

    /// The partitions among these that the answer does not name.
    pub(crate) fn unnamed_in(&self, answer: &[tokio_postgres::Row]) -> Vec<Partition> {
        self.without(answer, |_, _| true)
    }

    fn without(
        &self,
        answer: &[tokio_postgres::Row],
        is_sound: impl Fn(&tokio_postgres::Row, Option<i64>) -> bool,
    ) -> Vec<Partition> {
        let is_named = |index: usize| {
            let (topic, number) = (self.topics.get(index)?, self.numbers.get(index)?);
            let row = answer
                .iter()
                .find(|row| row.get::<_, &str>(0) == topic && row.get::<_, i32>(1) == *number)?;
            Some(is_sound(row, self.floors.get(index).copied().flatten()))
        };
        let indexed = self.partitions.iter().enumerate();
        indexed.filter(|(index, _)| is_named(*index) != Some(true)).map(|(_, partition)| *partition).collect()
    }
}
