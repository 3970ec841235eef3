//! Random changes under load that never pauses, both services killed again and again: in the end every row
//! equals its document, and at no moment did the saved token cover an event that the topic did not hold.

use std::time::Duration;

use cdc_devstack::pipeline::{Deployment, Endpoints, PLAYERS_TABLE, Role, SOURCE_DATABASE, TOKEN_KEY, TOPIC};
use cdc_devstack::workload::player_id;
use cdc_devstack::{Options, Service, Stack, compare};
use cdc_tests::load::Load;
use cdc_tests::{Failure, history, saved, topic, verdict};
use mongodb::Client;

const CHANGES: u64 = 50_000;
const WRITERS: u32 = 4;
const PLAYERS_EACH: u32 = 500;
const KILLS_EACH: u64 = 5;
/// The Watcher's default `performance.max_replay_events`.
const MAX_REPLAY_EVENTS: usize = 10_000;
/// Rows that stand in the table before the pipeline has ever run.
const EARLIER_ROWS: u32 = 200;
/// How many of each service's kills must strike while work is in flight.
const KILLS_IN_FLIGHT: usize = 3;

/// What stood where when the Watcher was killed.
struct KillSite {
    token: String,
    /// Messages in the topic after the kill: offsets below these, by partition.
    topic: Vec<topic::TopicMessage>,
}

/// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
/// Validates: Requirements 1.1
///
/// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
/// Validates: Requirements 3.3
///
/// Feature: cdc-pipeline, Property 17: Idempotent Write Operations
/// Validates: Requirements 8.2, 8.5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_equals_its_document_after_kills_under_load() {
    let _turn = crate::TURN.lock().await;
    let stack = Box::pin(Stack::start(Options::default())).await.unwrap();
    let endpoints = Endpoints::of(&stack);
    let mongo = Client::with_uri_str(&endpoints.mongodb_uri).await.unwrap();
    let postgres = endpoints.postgres().await.unwrap();
    postgres.batch_execute(PLAYERS_TABLE).await.unwrap();
    earlier_rows(&postgres).await.unwrap();
    let since = history::now(&mongo).await.unwrap();
    let redis = stack.redis.url();

    let watcher = Deployment::new(Role::Watcher, "watcher", stack.folder(), &endpoints, &[]).unwrap();
    let syncer = Deployment::new(Role::Syncer, "syncer", stack.folder(), &endpoints, &[]).unwrap();
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();

    let load = Load::start(&mongo, SOURCE_DATABASE, 0x5eed, WRITERS, PLAYERS_EACH);
    let mut sites = Vec::new();
    let (mut watcher_in_flight, mut syncer_in_flight) = (0, 0);
    for kill in 1..=KILLS_EACH {
        until_operations(&load, CHANGES * (2 * kill - 1) / (2 * KILLS_EACH + 1)).await;
        watcher_in_flight += usize::from(in_flight(&watching, "cdc_watcher_unsaved_events").await);
        watching.kill().await.unwrap();
        let token =
            saved::token(&redis, TOKEN_KEY).await.unwrap().expect("a token is saved before the first event");
        let published = topic::read_all(&endpoints.kafka_brokers, TOPIC).unwrap();
        sites.push(KillSite { token, topic: published });
        watching = watcher.spawn().unwrap();

        until_operations(&load, CHANGES * 2 * kill / (2 * KILLS_EACH + 1)).await;
        syncer_in_flight += usize::from(in_flight(&syncing, "syncer_buffer_size").await);
        syncing.kill().await.unwrap();
        syncing = syncer.spawn().unwrap();
    }
    until_operations(&load, CHANGES).await;
    let applied = load.stop().await.unwrap();
    assert!(applied.total() >= CHANGES, "{applied:?}");
    assert!(
        watcher_in_flight >= KILLS_IN_FLIGHT,
        "{watcher_in_flight} kills of the Watcher struck work in flight"
    );
    assert!(
        syncer_in_flight >= KILLS_IN_FLIGHT,
        "{syncer_in_flight} kills of the Syncer struck work in flight"
    );

    let database = mongo.database(SOURCE_DATABASE);
    let comparison = compare::players_converge(&database, &postgres, Duration::from_secs(120)).await.unwrap();
    assert!(comparison.is_equal(), "{comparison}\n{}", stack.folder().display());

    let happened = history::changes(&mongo, SOURCE_DATABASE, since).await.unwrap();
    for (number, site) in sites.iter().enumerate() {
        let missing = verdict::covered_but_absent(&happened, &site.token, &site.topic);
        assert!(
            missing.is_empty(),
            "kill {number}: the token covers {} events that the topic lacks",
            missing.len()
        );
    }
    let published = topic::read_all(&endpoints.kafka_brokers, TOPIC).unwrap();
    assert!(verdict::absent(&happened, &published).is_empty());
    assert!(verdict::reordered(&published).is_empty());
    // What a kill made the Watcher repeat stands in the topic by the next one, or in the end.
    let repeated: Vec<usize> = sites
        .iter()
        .map(|site| &site.topic)
        .chain([&published])
        .map(|topic| verdict::replayed(&happened, topic))
        .collect();
    assert_eq!(repeated.len() as u64, KILLS_EACH + 1);
    for pair in repeated.windows(2) {
        let replayed = pair[1] - pair[0];
        assert!(replayed <= MAX_REPLAY_EVENTS, "{replayed} messages were replayed after one kill");
    }
    assert!(
        published
            .iter()
            .all(|message| message.position_header.as_deref() == message.value["position"].as_str()),
        "the header and the envelope tell one position"
    );

    watching.terminate(Duration::from_secs(30)).await.unwrap();
    syncing.terminate(Duration::from_secs(30)).await.unwrap();
}

/// Rows of an earlier import: without a position, older than anything that the workload writes.
async fn earlier_rows(postgres: &tokio_postgres::Client) -> Result<(), Failure> {
    for number in 0..EARLIER_ROWS {
        let id = player_id(number).to_hex();
        postgres
            .execute(
                "INSERT INTO players (id, username, level, score, created_at, cdc_timestamp)
                 VALUES ($1, $2, 0, -1, '2000-01-01', '2000-01-01')",
                &[&id, &format!("imported-{number}")],
            )
            .await?;
    }
    Ok(())
}

async fn until_operations(load: &Load, wanted: u64) {
    while load.operations() < wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits a moment for the gauge to show work in flight; says whether it did.
async fn in_flight(service: &Service, gauge: &str) -> bool {
    for _ in 0..40 {
        if let Ok(metrics) = service.metrics().await
            && metrics.value(gauge, &[]).is_some_and(|value| value > 0.0)
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
