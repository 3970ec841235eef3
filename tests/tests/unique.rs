//! Unique user names that change hands all the time, over eight partitions and three Syncers that are killed
//! again and again: in the end the table equals the collection, and nothing was given up.

use std::time::Duration;

use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE, TOPIC};
use cdc_devstack::source::{PLAYERS, Source};
use cdc_devstack::{Service, compare};
use cdc_tests::names::Namings;
use cdc_tests::testbed::Testbed;
use cdc_tests::topic;

const WRITERS: u32 = 4;
const PLAYERS_EACH: u32 = 100;
const OPERATIONS_EACH: u64 = 2_500;
const SYNCERS: [&str; 3] = ["syncer-1", "syncer-2", "syncer-3"];
const KILLS: u64 = 6;

/// What the killed and the living Syncers have counted.
#[derive(Debug, Default)]
struct Tally {
    parked: f64,
    opened: f64,
    dead: f64,
}

impl Tally {
    async fn add(&mut self, syncer: &Service) {
        // A Syncer that has only just been started again has counted nothing.
        let Ok(metrics) = syncer.metrics().await else { return };
        self.parked += metrics.sum("cdc_parked_total", &[("event", "parked")]);
        self.opened += metrics.sum("cdc_parked_total", &[("event", "opened")]);
        self.dead += metrics.sum("cdc_dead_letters_total", &[]);
    }
}

/// Feature: cdc-pipeline, Property 17: Idempotent Write Operations
/// Validates: Requirements 8.2, 8.5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapped_and_handed_over_names_end_up_where_the_collection_has_them() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &[]).unwrap();
    let mut watching = watcher.start().await.unwrap();
    let settings = [("CDC__WORKERS__POOL_SIZE", "4"), ("CDC__POSTGRES__MIN_CONNECTIONS", "4")];
    let deployments = SYNCERS
        .map(|name| Deployment::new(Role::Syncer, name, stack.folder(), &endpoints, &settings).unwrap());
    let mut syncing = Vec::new();
    for deployment in &deployments {
        syncing.push(deployment.start().await.unwrap());
    }

    let (mut tally, mut kills_over_parked_rows) = (Tally::default(), 0);
    let load = (WRITERS, PLAYERS_EACH, OPERATIONS_EACH);
    let namings = Namings::start(&mongo, SOURCE_DATABASE, load, 0x5eed_0001);
    let total = u64::from(WRITERS) * OPERATIONS_EACH;
    for kill in 1..=KILLS {
        while namings.operations() < total * kill / (KILLS + 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let victim = usize::try_from(kill).unwrap() % SYNCERS.len();
        tally.add(&syncing[victim]).await;
        kills_over_parked_rows += usize::from(until_parked(&postgres).await);
        syncing[victim].kill().await.unwrap();
        syncing[victim] = deployments[victim].spawn().unwrap();
    }
    assert_eq!(namings.finish().await.unwrap(), total);

    let comparison = compare::converge(&mongo, &postgres, &source, Duration::from_secs(90)).await.unwrap();
    assert!(comparison.is_equal(), "{comparison}\n{}", stack.folder().display());
    for syncer in &mut syncing {
        tally.add(syncer).await;
        assert_eq!(syncer.exit_status().unwrap(), None, "a Syncer has ended: {}", syncer.log().display());
    }
    assert_eq!(parked_rows(&postgres).await, 0, "nothing is left parked");
    assert_eq!(tally.dead, 0.0, "nothing is given up");
    assert_eq!(topic::count(&endpoints.kafka_brokers, &format!("{TOPIC}.dead-letters")).unwrap(), 0);
    assert!(tally.parked >= 100.0, "{tally:?}");
    assert!(tally.opened >= 20.0, "{tally:?}");
    assert!(kills_over_parked_rows >= 3, "{kills_over_parked_rows} kills struck while rows were parked");
    let status = syncing[0].get("/status").await.unwrap();
    assert!(status.body.contains("\"parked_rows\":0"), "{}", status.body);

    watching.terminate(Duration::from_secs(30)).await.unwrap();
    for syncer in &mut syncing {
        syncer.terminate(Duration::from_secs(30)).await.unwrap();
    }
}

async fn parked_rows(postgres: &tokio_postgres::Client) -> i64 {
    postgres.query_one("SELECT count(*) FROM cdc.parked", &[]).await.unwrap().get(0)
}

/// Waits a moment for rows to be parked; says whether some were.
async fn until_parked(postgres: &tokio_postgres::Client) -> bool {
    for _ in 0..200 {
        if parked_rows(postgres).await > 0 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}
