//! SIGTERM under load: everything in hand is written and recorded, and a restart replays nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use cdc_devstack::pipeline::{Deployment, Endpoints, PLAYERS_TABLE, Role, SOURCE_DATABASE, TOPIC};
use cdc_devstack::{Options, Service, Stack, compare};
use cdc_tests::load::Load;
use cdc_tests::{history, topic, verdict};
use mongodb::Client;

/// The default `shutdown.timeout`.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);
const ROUNDS: usize = 3;

/// The group in the seed's configuration.
const GROUP: &str = "cdc-syncer";

/// The first offset of each partition that is not written yet, by the ledger.
async fn ledger(postgres: &tokio_postgres::Client) -> BTreeMap<i32, Option<i64>> {
    let sql = "SELECT partition, next_offset FROM cdc.partitions WHERE topic = $1 AND consumer_group = $2";
    let rows = postgres.query(sql, &[&TOPIC, &GROUP]).await.unwrap();
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
    let stack = Box::pin(Stack::start(Options::default())).await.unwrap();
    let endpoints = Endpoints::of(&stack);
    let mongo = Client::with_uri_str(&endpoints.mongodb_uri).await.unwrap();
    let postgres = endpoints.postgres().await.unwrap();
    postgres.batch_execute(PLAYERS_TABLE).await.unwrap();
    let since = history::now(&mongo).await.unwrap();
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &[]).unwrap();
    let syncer = Deployment::new(Role::Syncer, "syncer", stack.folder(), &endpoints, &[]).unwrap();

    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();
    let load = Load::start(&mongo, SOURCE_DATABASE, 0xd7a1, 4, 500);
    for _ in 0..ROUNDS {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let status = watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap();
        assert_eq!(status.code(), Some(0), "the Watcher's drain");
        let status = syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap();
        assert_eq!(status.code(), Some(0), "the Syncer's drain");
        // What was polled is written and recorded, in the ledger as in the group.
        let ledger = ledger(&postgres).await;
        let group = topic::committed(&endpoints.kafka_brokers, TOPIC, GROUP).unwrap();
        assert_eq!(ledger, group, "the ledger and the group tell one offset for each partition");
        assert!(ledger.values().any(|offset| offset.is_some_and(|offset| offset > 0)), "{ledger:?}");
        watching = watcher.start().await.unwrap();
        syncing = syncer.start().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    load.stop().await.unwrap();
    let database = mongo.database(SOURCE_DATABASE);
    let comparison = compare::players_converge(&database, &postgres, Duration::from_secs(60)).await.unwrap();
    assert!(comparison.is_equal(), "{comparison}\n{}", stack.folder().display());

    let happened = history::changes(&mongo, SOURCE_DATABASE, since).await.unwrap();
    let published = topic::read_all(&endpoints.kafka_brokers, TOPIC).unwrap();
    assert!(verdict::absent(&happened, &published).is_empty());
    assert_eq!(verdict::replayed(&happened, &published), 0, "the Watcher replays nothing after a drain");
    assert_eq!(metric(&syncing, "cdc_fence_rejected_total").await, 0.0, "the Syncer reads nothing twice");

    watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap();
    syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap();
}
