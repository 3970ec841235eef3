//! What is told of parked rows.

use std::time::Duration;

use cdc_machine::Fault;
use cdc_syncer::{OnUniqueViolation, WorkerId};

use super::{Driver, Hands, SERVICE};
use cdc_ports::{Database, Failure, RecordConsumer, RetryCounts};

impl<C: RecordConsumer, D: Database> Driver<C, D> {
    /// A blocked batch that is written again with leave to park is counted like any failure, but is none. One that
    /// holds a bad row is halved until the row stands alone, and then the record is what is told of and counted.
    pub(super) fn log_write(&mut self, failure: &Failure, worker: WorkerId, rows: usize) {
        let parks = self.config.on_unique_violation == OnUniqueViolation::Park;
        match failure.fault {
            Fault::Blocked if parks => {
                self.hands.metrics.common.failed(failure.fault);
                tracing::debug!(
                    service = SERVICE,
                    operation = failure.operation,
                    worker = worker.0,
                    error = failure.message,
                    "batch blocked by other rows; it is written again, and the rows in question are parked"
                );
            }
            Fault::Blocked | Fault::Poison | Fault::TooLarge => {
                self.hands.last_failure = Some(failure.to_string());
                tracing::debug!(
                    service = SERVICE,
                    operation = failure.operation,
                    worker = worker.0,
                    rows,
                    error = failure.message,
                    "the batch holds a row that cannot be written; it is halved until the row stands alone"
                );
            }
            Fault::Transient
            | Fault::Unreachable
            | Fault::RetryNow
            | Fault::Auth
            | Fault::HistoryLost
            | Fault::Fenced
            | Fault::Unfit
            | Fault::Bug
            | Fault::Fatal => {
                self.log(failure, self.machine.write_attempt(worker, failure.fault, &self.config));
            }
        }
    }
}

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// Counts and logs a retry of parked rows.
    pub(super) fn retried(&mut self, worker: WorkerId, took: Duration, counts: &RetryCounts) {
        self.metrics.retried(counts);
        self.sums.retried(counts);
        tracing::debug!(
            service = SERVICE,
            operation = "parked_retry",
            worker = worker.0,
            tried = counts.tried,
            resolved = counts.resolved,
            opened = counts.evicted,
            blocked = counts.blocked,
            why = counts.why,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "parked rows tried again"
        );
    }
}
