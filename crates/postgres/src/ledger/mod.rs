//! Who owns a partition, and how far it is written.
//!
//! Taking a partition locks its row `FOR UPDATE`, which waits for every batch that has locked it, and raises its
//! epoch, which refuses every later one. A batch locks its partitions' rows `FOR KEY SHARE`: batches do not
//! wait for each other, nor for the recording of offsets, which leaves the key alone.
//!
//! A partition is ours on the server on which it was taken, and only as long as that one's process runs: another one
//! may lack what was committed last. There it is taken anew, and read from where that ledger stands.

mod acquire;
pub(crate) mod gaps;
pub(crate) mod lock;
pub(crate) mod members;
mod offsets;
pub(crate) mod owned;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cdc_machine::Epoch;
use cdc_ports::KafkaRecord;
use cdc_syncer::{Partition, Row};

use self::owned::{OwnedPartition, OwnedPartitions};

/// The ledger of one consumer group, and what of it is ours.
#[derive(Debug)]
pub(crate) struct Ledger {
    consumer_group: String,
    owned: Mutex<HashMap<Partition, OwnedPartition>>,
}

impl Ledger {
    pub(crate) fn new(consumer_group: String) -> Self {
        Self { consumer_group, owned: Mutex::new(HashMap::new()) }
    }

    pub(crate) fn consumer_group(&self) -> &str {
        &self.consumer_group
    }

    /// The ledger's rows of a batch; or the partitions that were never, or are no longer, ours.
    pub(crate) fn owned_by(&self, rows: &[Row<KafkaRecord>]) -> Result<OwnedPartitions, Vec<Partition>> {
        let mut distinct: Vec<(Partition, Epoch)> = Vec::new();
        for row in rows {
            // A batch has a handful of partitions, and neighbours mostly share one.
            if !distinct.iter().rev().any(|known| *known == (row.partition, row.epoch)) {
                distinct.push((row.partition, row.epoch));
            }
        }
        self.owned(&distinct)
    }

    /// Those of the partitions that are ours under these assignments; or those that are not.
    pub(crate) fn owned(&self, wanted: &[(Partition, Epoch)]) -> Result<OwnedPartitions, Vec<Partition>> {
        let (owned, refused) = self.known(wanted);
        if refused.is_empty() { Ok(owned) } else { Err(refused) }
    }

    /// Those that are ours under these assignments, and those that are not.
    fn known(&self, wanted: &[(Partition, Epoch)]) -> (OwnedPartitions, Vec<Partition>) {
        let (owned, _, refused) =
            self.split(wanted.iter().map(|(partition, epoch)| (*partition, *epoch, ())));
        (owned, refused)
    }

    /// Those that are ours under these assignments, what came with each of them in the same order, and those that are not.
    fn split<T>(
        &self,
        wanted: impl Iterator<Item = (Partition, Epoch, T)>,
    ) -> (OwnedPartitions, Vec<T>, Vec<Partition>) {
        let ours = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<(Partition, &OwnedPartition, T)> = Vec::with_capacity(wanted.size_hint().0);
        let mut refused = Vec::new();
        for (partition, assignment, it) in wanted {
            match ours.get(&partition) {
                Some(row) if row.assignment == assignment => found.push((partition, row, it)),
                _ => refused.push(partition),
            }
        }
        found.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));
        let mut owned = OwnedPartitions::default();
        let mut with = Vec::with_capacity(found.len());
        for (partition, row, it) in found {
            owned.push(partition, row);
            with.push(it);
        }
        (owned, with, refused)
    }

    /// The partitions of a topic that are ours, each with its assignment.
    pub(crate) fn assigned(&self, topic: &str) -> Vec<(Partition, Epoch)> {
        let ours = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let of_topic = ours.iter().filter(|(_, row)| &*row.name.topic == topic);
        let mut found: Vec<_> = of_topic.map(|(partition, row)| (*partition, row.assignment)).collect();
        found.sort_unstable();
        found
    }

    /// The topics that these partitions belong to, each once.
    pub(crate) fn topics_of(&self, partitions: &[(Partition, Epoch)]) -> Vec<Arc<str>> {
        let ours = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        let names = partitions.iter().filter_map(|(partition, _)| ours.get(partition));
        let mut topics: Vec<Arc<str>> = names.map(|row| Arc::clone(&row.name.topic)).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }
}
