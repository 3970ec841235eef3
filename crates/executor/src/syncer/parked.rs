//! What is told of parked rows.

use std::time::Duration;

use cdc_machine::Fault;
use cdc_syncer::{OnUniqueViolation, RetryOutcome, WorkerId};

use super::{Driver, Hands, SERVICE};
use crate::ports::{Database, Failure, RecordConsumer, RetryReply};

impl<C: RecordConsumer, D: Database> Driver<C, D> {
    /// A blocked batch that is written again with leave to park is counted like any failure, but is none.
    pub(super) fn log_write(&mut self, failure: &Failure, worker: WorkerId) {
        let parks = self.config.on_unique_violation == OnUniqueViolation::Park;
        if failure.fault == Fault::Blocked && parks {
            self.hands.metrics.common.failed(failure.fault);
            tracing::info!(
                service = SERVICE,
                operation = failure.operation,
                worker = worker.0,
                error = failure.message,
                "batch blocked by other rows; it is written again, and the rows in question are parked"
            );
            return;
        }
        self.log(failure, self.machine.write_attempt(worker, failure.fault, &self.config));
    }
}

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// Counts and logs a retry of parked rows.
    pub(super) fn retried(&mut self, worker: WorkerId, took: Duration, reply: &RetryReply) {
        self.end_writing();
        if !matches!(reply.outcome, RetryOutcome::Done { .. }) {
            return;
        }
        let counts = &reply.counts;
        self.metrics.retried(counts);
        tracing::info!(
            service = SERVICE,
            operation = "parked_retry",
            worker = worker.0,
            tried = counts.tried,
            resolved = counts.resolved,
            opened = counts.opened,
            blocked = counts.blocked,
            why = counts.why,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "parked rows tried again"
        );
    }
}
