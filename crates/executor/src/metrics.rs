//! The metrics: the seed's names and types exactly, and the pipeline's own beside them. Each handle is made
//! once, so that a series stands at 0 from the start and the per-event path only adds.

use std::time::Duration;

use cdc_machine::{Fault, StateName};
use cdc_syncer::{HoldReason, OffsetLoss, Reject};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use cdc_ports::{CONTROL_KINDS, RetryCounts, Serves, WriteCounts};

/// Change events processed.
pub const WATCHER_EVENTS_PROCESSED: &str = "watcher_events_processed_total";
/// Events acknowledged by Kafka.
pub const WATCHER_EVENTS_PUBLISHED: &str = "watcher_events_published_total";
/// Kafka publish latency.
pub const WATCHER_PUBLISH_SECONDS: &str = "watcher_kafka_publish_duration_seconds";
/// Token save latency.
pub const WATCHER_SAVE_SECONDS: &str = "watcher_token_save_duration_seconds";
/// Errors by type.
pub const WATCHER_ERRORS: &str = "watcher_errors_total";
/// Time since the last token save.
pub const WATCHER_TOKEN_AGE: &str = "watcher_resume_token_age_seconds";
/// How far back the source's history reaches.
pub const OPLOG_WINDOW: &str = "cdc_oplog_window_seconds";
/// Events read and not yet covered by a saved token.
pub const WATCHER_REPLAY_WINDOW: &str = "cdc_watcher_unsaved_events";
/// Events that carry nothing to deliver, by kind.
pub const WATCHER_EVENTS_SKIPPED: &str = "cdc_watcher_events_skipped_total";
/// Updates that came without the post-image that was asked for.
pub const WATCHER_IMAGES_MISSING: &str = "cdc_watcher_post_images_missing_total";
/// Watched names, by what the source has under them.
pub const WATCHED_NAMES: &str = "cdc_watched_collections";
/// Gaps that are open: in the token record, or in `cdc.gaps`.
pub const GAPS_OPEN: &str = "cdc_gaps_open";
/// Partitions that the topics have got since the position was recorded with them.
pub const UNUSED_PARTITIONS: &str = "cdc_unused_partitions";
/// Control messages met by the Syncer, by kind.
pub const CONTROL_MESSAGES: &str = "cdc_syncer_control_messages_total";
/// Kafka messages consumed.
pub const SYNCER_CONSUMED: &str = "syncer_messages_consumed_total";
/// Rows inserted, updated and deleted.
pub const SYNCER_WRITTEN: &str = "syncer_messages_written_total";
/// Batch sizes, in messages.
pub const SYNCER_BATCH_SIZE: &str = "syncer_batch_size";
/// Batch flush latency.
pub const SYNCER_FLUSH_SECONDS: &str = "syncer_batch_flush_duration_seconds";
/// Messages between poll and offset commit.
pub const SYNCER_BUFFER: &str = "syncer_buffer_size";
/// Whether nothing more is read until something in hand is written or recorded: 0 or 1.
pub const SYNCER_BUFFER_FULL: &str = "cdc_syncer_buffer_full";
/// Workers that are writing.
pub const SYNCER_WORKERS: &str = "syncer_worker_pool_size";
/// Errors by type.
pub const SYNCER_ERRORS: &str = "syncer_errors_total";
/// Whether a service is in a state: 0 or 1.
pub const STATE: &str = "cdc_state";
/// Steps from one state to another.
pub const TRANSITIONS: &str = "cdc_transitions_total";
/// How far behind: the Watcher the source, by the oldest event that is not acknowledged; the Syncer the log, by the oldest
/// record that is not written.
pub const LAG_SECONDS: &str = "cdc_lag_seconds";
/// The age of the oldest record of a partition that is not written, by topic and partition.
pub const PARTITION_LAG_SECONDS: &str = "cdc_partition_lag_seconds";
/// Records of a partition that are not written, by topic and partition.
pub const PARTITION_LAG_RECORDS: &str = "cdc_partition_lag_records";
/// Parts of a sampled event's way, by stage.
pub const STAGE_SECONDS: &str = "cdc_stage_seconds";
/// From the commit at the source to the verified commit.
pub const END_TO_END_SECONDS: &str = "cdc_end_to_end_seconds";
/// Records put aside or skipped, by reason.
pub const DEAD_LETTERS: &str = "cdc_dead_letters_total";
/// Writes that met a newer row or tombstone.
pub const FENCE_REJECTED: &str = "cdc_fence_rejected_total";
/// Writes that met a row of a higher lineage: what they carry may be lost.
pub const FENCE_OUTRANKED: &str = "cdc_fence_outranked_total";
/// Rows by what became of them.
pub const ROWS: &str = "cdc_rows_total";
/// Rows that wait for a unique value that another row holds.
pub const PARKED_ROWS: &str = "cdc_parked_rows";
/// Topics that are held, by topic and reason: 0 or 1.
pub const TOPICS_HELD: &str = "cdc_topics_held";
/// Tables that are written without the fence.
pub const UNFENCED_TABLES: &str = "cdc_unfenced_tables";
/// What became of parked rows.
pub const PARKED: &str = "cdc_parked_total";
/// Answers that came for something that is gone.
pub const STALE_INPUTS: &str = "cdc_stale_inputs_total";

/// What the ledger refused, because the partition is somebody else's or the database was restored.
pub const LEDGER_REFUSED: &str = "cdc_ledger_refused_total";
/// Gaps in a partition: records that the log lost before they were read.
pub const OFFSET_GAPS: &str = "cdc_offset_gaps_total";

/// What `cdc_ledger_refused_total` is labelled with.
const LEDGER_REQUESTS: [&str; 3] = ["write", "commit", "check"];

/// What `cdc_parked_total` is labelled with: put into `cdc.parked`; replaced there by a newer write; written to
/// its table after all; its older version taken out of the table, so that others find its value free.
const PARKED_EVENTS: [&str; 4] = ["parked", "superseded", "unparked", "opened"];

/// Registers every description; called once, after the recorder is installed.
pub fn describe() {
    describe_counter!(WATCHER_EVENTS_PROCESSED, "Change events processed");
    describe_counter!(WATCHER_EVENTS_PUBLISHED, "Events acknowledged by Kafka");
    describe_histogram!(
        WATCHER_PUBLISH_SECONDS,
        Unit::Seconds,
        "From handing a message to the Kafka client to its acknowledgement; one sample per report batch"
    );
    describe_histogram!(WATCHER_SAVE_SECONDS, Unit::Seconds, "Token save latency");
    describe_counter!(WATCHER_ERRORS, "Errors by type");
    describe_gauge!(
        WATCHER_TOKEN_AGE,
        Unit::Seconds,
        "Time since the last token save, whoever made it; 0 until the token store has told"
    );
    describe_gauge!(
        OPLOG_WINDOW,
        Unit::Seconds,
        "How far back the source's history reaches: a saved position that is older is lost; absent until known"
    );
    describe_gauge!(WATCHER_REPLAY_WINDOW, "Events read and not yet covered by a saved token");
    describe_counter!(WATCHER_EVENTS_SKIPPED, "Events that carry nothing to deliver");
    describe_counter!(
        WATCHER_IMAGES_MISSING,
        "Updates that came without the post-image that was asked for; their documents were looked up"
    );
    describe_gauge!(WATCHED_NAMES, "Watched names, by what the source has under them");
    describe_gauge!(
        GAPS_OPEN,
        "Gaps that are neither healed nor acknowledged: in the Watcher's token record, in the Syncer's cdc.gaps"
    );
    describe_gauge!(
        UNUSED_PARTITIONS,
        "Partitions beyond those on record: they get no documents until `cdc token repartition`"
    );
    describe_counter!(CONTROL_MESSAGES, "Control messages met, one for each partition, by kind");
    describe_counter!(SYNCER_CONSUMED, "Kafka messages consumed");
    describe_counter!(SYNCER_WRITTEN, "Rows inserted, updated and deleted; not those fenced off");
    describe_histogram!(SYNCER_BATCH_SIZE, "Batch sizes, in messages");
    describe_histogram!(SYNCER_FLUSH_SECONDS, Unit::Seconds, "Batch flush latency");
    describe_gauge!(SYNCER_BUFFER, "Messages between poll and offset commit");
    describe_gauge!(
        SYNCER_BUFFER_FULL,
        "1 while nothing more is read until something in hand is written or recorded"
    );
    describe_gauge!(SYNCER_WORKERS, "Workers that are writing");
    describe_counter!(SYNCER_ERRORS, "Errors by type");
    describe_gauge!(STATE, "1 for the state that the service is in");
    describe_counter!(TRANSITIONS, "Steps from one state to another");
    describe_gauge!(
        LAG_SECONDS,
        Unit::Seconds,
        "How far behind, by the oldest event that is not acknowledged and the oldest record that is not written"
    );
    describe_gauge!(
        PARTITION_LAG_SECONDS,
        Unit::Seconds,
        "The age of the partition's oldest record that is not written; 0 where all is, or another member has it"
    );
    describe_gauge!(PARTITION_LAG_RECORDS, "The partition's records that are not written");
    describe_histogram!(
        END_TO_END_SECONDS,
        Unit::Seconds,
        "From the commit at the source to the verified commit; one sample per batch, of its oldest change. The cluster time \
         tells the second: counted from its end, or from the record's time stamp where that is earlier"
    );
    describe_histogram!(
        STAGE_SECONDS,
        Unit::Seconds,
        "Parts of a sampled event's way, each from the end of the one before: in the Watcher from the commit at the source \
         (read, encode, hand_over, acknowledge), in the Syncer from the record's time stamp (fetch, queue, prepare, write)"
    );
    describe_counter!(DEAD_LETTERS, "Records put aside or skipped, by reason");
    describe_counter!(FENCE_REJECTED, "Writes that met a newer row or tombstone");
    describe_counter!(FENCE_OUTRANKED, "Writes that met a row or tombstone of a higher lineage");
    describe_counter!(ROWS, "Records by what became of them in PostgreSQL");
    describe_counter!(
        LEDGER_REFUSED,
        "Requests that the ledger refused for partitions that are not ours any more"
    );
    describe_counter!(
        OFFSET_GAPS,
        "Gaps in a partition, by what became of its records; each stands in cdc.gaps"
    );
    describe_gauge!(PARKED_ROWS, "Rows and deletes of the partitions in hand that wait for other rows");
    describe_gauge!(TOPICS_HELD, "1 for a topic that is held, and why: nothing of it is read");
    describe_gauge!(UNFENCED_TABLES, "Tables that are written without the fence");
    describe_counter!(PARKED, "What became of rows and deletes that other rows blocked");
    describe_counter!(STALE_INPUTS, "Answers that came for something that is gone");
}

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
