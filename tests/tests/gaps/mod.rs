//! Nothing is lost silently: whatever takes the Watcher's position from it, the outcome is what the policy
//! says, the gap is on record and told to Kafka, the metric shows it, and the exit code tells a person.

mod collections;
mod history;
mod oversized;
mod records;
mod rig;
mod topics;

use rig::Rig;

/// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
/// Validates: Requirements 1.1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_delivered_is_on_record() {
    let _turn = crate::TURN.lock().await;
    let rig = Box::pin(Rig::start()).await;
    // First, since it empties the store under everybody.
    Box::pin(records::a_flushed_store_is_written_again_from_memory(&rig)).await;
    Box::pin(records::a_missing_record_beside_a_topic_with_messages(&rig)).await;
    Box::pin(records::a_file_damaged_in_each_way(&rig)).await;
    Box::pin(records::an_older_value_is_replayed_and_absorbed(&rig)).await;
    Box::pin(records::another_source_or_topic_is_refused(&rig)).await;
    Box::pin(collections::dropped_and_recreated(&rig)).await;
    Box::pin(collections::replaced(&rig)).await;
    Box::pin(collections::added(&rig)).await;
    Box::pin(topics::deleted_under_a_stopped_watcher(&rig)).await;
    Box::pin(topics::deleted_under_a_running_watcher(&rig)).await;
    Box::pin(topics::grown(&rig)).await;
    Box::pin(oversized::an_event_beyond_a_reply(&rig)).await;
    Box::pin(oversized::a_message_beyond_its_topic(&rig)).await;
    Box::pin(history::rolled_over(&rig)).await;
}
