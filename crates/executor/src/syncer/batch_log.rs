//! What is counted and logged of batches, of records that are put aside, and of the ledger.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use cdc_syncer::{Batch, OffsetGap, Reject, Row, WorkerId};

use super::sampled;
use super::sums::{BatchLog, counted_fields, in_words, with_counts};
use super::written_batch::WrittenBatch;
use super::{Hands, SERVICE};
use crate::given_up::GivenUp;
use cdc_ports::{Database, KafkaRecord, RecordConsumer, StackTrace, TopicRows, WriteCounts};

/// What is said of a record in the dead letters.
pub(super) const DEAD_LETTERED: &str = "a record cannot be written; it is in the dead letters";
/// What is said of one that is given up by policy.
pub(super) const SKIPPED: &str = "a record cannot be written; it is skipped, as the policy says";

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// Counts a batch, and has it in the log: for each one, how many rows were inserted and how many updated, or in
    /// sums.
    pub(super) fn wrote(&mut self, worker: WorkerId, written: &WrittenBatch) {
        let WrittenBatch { batch, times, took, counts, .. } = written;
        let messages = batch.rows().len();
        self.metrics.wrote(counts);
        self.metrics.batch_size.record(messages as f64);
        self.metrics.flush_seconds.record(*took);
        if let Some(oldest) = counts.oldest_unix_ms.and_then(|ms| u64::try_from(ms).ok()) {
            let oldest = UNIX_EPOCH + Duration::from_millis(oldest);
            self.metrics.end_to_end.record(times.ended.duration_since(oldest).unwrap_or_default());
        }
        sampled::tell_stages(written, &self.stages);
        let topics = self.topics_of(batch, counts);
        self.lags.rows(&topics);
        macro_rules! tell {
            ($level:ident) => {
                with_counts!(tracing::$level!(
                    ..counts,
                    service = SERVICE,
                    operation = "batch_write",
                    topics = in_words(&topics.iter().cloned().collect()),
                    worker = worker.0,
                    messages,
                    copied_statements = counts.copied_statements,
                    prepared_statements = counts.prepared_statements,
                    took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    "batch written"
                ))
            };
        }
        match self.batches {
            BatchLog::Each => tell!(info),
            BatchLog::Sums => {
                tell!(debug);
                self.sums.wrote(messages, counts, &topics);
            }
        }
    }

    /// What a batch did, topic by topic. Where that is not known, it is the batch's only topic's, or nobody's in
    /// particular.
    fn topics_of(&self, batch: &Batch<KafkaRecord>, counts: &WriteCounts) -> Vec<(Arc<str>, TopicRows)> {
        let topic_of = |partition| self.consumer.name(partition).topic;
        if !counts.by_topic.is_empty() {
            return counts.by_topic.iter().map(|rows| (topic_of(rows.partition), *rows)).collect();
        }
        let Some(first) = batch.rows().first().map(|row| row.partition) else { return Vec::new() };
        let topic = topic_of(first);
        let mut others = batch.rows().iter().map(|row| row.partition).filter(|it| *it != first);
        let is_only = others.all(|partition| topic_of(partition) == topic);
        let name = if is_only { topic } else { Arc::from("several topics") };
        vec![(name, counts.so_far(first))]
    }

    /// Counts and logs a record that is given up: it is in the dead letters, or skipped by policy.
    pub(super) fn gave_up(&self, given_up: &GivenUp, action: &'static str, outcome: &'static str) {
        self.metrics.rejected(given_up.reason());
        self.metrics.common.failed(given_up.fault());
        given_up.tell(SERVICE, action, outcome);
    }

    /// The same of the record that the service ends at.
    pub(super) fn ended_at(&mut self, row: &Row<KafkaRecord>, reason: Reject, detail: &str) {
        let given_up = GivenUp::new(self.consumer.name(row.partition), row, reason, detail);
        self.last_failure = Some(given_up.to_string());
        self.metrics.common.failed(given_up.fault());
        given_up.tell(SERVICE, "stop", "a record cannot be written, and the policy says to stop at it");
    }

    /// The ledger no longer counts partitions as ours: nothing of theirs was written or recorded.
    pub(super) fn refused(&self, what: &'static str, partitions: usize) {
        if partitions == 0 {
            return;
        }
        self.metrics.refused(what);
        tracing::warn!(
            service = SERVICE,
            operation = "ledger_refused",
            what,
            partitions,
            "the ledger refused partitions: another member has taken them, or the database is not the server that \
             they were taken on (restarted, failed over, or restored from a copy); where they are still assigned they \
             are acquired again and read from where the ledger stands"
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
