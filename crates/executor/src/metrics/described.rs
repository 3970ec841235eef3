//! The metrics' names, and what each says.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

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
