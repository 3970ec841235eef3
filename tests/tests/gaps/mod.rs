//! Nothing is lost silently: whatever takes the Watcher's position from it, the outcome is what the policy
//! says, the gap is on record and told to Kafka, the metric shows it, and the exit code tells a person.

mod collections;
mod history;
mod oversized;
mod records;
mod reset;
pub(crate) mod rig;
mod topics;

use futures_util::FutureExt as _;
use rig::Rig;

/// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
/// Validates: Requirements 1.1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_delivered_is_on_record() {
    let _turn = crate::TURN.lock().await;
    let rig = Box::pin(Rig::start()).await;
    let mut failed = Vec::new();
    // Each has its own collection, topic and record; the first one empties the store under everybody.
    macro_rules! show {
        ($($scenario:path),* $(,)?) => {
            $(
                let shown = std::panic::AssertUnwindSafe(Box::pin($scenario(&rig))).catch_unwind().await;
                failed.extend(shown.err().map(|_| stringify!($scenario)));
            )*
        };
    }
    show!(
        records::a_flushed_store_is_written_again_from_memory,
        records::a_missing_record_beside_a_topic_with_messages,
        records::a_file_damaged_in_each_way,
        records::an_older_value_is_replayed_and_absorbed,
        records::another_source_or_topic_is_refused,
        collections::dropped_and_recreated,
        collections::replaced,
        collections::added,
        topics::deleted_under_a_stopped_watcher,
        topics::deleted_under_a_running_watcher,
        topics::grown_under_a_running_watcher,
        oversized::an_event_beyond_a_reply,
        oversized::a_message_beyond_its_topic,
        oversized::small_messages_of_a_batch_beyond_its_topic,
        reset::forwards_and_with_its_gap,
        history::rolled_over,
    );
    assert!(failed.is_empty(), "{failed:?}; the panics stand above");
}
