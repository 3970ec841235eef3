use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, counter, describe_counter};

/// Spans by what became of them.
pub(super) const TRACE_SPANS: &str = "cdc_trace_spans_total";

/// What becomes of spans: counted, and those that are lost remembered until they are told of.
#[derive(Clone, Debug)]
pub(super) struct Losses {
    untold: Arc<AtomicU64>,
    sent: Counter,
    rejected: Counter,
    no_place: Counter,
    unsent: Counter,
}

impl Losses {
    pub(super) fn new(service: &'static str) -> Self {
        describe_counter!(
            TRACE_SPANS,
            "Finished spans by what became of them: sent; rejected by the collector; lost because the queue was full, or \
             because the collector did not take them"
        );
        let outcome = |outcome| counter!(TRACE_SPANS, "service" => service, "outcome" => outcome);
        Self {
            untold: Arc::default(),
            sent: outcome("sent"),
            rejected: outcome("rejected"),
            no_place: outcome("queue_full"),
            unsent: outcome("unsent"),
        }
    }

    /// The collector took these.
    pub(super) fn sent(&self, spans: u64) {
        self.sent.increment(spans);
    }

    /// The collector took the request but not these.
    pub(super) fn rejected(&self, spans: u64) {
        self.lose(&self.rejected, spans);
    }

    /// These found the queue full.
    pub(super) fn no_place(&self, spans: u64) {
        self.lose(&self.no_place, spans);
    }

    /// The collector did not take these.
    pub(super) fn unsent(&self, spans: u64) {
        self.lose(&self.unsent, spans);
    }

    /// Those that were lost since this was asked last.
    pub(super) fn take_untold(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    fn lose(&self, counter: &Counter, spans: u64) {
        counter.increment(spans);
        self.untold.fetch_add(spans, Ordering::Relaxed);
    }
}
