//! The metrics: the seed's names and types exactly, and the pipeline's own beside them. Each handle is made
//! once, so that a series stands at 0 from the start and the per-event path only adds.

mod described;

use std::time::Duration;

use cdc_machine::{Fault, StateName};
use cdc_ports::{CONTROL_KINDS, RetryCounts, Serves, WriteCounts};
use cdc_syncer::{HoldReason, OffsetLoss, Reject};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

pub use described::*;

/// What `cdc_ledger_refused_total` is labelled with.
const LEDGER_REQUESTS: [&str; 3] = ["write", "commit", "check"];

/// What `cdc_parked_total` is labelled with: put into `cdc.parked`; replaced there by a newer write; written to
/// its table after all; its older version taken out of the table, so that others find its value free.
const PARKED_EVENTS: [&str; 4] = ["parked", "superseded", "unparked", "opened"];

/// Shows the saved position's age while the Watcher waits for its source.
pub fn show_token_age(age: Duration) {
    gauge!(WATCHER_TOKEN_AGE).set(age.as_secs_f64());
}

/// Errors by type.
struct Errors([Counter; Fault::ALL.len()]);

impl Errors {
    fn new(name: &'static str) -> Self {
        Self(Fault::ALL.map(|fault| counter!(name, "error_type" => fault.as_str())))
    }

    fn failed(&self, fault: Fault) {
        self.0[fault as usize].increment(1);
    }
}

/// What both services count.
pub(crate) struct Common {
    states: [Gauge; 6],
    transitions: [[Counter; 6]; 6],
    errors: Errors,
    pub(crate) lag: Lag,
}

/// A gauge that does not exist until its value is known.
pub(crate) struct Lag {
    service: &'static str,
    gauge: Option<Gauge>,
}

impl Lag {
    /// Nothing is behind any more, where anything was ever known to be.
    pub(crate) fn end(&self) {
        if let Some(gauge) = &self.gauge {
            gauge.set(0.0);
        }
    }

    pub(crate) fn set(&mut self, seconds: f64) {
        let service = self.service;
        self.gauge.get_or_insert_with(|| gauge!(LAG_SECONDS, "service" => service)).set(seconds);
    }
}

impl Common {
    fn new(service: &'static str, errors: &'static str) -> Self {
        let common = Self {
            states: StateName::ALL
                .map(|state| gauge!(STATE, "service" => service, "state" => state.as_str())),
            transitions: StateName::ALL.map(|from| {
                StateName::ALL.map(|to| {
                    counter!(TRANSITIONS, "service" => service, "from" => from.as_str(), "to" => to.as_str())
                })
            }),
            errors: Errors::new(errors),
            lag: Lag { service, gauge: None },
        };
        common.states[0].set(1.0);
        common
    }

    pub(crate) fn moved(&self, from: StateName, to: StateName) {
        if from != to {
            self.transitions[from as usize][to as usize].increment(1);
            self.states[from as usize].set(0.0);
            self.states[to as usize].set(1.0);
        }
    }

    pub(crate) fn failed(&self, fault: Fault) {
        self.errors.failed(fault);
    }
}

/// The Watcher's metrics.
pub(crate) struct WatcherMetrics {
    pub(crate) common: Common,
    pub(crate) processed: Counter,
    pub(crate) published: Counter,
    pub(crate) publish_seconds: Histogram,
    pub(crate) save_seconds: Histogram,
    pub(crate) token_age: Gauge,
    oplog_window: Option<Gauge>,
    pub(crate) unsaved: Gauge,
    pub(crate) gaps_open: Gauge,
    pub(crate) too_large: Counter,
    pub(crate) unused_partitions: Gauge,
    pub(crate) images_missing: Counter,
    watched: [Gauge; Serves::ALL.len()],
    pub(crate) stale: Counter,
}

impl WatcherMetrics {
    pub(crate) fn new() -> Self {
        Self {
            common: Common::new("watcher", WATCHER_ERRORS),
            processed: counter!(WATCHER_EVENTS_PROCESSED),
            published: counter!(WATCHER_EVENTS_PUBLISHED),
            publish_seconds: histogram!(WATCHER_PUBLISH_SECONDS),
            save_seconds: histogram!(WATCHER_SAVE_SECONDS),
            token_age: gauge!(WATCHER_TOKEN_AGE),
            oplog_window: None,
            unsaved: gauge!(WATCHER_REPLAY_WINDOW),
            gaps_open: gauge!(GAPS_OPEN, "service" => "watcher"),
            unused_partitions: gauge!(UNUSED_PARTITIONS),
            too_large: counter!(DEAD_LETTERS, "reason" => Reject::TooLarge.as_str()),
            images_missing: counter!(WATCHER_IMAGES_MISSING),
            watched: Serves::ALL.map(|serves| gauge!(WATCHED_NAMES, "serves" => serves.as_str())),
            stale: counter!(STALE_INPUTS, "service" => "watcher"),
        }
    }

    /// The source's history reaches back this far. Until then there is no such series.
    pub(crate) fn oplog_window(&mut self, window: Duration) {
        self.oplog_window.get_or_insert_with(|| gauge!(OPLOG_WINDOW)).set(window.as_secs_f64());
    }

    /// So many watched names have this under them.
    pub(crate) fn watched(&self, serves: Serves, names: usize) {
        self.watched[serves as usize].set(names as f64);
    }

    /// Counts an event that carries nothing to deliver.
    pub(crate) fn skipped(&self, kind: &'static str) {
        counter!(WATCHER_EVENTS_SKIPPED, "kind" => kind).increment(1);
    }
}

/// The Syncer's metrics.
pub(crate) struct SyncerMetrics {
    pub(crate) common: Common,
    pub(crate) consumed: Counter,
    pub(crate) written: Counter,
    pub(crate) batch_size: Histogram,
    pub(crate) flush_seconds: Histogram,
    pub(crate) end_to_end: Histogram,
    pub(crate) buffer: Gauge,
    pub(crate) buffer_full: Gauge,
    pub(crate) workers: Gauge,
    pub(crate) fenced: Counter,
    pub(crate) fenced_by_lineage: Counter,
    pub(crate) stale: Counter,
    pub(crate) parked_rows: Gauge,
    pub(crate) gaps_open: Gauge,
    pub(crate) unfenced_tables: Gauge,
    parked: [Counter; PARKED_EVENTS.len()],
    rows: [Counter; WriteCounts::OUTCOMES.len()],
    controls: [Counter; CONTROL_KINDS.len()],
    dead: [Counter; Reject::ALL.len()],
    ledger_refused: [Counter; LEDGER_REQUESTS.len()],
    offset_gaps: [Counter; OffsetLoss::ALL.len()],
}

impl SyncerMetrics {
    pub(crate) fn new() -> Self {
        Self {
            common: Common::new("syncer", SYNCER_ERRORS),
            consumed: counter!(SYNCER_CONSUMED),
            written: counter!(SYNCER_WRITTEN),
            batch_size: histogram!(SYNCER_BATCH_SIZE),
            flush_seconds: histogram!(SYNCER_FLUSH_SECONDS),
            end_to_end: histogram!(END_TO_END_SECONDS),
            buffer: gauge!(SYNCER_BUFFER),
            buffer_full: gauge!(SYNCER_BUFFER_FULL),
            workers: gauge!(SYNCER_WORKERS),
            fenced: counter!(FENCE_REJECTED),
            fenced_by_lineage: counter!(FENCE_OUTRANKED),
            stale: counter!(STALE_INPUTS, "service" => "syncer"),
            parked_rows: gauge!(PARKED_ROWS),
            gaps_open: gauge!(GAPS_OPEN, "service" => "syncer"),
            unfenced_tables: gauge!(UNFENCED_TABLES),
            parked: PARKED_EVENTS.map(|event| counter!(PARKED, "event" => event)),
            controls: CONTROL_KINDS.map(|kind| counter!(CONTROL_MESSAGES, "kind" => kind.name())),
            rows: WriteCounts::OUTCOMES.map(|outcome| counter!(ROWS, "outcome" => outcome)),
            dead: Reject::ALL.map(|reason| counter!(DEAD_LETTERS, "reason" => reason.as_str())),
            ledger_refused: LEDGER_REQUESTS.map(|what| counter!(LEDGER_REFUSED, "request" => what)),
            offset_gaps: OffsetLoss::ALL.map(|loss| counter!(OFFSET_GAPS, "loss" => loss.as_str())),
        }
    }

    pub(crate) fn wrote(&self, counts: &WriteCounts) {
        self.written.increment(counts.inserted + counts.updated + counts.deleted);
        self.fenced.increment(counts.fenced);
        self.fenced_by_lineage.increment(counts.fenced_by_lineage);
        for (counter, messages) in self.controls.iter().zip(counts.controls) {
            counter.increment(messages);
        }
        for (counter, rows) in self.rows.iter().zip(counts.by_outcome()) {
            counter.increment(rows);
        }
        self.parked[0].increment(counts.parked);
        self.parked[1].increment(counts.superseded);
    }

    pub(crate) fn retried(&self, counts: &RetryCounts) {
        self.written.increment(counts.resolved);
        self.parked[2].increment(counts.resolved);
        self.parked[3].increment(counts.evicted);
    }

    /// A topic begins or ceases to be held.
    pub(crate) fn topic_held(&self, topic: &str, reason: HoldReason, is_held: bool) {
        let value = if is_held { 1.0 } else { 0.0 };
        gauge!(TOPICS_HELD, "topic" => topic.to_owned(), "reason" => reason.as_str()).set(value);
    }

    pub(crate) fn refused(&self, request: &'static str) {
        for (counter, name) in self.ledger_refused.iter().zip(LEDGER_REQUESTS) {
            if name == request {
                counter.increment(1);
            }
        }
    }

    pub(crate) fn offset_gap(&self, loss: OffsetLoss) {
        self.offset_gaps[loss as usize].increment(1);
    }

    pub(crate) fn rejected(&self, reason: Reject) {
        self.dead[reason as usize].increment(1);
    }
}
