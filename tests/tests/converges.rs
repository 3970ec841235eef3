//! Random changes under load that never pauses, on four collections at once, copied into two typed tables and two
//! mirrors, by one Syncer and then by two. The Watcher and the Syncers are killed again and again, and a backlog piles
//! up while no Syncer runs; the last thing is an import without a Syncer, so that nothing later mends what becomes of
//! it. In the end every row equals its document and no table has rows of another's collection; and at no moment did
//! the saved token cover an event that a topic did not hold.
//!
//! | variable | default | |
//! |---|---|---|
//! | `CDC_CONVERGES_SEED` | the clock | of the changes and of who is killed; printed at the start |

use std::time::{Duration, Instant};

use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE, TOKEN_KEY};
use cdc_devstack::source::{COLLECTIONS, Source, Target};
use cdc_devstack::workload::{Writer, player_id};
use cdc_devstack::{Service, compare};
use cdc_tests::load::Load;
use cdc_tests::testbed::Testbed;
use cdc_tests::topic::{self, Offsets};
use cdc_tests::{Failure, history, saved, seed, verdict};

const CHANGES: u64 = 50_000;
const WRITERS: u32 = 4;
/// Of each writer, in each collection.
const DOCUMENTS_EACH: u32 = 200;
const KILLS_EACH: u64 = 5;
/// The kill of Syncers after which there are two of them.
const SECOND_JOINS: u64 = 2;
/// The kill of the Syncer after which changes pile up before it runs again, and how many.
const BACKLOG_AFTER: u64 = 1;
const BACKLOG: u64 = 3_000;
/// Three quarters of so many documents are imported into each collection while no Syncer runs, when everything else is
/// done: nothing mends later what becomes of them.
const IMPORTED: u32 = 4_000;
const FIRST_IMPORTED: u32 = 100_000;
/// A batch of more records than that has over 100 rows of several tables.
const LARGE_BATCH: &str = "500";
/// The Watcher's default `performance.max_replay_events`.
const MAX_REPLAY_EVENTS: usize = 10_000;
/// Rows that stand in the typed tables before the pipeline has ever run.
const EARLIER_ROWS: u32 = 200;
/// How many of each service's kills must strike while work is in flight.
const KILLS_IN_FLIGHT: usize = 3;
/// A Syncer that was killed waits for its partitions until the group has noticed.
const IN_FLIGHT_WITHIN: Duration = Duration::from_secs(20);

/// What stood where when the Watcher was killed.
struct KillSite {
    token: String,
    /// Messages in the topics after the kill: offsets below these, by partition.
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
    let seed = seed("CDC_CONVERGES_SEED");
    let mut random = fastrand::Rng::with_seed(seed);
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    earlier_rows(&postgres, &source).await.unwrap();
    let since = history::now(&mongo).await.unwrap();
    let redis = stack.redis.url();
    let read = || topic::read_topics(&endpoints.kafka_brokers, &source.topics(), &Offsets::new()).unwrap();

    let deploy = |role, name, settings: &[(&str, &str)]| {
        Deployment::over(&source, role, name, stack.folder(), &endpoints, settings).unwrap()
    };
    let watcher = deploy(Role::Watcher, "watcher", &[]);
    let mut watching = watcher.start().await.unwrap();
    let mut syncers = Syncers {
        deployments: vec![deploy(Role::Syncer, "first", &[])],
        running: Vec::new(),
        large_batches: 0.0,
        kills_in_flight: 0,
    };
    syncers.start().unwrap();
    syncers.healthy().await.unwrap();

    let load = Load::start(&mongo, &source, seed, WRITERS, DOCUMENTS_EACH);
    let mut sites = Vec::new();
    let mut watcher_in_flight = 0;
    for kill in 1..=KILLS_EACH {
        until_operations(&load, CHANGES * (2 * kill - 1) / (2 * KILLS_EACH + 1)).await;
        watcher_in_flight += usize::from(in_flight(&watching, "cdc_watcher_unsaved_events").await);
        watching.kill().await.unwrap();
        let token =
            saved::token(&redis, TOKEN_KEY).await.unwrap().expect("a token is saved before the first event");
        sites.push(KillSite { token, topic: read() });
        watching = watcher.spawn().unwrap();

        until_operations(&load, CHANGES * 2 * kill / (2 * KILLS_EACH + 1)).await;
        if kill == BACKLOG_AFTER {
            syncers.kill_all().await.unwrap();
            until_operations(&load, load.operations() + BACKLOG).await;
        } else {
            syncers.kill_one(&mut random).await.unwrap();
        }
        if kill == SECOND_JOINS {
            // With two workers, each has many rows of every table at once.
            syncers.deployments.push(deploy(Role::Syncer, "second", &[("CDC__WORKERS__POOL_SIZE", "2")]));
        }
        syncers.start().unwrap();
    }
    until_operations(&load, CHANGES).await;
    let applied = load.stop().await.unwrap();
    assert!(applied.total() >= CHANGES, "{applied:?}");
    syncers.kill_all().await.unwrap();
    let numbers = FIRST_IMPORTED..FIRST_IMPORTED + IMPORTED;
    Writer::new(&mongo, &source, seed, numbers, 200).import().await.unwrap();
    syncers.start().unwrap();
    let comparison = compare::converge(&mongo, &postgres, &source, Duration::from_secs(120)).await.unwrap();
    assert!(
        comparison.is_equal() && comparison.is_of_something(),
        "{comparison}\n{}",
        stack.folder().display()
    );
    for syncing in &syncers.running {
        syncers.large_batches += large_batches(syncing).await;
    }
    assert!(syncers.large_batches >= 4.0, "{} batches were large", syncers.large_batches);
    let in_flight = (watcher_in_flight, syncers.kills_in_flight);
    assert!(
        in_flight.0 >= KILLS_IN_FLIGHT && in_flight.1 >= KILLS_IN_FLIGHT,
        "{in_flight:?} kills of the Watcher and of a Syncer struck work in flight"
    );
    let happened = history::changes(&mongo, &source, since).await.unwrap();
    for (number, site) in sites.iter().enumerate() {
        let missing = verdict::covered_but_absent(&happened, &site.token, &site.topic);
        assert!(
            missing.is_empty(),
            "kill {number}: the token covers {} events that the topics lack",
            missing.len()
        );
    }
    let published = read();
    assert!(verdict::absent(&happened, &published).is_empty());
    assert!(verdict::reordered(&published).is_empty());
    // What a kill made the Watcher repeat stands in the topics by the next one, or in the end.
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
    for syncing in &mut syncers.running {
        syncing.terminate(Duration::from_secs(30)).await.unwrap();
    }
}

/// The Syncers, and what the killed ones have shown.
struct Syncers {
    deployments: Vec<Deployment>,
    /// The first ones of the deployments.
    running: Vec<Service>,
    /// Batches of more than [`LARGE_BATCH`] records.
    large_batches: f64,
    kills_in_flight: usize,
}

impl Syncers {
    /// Starts those that do not run.
    fn start(&mut self) -> Result<(), Failure> {
        for deployment in &self.deployments[self.running.len()..] {
            self.running.push(deployment.spawn()?);
        }
        Ok(())
    }

    async fn healthy(&mut self) -> Result<(), Failure> {
        for syncer in &mut self.running {
            syncer.healthy(Duration::from_secs(60)).await?;
        }
        Ok(())
    }

    async fn kill_all(&mut self) -> Result<(), Failure> {
        self.kills_in_flight += usize::from(in_flight(&self.running[0], "syncer_buffer_size").await);
        for mut syncer in std::mem::take(&mut self.running) {
            self.large_batches += large_batches(&syncer).await;
            syncer.kill().await?;
        }
        Ok(())
    }

    /// Kills one, and starts it again.
    async fn kill_one(&mut self, random: &mut fastrand::Rng) -> Result<(), Failure> {
        let victim = random.usize(0..self.running.len());
        self.large_batches += large_batches(&self.running[victim]).await;
        self.kills_in_flight += usize::from(in_flight(&self.running[victim], "syncer_buffer_size").await);
        self.running[victim].kill().await?;
        self.running[victim] = self.deployments[victim].spawn()?;
        Ok(())
    }
}

/// Batches of more than [`LARGE_BATCH`] records that a Syncer has written since its start.
async fn large_batches(syncer: &Service) -> f64 {
    // One that has only just been started has written nothing.
    let Ok(metrics) = syncer.metrics().await else { return 0.0 };
    let of = |suffix: &str, labels: &[(&str, &str)]| {
        metrics.value(&format!("syncer_batch_size_{suffix}"), labels).unwrap_or_default()
    };
    of("count", &[]) - of("bucket", &[("le", LARGE_BATCH)])
}

/// Rows of an earlier import: without a position, older than anything that the workload writes.
async fn earlier_rows(postgres: &tokio_postgres::Client, source: &Source) -> Result<(), Failure> {
    for table in source.collections.iter().filter(|copied| copied.target == Target::Typed) {
        let statement = format!(
            "INSERT INTO {} (id, username, level, score, created_at, cdc_timestamp)
             VALUES ($1, $2, 0, -1, '2000-01-01', '2000-01-01')",
            table.name
        );
        for number in 0..EARLIER_ROWS {
            let id = player_id(number).to_hex();
            postgres.execute(&statement, &[&id, &format!("imported-{number}")]).await?;
        }
    }
    Ok(())
}

async fn until_operations(load: &Load, wanted: u64) {
    while load.operations() < wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for the gauge to show work in flight; says whether it did.
async fn in_flight(service: &Service, gauge: &str) -> bool {
    let deadline = Instant::now() + IN_FLIGHT_WITHIN;
    while Instant::now() < deadline {
        if let Ok(metrics) = service.metrics().await
            && metrics.value(gauge, &[]).is_some_and(|value| value > 0.0)
        {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
