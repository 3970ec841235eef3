//! A batch that was answered, for whoever counts, logs or traces it.

use std::time::Duration;

use cdc_ports::{KafkaRecord, WriteCounts};
use cdc_syncer::Batch;
use cdc_traces::BatchTimes;

/// A batch that was answered.
#[derive(Debug)]
pub(super) struct WrittenBatch {
    pub(super) batch: Batch<KafkaRecord>,
    pub(super) times: BatchTimes,
    pub(super) took: Duration,
    /// Where one of its events is sampled.
    pub(super) tables: Vec<String>,
    pub(super) counts: WriteCounts,
}
