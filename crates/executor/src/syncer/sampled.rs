//! Sampled events of a batch: their stages and their spans.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdc_ports::{Database, KafkaRecord, RecordConsumer, RecordTrace, WriteCounts};
use cdc_syncer::{Row, WorkerId, WriteOutcome};
use cdc_traces::{WrittenBatch as BatchSpan, WrittenEvent};

use super::Hands;
use super::written_batch::WrittenBatch;
use crate::stages::StageSeconds;

/// Tells of each sampled event where its time went. Of most rows it looks at one pointer.
pub(super) fn tell_stages(written: &WrittenBatch, stages: &StageSeconds<4>) {
    let Some(begun) = written.times.begun else { return };
    for (_, row, trace) in sampled(written.batch.rows()) {
        stages.passed(sent(row, trace), [trace.fetched, written.times.handed, begun, written.times.ended]);
    }
}

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// Makes the spans of a batch that was answered, where one of its events is sampled.
    pub(super) fn trace_batch(&self, worker: WorkerId, outcome: &WriteOutcome, written: &WrittenBatch) {
        let rows = written.batch.rows();
        if !self.traces.are_on() {
            return;
        }
        let names: Vec<_> = sampled(rows).map(|(_, row, _)| self.consumer.name(row.partition)).collect();
        let Some(first) = names.first() else { return };
        let is_one_topic = names.iter().all(|name| name.topic == first.topic);
        let failure = match outcome {
            WriteOutcome::Written { .. } => None,
            WriteOutcome::Refused { .. } => Some(("refused", None)),
            WriteOutcome::Held { .. } => Some(("held", None)),
            WriteOutcome::Failed { fault, sqlstate, .. } => {
                Some((fault.as_str(), sqlstate.as_ref().map(cdc_syncer::SqlState::as_str)))
            }
        };
        let batch = BatchSpan {
            topic: is_one_topic.then_some(&*first.topic),
            tables: &written.tables,
            records: rows.len(),
            worker: worker.0,
            times: written.times,
            failure,
        };
        let events = sampled(rows).zip(&names).map(|((index, row, trace), name)| WrittenEvent {
            context: trace.context,
            topic: &name.topic,
            partition: name.partition,
            offset: row.offset,
            sent: sent(row, trace),
            fetched: trace.fetched,
            outcome: fate(index, outcome, &written.counts),
            is_replayed: trace.is_replayed,
        });
        self.traces.wrote(&batch, events);
    }
}

fn sampled(rows: &[Row<KafkaRecord>]) -> impl Iterator<Item = (usize, &Row<KafkaRecord>, &RecordTrace)> {
    let all = rows.iter().enumerate();
    all.filter_map(|(index, row)| Some((index, row, row.handle.trace.as_deref()?)))
}

/// When the record was sent: by its time stamp, or, without one, when it came.
fn sent(row: &Row<KafkaRecord>, trace: &RecordTrace) -> SystemTime {
    let ms = u64::try_from(row.handle.timestamp_ms).ok().filter(|ms| *ms > 0);
    ms.map_or(trace.fetched, |ms| UNIX_EPOCH + Duration::from_millis(ms))
}

/// What became of one record. PostgreSQL tells how many rows the fence kept off, and not which.
fn fate(index: usize, outcome: &WriteOutcome, counts: &WriteCounts) -> &'static str {
    if let WriteOutcome::Written { rejected, .. } = outcome
        && rejected.iter().any(|it| it.index == index)
    {
        return "rejected";
    }
    if let Some((_, fate)) = counts.sampled.iter().find(|(it, _)| *it == index) {
        return fate.as_str();
    }
    match (counts.fenced, counts.inserted + counts.updated + counts.deleted + counts.absent) {
        (0, _) => "written",
        (_, 0) => "fenced",
        (_, _) => "written_or_fenced",
    }
}

#[cfg(test)]
mod tests {
    use cdc_ports::Fate;
    use cdc_syncer::{Reject, Rejected};

    use super::*;

    #[test]
    fn a_record_s_fate_is_told_as_far_as_it_is_known() {
        let bad = Rejected { index: 2, reason: Reject::OutOfRange, sqlstate: None, detail: "".into() };
        let outcome = WriteOutcome::Written { rejected: vec![bad], parked: Vec::new() };
        let counts = |inserted, fenced| {
            let sampled = vec![(1, Fate::Merged)];
            WriteCounts { inserted, fenced, sampled, ..WriteCounts::default() }
        };
        for (counts, expected) in
            [(counts(5, 0), "written"), (counts(0, 5), "fenced"), (counts(2, 3), "written_or_fenced")]
        {
            assert_eq!(
                [0, 1, 2].map(|index| fate(index, &outcome, &counts)),
                [expected, "merged", "rejected"]
            );
        }
    }
}
