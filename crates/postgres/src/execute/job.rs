//! What a plan comes from, and in which ledger its partitions are.

use cdc_ports::{KafkaRecord, Share};
use cdc_syncer::{Parking, Row};

use crate::ledger::Ledger;
use crate::ledger::owned::OwnedPartitions;

/// A batch, as far as its writing has to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) batch: &'a [Row<KafkaRecord>],
    pub(crate) ledger: &'a Ledger,
    pub(crate) owned: &'a OwnedPartitions,
    pub(crate) share: Share,
    pub(crate) parking: Parking,
}
