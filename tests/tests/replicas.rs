//! A topic that asks for more replicas than are in sync (`NOT_ENOUGH_REPLICAS`). It takes three brokers: of one alone
//! Kafka never asks for more than there are, whatever `min.insync.replicas` says.

use std::time::{Duration, Instant};

use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE, TOPIC};
use cdc_devstack::source::{PLAYERS, Source};
use cdc_devstack::{KafkaOptions, Options, Service, compare};
use cdc_model::faults::{Outcome, State, cells};
use cdc_tests::load::{Load, Manner};
use cdc_tests::log::{Log, Taken};
use cdc_tests::site::{PATIENCE, metric, until_metric};
use cdc_tests::testbed::Testbed;
use cdc_tests::{say, topic};

const BROKERS: usize = 3;
const HEAP_MIB: u32 = 256;
/// The one that is killed; the other two elect a controller and leaders without it.
const VICTIM: usize = 2;
/// A topic that asks for as much as the pipeline's, for the test's own messages.
const PROBE: &str = "probe";
/// Events that Kafka has acknowledged.
const PUBLISHED: &str = "watcher_events_published_total";
/// For how long the topic takes nothing.
const OUTAGE: Duration = Duration::from_secs(5);
const MANNER: Manner =
    Manner { writers: 1, players: 40, padding: 20, pause: Duration::from_millis(10), survives: true };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_too_few_replicas_is_waited_for() {
    let _turn = crate::TURN.lock().await;
    let kafka = KafkaOptions { brokers: BROKERS, heap_mib: HEAP_MIB, ..KafkaOptions::default() };
    let Testbed { mut stack, endpoints, mongo, postgres } =
        Testbed::with(Options { kafka, ..Options::default() }).await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let log = Log::new(&endpoints.kafka_brokers).unwrap();
    let all = BROKERS.to_string();
    log.create_replicated(PROBE, 1, &[("min.insync.replicas", &all)]).await.unwrap();

    let deploy = |role: Role, settings: &[(&str, &str)]| {
        Deployment::new(role, role.name(), stack.folder(), &endpoints, settings).unwrap()
    };
    // A drain that outlasts the outage, and the start of a broker on a busy machine.
    let settings = [("CDC__PERFORMANCE__MAX_REPLAY_EVENTS", "100"), ("CDC__SHUTDOWN__TIMEOUT", "80s")];
    let watcher = deploy(Role::Watcher, &settings);
    let syncer = deploy(Role::Syncer, &[]);
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();
    topic::configure(&endpoints.kafka_brokers, TOPIC, "min.insync.replicas", "3").await.unwrap();

    for cell in cells().filter(|cell| cell.test.name == "a_topic_with_too_few_replicas_is_waited_for") {
        let begun = Instant::now();
        let before = metric(&watching, PUBLISHED, &[]).await;
        let load = Load::start_as(&mongo, &source, 1, MANNER);
        until_metric(&watching, PUBLISHED, &[], before + 20.0, PATIENCE).await.unwrap();
        if cell.state != State::Streaming {
            stack.kafka.pause().unwrap();
            in_state(&watching, State::AwaitingAck).await;
        }
        if cell.state == State::Draining {
            watching.request_stop().unwrap();
        }
        in_state(&watching, cell.state).await;

        stack.kafka.broker_mut(VICTIM).unwrap().kill().await;
        if cell.state != State::Streaming {
            for survivor in 0..VICTIM {
                stack.kafka.broker_mut(survivor).unwrap().resume().unwrap();
            }
        }
        until_refused(&log).await;
        // It reads on until its window is full, and not one event more counts as published.
        let held = if cell.state == State::Draining { State::Draining } else { State::AwaitingAck };
        in_state(&watching, held).await;
        let acknowledged = metric(&watching, PUBLISHED, &[]).await;
        tokio::time::sleep(OUTAGE).await;
        let later = metric(&watching, PUBLISHED, &[]).await;
        assert!((later - acknowledged).abs() < 1.0, "{acknowledged}, and then {later} published");
        stack.kafka.restart().await.unwrap();

        load.stop().await.unwrap();
        match cell.outcome {
            Outcome::Exits(code) => {
                let status = watching.exited(PATIENCE).await.unwrap();
                assert_eq!(status.code(), Some(i32::from(code)));
                watching = watcher.start().await.unwrap();
            }
            Outcome::Recovers => assert!(watching.exit_status().unwrap().is_none()),
            Outcome::Restarted | Outcome::NotApplicable(_) | Outcome::Open => {
                panic!("{:?} is not an outcome of this test", cell.outcome)
            }
        }
        let found = compare::converge(&mongo, &postgres, &source, PATIENCE).await.unwrap();
        assert!(found.is_equal(), "{found}");
        say(&format!("too few replicas in {:?}: {:.1} s", cell.state, begun.elapsed().as_secs_f64()));
    }
    for service in [&mut watching, &mut syncing] {
        assert!(service.exit_status().unwrap().is_none(), "both have outlived three lost brokers");
        service.terminate(PATIENCE).await.unwrap();
    }
}

async fn in_state(service: &Service, state: State) {
    until_metric(service, "cdc_state", &[("state", state.as_str())], 1.0, PATIENCE).await.unwrap();
}

/// Until the brokers refuse what asks for all replicas.
async fn until_refused(log: &Log) {
    let begun = Instant::now();
    while log.try_put(PROBE).unwrap() != Taken::TooFewReplicas {
        assert!(begun.elapsed() < PATIENCE, "the broker is still in sync");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
