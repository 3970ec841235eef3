//! What a plan comes from, and in which ledger its partitions are.

use cdc_ports::{KafkaRecord, Share};
use cdc_syncer::{Parking, Partition, Row};

use crate::ledger::Ledger;
use crate::ledger::owned::OwnedPartitions;
use crate::plan::TablePlan;

/// A batch, as far as its writing has to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) batch: &'a [Row<KafkaRecord>],
    pub(crate) ledger: &'a Ledger,
    pub(crate) owned: &'a OwnedPartitions,
    pub(crate) share: Share,
    pub(crate) parking: Parking,
}

impl Job<'_> {
    /// The partition of the table's first record, whose rows the table's are.
    pub(crate) fn partition_of(&self, table: &TablePlan) -> Option<Partition> {
        self.batch.get(table.record).map(|row| row.partition)
    }
}
