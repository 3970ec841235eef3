//! SIGTERM under load: everything in hand is written and recorded, and a restart replays nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE};
use cdc_devstack::source::{COLLECTIONS, Source};
use cdc_devstack::{Service, compare};
use cdc_tests::load::Load;
use cdc_tests::testbed::Testbed;
use cdc_tests::topic::{self, Offsets};
use cdc_tests::{history, verdict};

/// The default `shutdown.timeout`.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);
const ROUNDS: usize = 3;

/// The group in the seed's configuration.
const GROUP: &str = "cdc-syncer";

/// The first offset of each partition that is not written yet, by the ledger.
async fn ledger(postgres: &tokio_postgres::Client, topic: &str) -> BTreeMap<i32, Option<i64>> {
    let sql = "SELECT partition, next_offset FROM cdc.partitions WHERE topic = $1 AND consumer_group = $2";
    let rows = postgres.query(sql, &[&topic, &GROUP]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn metric(service: &Service, name: &str) -> f64 {
    service.metrics().await.unwrap().value(name, &[]).unwrap_or_default()
}

/// Feature: cdc-pipeline, Property 19: Graceful Shutdown Buffer Flush
/// Validates: Requirements 9.3
///
/// Feature: cdc-pipeline, Property 20: Graceful Shutdown Token Save
/// Validates: Requirements 9.4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_exits_0_and_nothing_is_replayed() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let since = history::now(&mongo).await.unwrap();
    let deploy =
        |role: Role| Deployment::over(&source, role, role.name(), stack.folder(), &endpoints, &[]).unwrap();
    let (watcher, syncer) = (deploy(Role::Watcher), deploy(Role::Syncer));

    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();
    let load = Load::start(&mongo, &source, 0xd7a1, 4, 125);
    for _ in 0..ROUNDS {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let status = watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap();
        assert_eq!(status.code(), Some(0), "the Watcher's drain");
        let status = syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap();
        assert_eq!(status.code(), Some(0), "the Syncer's drain");
        // What was polled is written and recorded, in the ledger as in the group.
        for topic in source.topics() {
            let ledger = ledger(&postgres, &topic).await;
            let group = topic::committed(&endpoints.kafka_brokers, &topic, GROUP).unwrap();
            assert_eq!(
                ledger, group,
                "the ledger and the group tell one offset for each partition of {topic}"
            );
            assert!(ledger.values().any(|offset| offset.is_some_and(|offset| offset > 0)), "{ledger:?}");
        }
        watching = watcher.start().await.unwrap();
        syncing = syncer.start().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    load.stop().await.unwrap();
    let comparison = compare::converge(&mongo, &postgres, &source, Duration::from_secs(60)).await.unwrap();
    assert!(comparison.is_equal(), "{comparison}\n{}", stack.folder().display());

    let happened = history::changes(&mongo, &source, since).await.unwrap();
    let published = topic::read_topics(&endpoints.kafka_brokers, &source.topics(), &Offsets::new()).unwrap();
    assert!(verdict::absent(&happened, &published).is_empty());
    assert_eq!(verdict::replayed(&happened, &published), 0, "the Watcher replays nothing after a drain");
    assert_eq!(metric(&syncing, "cdc_fence_rejected_total").await, 0.0, "the Syncer reads nothing twice");

    watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap();
    syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap();
}
