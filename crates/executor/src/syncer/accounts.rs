//! What is counted and logged of batches, of records that are put aside, and of the ledger.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdc_syncer::{OffsetGap, Reject, Row, WorkerId, WriteOutcome};

use super::{Hands, SERVICE};
use crate::StackTrace;
use crate::ports::{Database, KafkaRecord, RecordConsumer, WriteReply};

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// Counts and logs a batch: for each one, how many rows were inserted and how many updated.
    pub(super) fn wrote(
        &mut self,
        worker: WorkerId,
        rows: usize,
        oldest_ms: Option<i64>,
        took: Duration,
        reply: &WriteReply,
    ) {
        self.end_writing();
        if let WriteOutcome::Refused { partitions } = &reply.outcome {
            self.refused("write", partitions.len());
        }
        if !matches!(reply.outcome, WriteOutcome::Written { .. }) {
            return;
        }
        let counts = &reply.counts;
        self.metrics.wrote(counts);
        self.metrics.batch_size.record(rows as f64);
        self.metrics.flush_seconds.record(took);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(oldest) = oldest_ms.and_then(|ms| u64::try_from(ms).ok()) {
            self.metrics.end_to_end.record(now.saturating_sub(Duration::from_millis(oldest)));
        }
        if counts.newest_unix_seconds > 0 {
            let lag = now.as_secs_f64() - f64::from(counts.newest_unix_seconds);
            self.metrics.common.lag.set(lag.max(0.0));
        }
        tracing::info!(
            service = SERVICE,
            operation = "batch_write",
            worker = worker.0,
            messages = rows,
            inserted = counts.inserted,
            updated = counts.updated,
            deleted = counts.deleted,
            fenced = counts.fenced,
            absent = counts.absent,
            parked = counts.parked,
            superseded = counts.superseded,
            null_lookups = counts.null_lookups,
            ignored = counts.ignored,
            merged = counts.merged,
            copied_statements = counts.copied_statements,
            prepared_statements = counts.prepared_statements,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "batch written"
        );
    }

    pub(super) fn put_aside(
        &self,
        row: &Row<KafkaRecord>,
        reason: Reject,
        detail: &str,
        action: &'static str,
    ) {
        self.metrics.rejected(reason);
        let name = self.consumer.name(row.partition);
        tracing::warn!(
            service = SERVICE,
            operation = "bad_record",
            action,
            topic = %name.topic,
            partition = name.partition,
            offset = row.offset,
            reason = reason.as_str(),
            detail,
            "record not written"
        );
    }

    /// The ledger no longer counts partitions as ours: nothing of theirs was written or recorded.
    pub(super) fn refused(&self, what: &'static str, partitions: usize) {
        self.metrics.refused(what);
        tracing::warn!(
            service = SERVICE,
            operation = "ledger_refused",
            what,
            partitions,
            "the ledger refused partitions: another member has taken them, or the database was restored from a \
             copy; where they are still assigned they are acquired again and read from where the ledger stands"
        );
    }

    /// A gap is on record, and reading goes on behind it.
    pub(super) fn moved_behind(&self, gap: &OffsetGap) {
        let name = self.consumer.name(gap.partition);
        let Some(loss) = gap.loss else {
            tracing::warn!(
                service = SERVICE,
                operation = "offset_reset",
                topic = %name.topic,
                partition = name.partition,
                from = gap.from,
                to = gap.to,
                "the topic was made anew after all of it had been written; reading goes on at the new one's start"
            );
            return;
        };
        self.metrics.offset_gap(loss);
        tracing::error!(
            service = SERVICE,
            operation = "offset_reset",
            error_type = "non_retryable",
            error = "the log no longer holds the offset to go on from",
            stack_trace = %StackTrace::capture(),
            topic = %name.topic,
            partition = name.partition,
            from = gap.from,
            to = gap.to,
            loss = loss.as_str(),
            next = "the gap stands in cdc.gaps; what was lost in it has to be copied from the source again",
            "reading goes on behind a gap"
        );
    }
}
