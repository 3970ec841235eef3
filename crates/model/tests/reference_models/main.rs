//! The reference models of both machines: each is driven through whatever its neighbours may do, one move at a time, and
//! the shared invariants are asked after each. A case that fails is shrunk, and its seed kept in `proptest-regressions`.

mod models;

use proptest::prelude::ProptestConfig;
use proptest_state_machine::prop_state_machine;

use models::harness::Of;
use models::{syncer, watcher};

type AnyWatcher = Of<watcher::World>;
type WatcherToTheLetter = Of<watcher::World, true>;
type AnySyncer = Of<syncer::World>;
type SyncerToTheLetter = Of<syncer::World, true>;

/// Cases of each test, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 1_000;

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { CASES };
    ProptestConfig { cases, ..config }
}

prop_state_machine! {
    #![proptest_config(config())]

    /// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
    /// Validates: Requirements 1.1
    ///
    /// Feature: cdc-pipeline, Property 5: Resume Token Retry on Failure
    /// Validates: Requirements 2.4
    ///
    /// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
    /// Validates: Requirements 3.3
    ///
    /// Feature: cdc-pipeline, Property 20: Graceful Shutdown Token Save
    /// Validates: Requirements 9.4
    #[test]
    fn token_after_ack(sequential 30..200 => AnyWatcher);

    /// Feature: cdc-pipeline, Property 4: Resume Token Save After Kafka Success
    /// Validates: Requirements 2.1
    #[test]
    fn one_event_at_a_time_is_replayed_at_most(sequential 30..200 => WatcherToTheLetter);

    /// Feature: cdc-pipeline, Property 10: Consumer Error Resilience
    /// Validates: Requirements 4.4
    ///
    /// Feature: cdc-pipeline, Property 11: Offset Commit After Database Write
    /// Validates: Requirements 4.5
    ///
    /// Feature: cdc-pipeline, Property 17: Idempotent Write Operations
    /// Validates: Requirements 8.2, 8.5
    ///
    /// Feature: cdc-pipeline, Property 19: Graceful Shutdown Buffer Flush
    /// Validates: Requirements 9.3
    #[test]
    fn commit_after_write(sequential 30..200 => AnySyncer);

    /// Feature: cdc-pipeline, Property 11: Offset Commit After Database Write
    /// Validates: Requirements 4.5
    #[test]
    fn one_record_at_a_time_is_committed_after_its_write(sequential 30..200 => SyncerToTheLetter);
}
