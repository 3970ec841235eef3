//! Sampled events of a batch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdc_ports::{KafkaRecord, RecordTrace};
use cdc_syncer::Row;

use crate::stages::StageSeconds;

/// When a batch was where.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchTimes {
    /// A worker got it.
    pub(super) handed: SystemTime,
    /// Its transaction began; `None` where there was nothing to write.
    pub(super) begun: Option<SystemTime>,
    /// Its commit was verified.
    pub(super) committed: SystemTime,
}

/// Tells of each sampled event where its time went. Of most rows it looks at one pointer.
pub(super) fn tell_stages(rows: &[Row<KafkaRecord>], times: &BatchTimes, stages: &StageSeconds<4>) {
    let Some(begun) = times.begun else { return };
    for row in rows {
        let KafkaRecord { trace: Some(trace), timestamp_ms, .. } = &row.handle else { continue };
        let RecordTrace { fetched, .. } = **trace;
        // A record without a time stamp was sent when it came.
        let sent = u64::try_from(*timestamp_ms).ok().filter(|ms| *ms > 0);
        let sent = sent.map_or(fetched, |ms| UNIX_EPOCH + Duration::from_millis(ms));
        stages.passed(sent, [fetched, times.handed, begun, times.committed]);
    }
}
