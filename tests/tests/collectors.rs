//! A collector that is frozen, and collectors behind TLS: spans may be lost, and nothing else is.
//!
//! | variable | default | |
//! |---|---|---|
//! | `CDC_FROZEN_COLLECTOR_SECONDS` | 2 | how long the collector answers, is frozen, and answers again |

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use bson::{DateTime, Document, doc, oid::ObjectId};
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE};
use cdc_devstack::source::{COLLECTIONS, PLAYERS, Source};
use cdc_devstack::{Service, compare};
use cdc_tests::authority::Authority;
use cdc_tests::collector::Collector;
use cdc_tests::load::Load;
use cdc_tests::testbed::Testbed;

const SOON: Duration = Duration::from_secs(60);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const MIB: u64 = 1024 * 1024;
const LOST: &str = "spans are lost; nothing else is";

/// What a service says of its spans: how many were sent, and lost.
async fn spans(service: &Service) -> (f64, f64) {
    let samples = service.metrics().await.unwrap();
    let of = |outcome| samples.value("cdc_trace_spans_total", &[("outcome", outcome)]).unwrap_or_default();
    (of("sent"), of("unsent") + of("queue_full"))
}

/// Both services under load, looked at for a while.
struct Watched<'a> {
    services: [&'a Service; 2],
    load: &'a Load,
}

impl Watched<'_> {
    /// Prints how much went through and what the services held, until so long has passed and `is_over` holds.
    async fn look(&self, what: &str, for_at_least: Duration, is_over: impl AsyncFn() -> bool) {
        let written = async || {
            let samples = self.services[1].metrics().await.unwrap();
            samples.value("syncer_messages_written_total", &[]).unwrap_or_default()
        };
        let (begun, changes, rows) = (Instant::now(), self.load.operations(), written().await);
        let mut most = [0; 2];
        while begun.elapsed() < for_at_least || !is_over().await {
            assert!(begun.elapsed() < for_at_least + SOON, "{what} is not over");
            for (most, service) in most.iter_mut().zip(self.services) {
                *most = service.memory_bytes().unwrap().max(*most);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let took = begun.elapsed().as_secs_f64();
        let changes = (self.load.operations() - changes) as f64 / took;
        let rows = (written().await - rows) / took;
        let [watcher, syncer] = most.map(|bytes| bytes / MIB);
        println!(
            "| {what} | {took:.0} | {changes:.0} | {rows:.0} | {watcher} MiB | {syncer} MiB | {:?} | {:?} |",
            spans(self.services[0]).await,
            spans(self.services[1]).await
        );
    }
}

/// Only spans are lost, each of them is counted, and the end comes in its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_collector_costs_spans_and_nothing_else() {
    let _turn = crate::TURN.lock().await;
    let seconds = env::var("CDC_FROZEN_COLLECTOR_SECONDS").map_or(2, |text| text.parse().unwrap());
    let each = Duration::from_secs(seconds);
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let collector = Collector::start().unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let common = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ("CDC__SHUTDOWN__TIMEOUT", "20s"),
    ];
    // So many that some are lost soon.
    let own = [common[0], common[1], common[2], ("CDC__TRACING__SAMPLE_RATIO", "0.2")];
    let deploy = |role: Role, settings: &[(&str, &str)]| {
        Deployment::over(&source, role, role.name(), stack.folder(), &endpoints, settings).unwrap()
    };
    let (watcher, syncer) = (deploy(Role::Watcher, &own), deploy(Role::Syncer, &common));
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();
    let load = Load::start(&mongo, &source, 14, 2, 200);
    collector.until(SOON, |seen| seen.iter().any(|it| it.service() == "cdc-syncer")).await.unwrap();
    println!("| collector | s | changes/s | rows/s | watcher | syncer | spans sent, lost | the same |");
    let watched = Watched { services: [&watching, &syncing], load: &load };
    watched.look("answers", each, async || true).await;
    collector.freeze();
    let have_lost = async || spans(&watching).await.1 > 0.0 && spans(&syncing).await.1 > 0.0;
    watched.look("is frozen", each, have_lost).await;
    let before = (spans(&watching).await.0, spans(&syncing).await.0);
    collector.thaw();
    let is_sent_again = async || spans(&watching).await.0 > before.0 && spans(&syncing).await.0 > before.1;
    watched.look("answers again", each, is_sent_again).await;
    collector.freeze();
    load.stop().await.unwrap();
    let comparison = compare::converge(&mongo, &postgres, &source, SOON).await.unwrap();
    assert!(comparison.is_equal() && comparison.is_of_something(), "{comparison}");
    for (service, log) in [(&mut watching, watcher.log()), (&mut syncing, syncer.log())] {
        let begun = Instant::now();
        assert_eq!(service.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));
        println!("ended {:.1} s after SIGTERM", begun.elapsed().as_secs_f64());
        let text = fs::read_to_string(log).unwrap();
        assert!(text.contains(LOST), "{text}");
        assert!(!text.contains("stopped by the watchdog"), "{text}");
    }
}

/// Spans go to a collector whose certificate is of the authority that was named, and for the name that was asked for; to
/// any other none go, and the change gets through all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_go_over_tls_to_the_collector_that_is_meant_and_to_no_other() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let (ours, theirs) = (Authority::new().unwrap(), Authority::new().unwrap());
    let trusted = stack.folder().join("collector-ca.pem");
    fs::write(&trusted, ours.certificate()).unwrap();
    let meant = Collector::start_with_tls(&ours.certify("localhost").unwrap()).unwrap();
    let impostor = Collector::start_with_tls(&theirs.certify("localhost").unwrap()).unwrap();
    let another = Collector::start_with_tls(&ours.certify("another.example").unwrap()).unwrap();
    let deploy = |role: Role, collector: &Collector| {
        let protocol = match role {
            Role::Watcher => "grpc",
            Role::Syncer => "http/protobuf",
        };
        let settings = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", trusted.to_str().unwrap()),
        ];
        Deployment::over(&source, role, role.name(), stack.folder(), &endpoints, &settings).unwrap()
    };
    let players = mongo.database(SOURCE_DATABASE).collection::<Document>("players");
    for (for_watcher, for_syncer) in [(&meant, &meant), (&impostor, &another), (&another, &impostor)] {
        let (watcher, syncer) = (deploy(Role::Watcher, for_watcher), deploy(Role::Syncer, for_syncer));
        let (mut watching, mut syncing) = (watcher.start().await.unwrap(), syncer.start().await.unwrap());
        let name = ObjectId::new().to_hex();
        let player = doc! { "_id": ObjectId::new(), "username": name, "created_at": DateTime::now() };
        players.insert_one(player).await.unwrap();
        let comparison = compare::converge(&mongo, &postgres, &source, SOON).await.unwrap();
        assert!(comparison.is_equal() && comparison.is_of_something(), "{comparison}");
        assert_eq!(watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));
        assert_eq!(syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));
        let is_meant = std::ptr::eq(for_watcher, &raw const meant);
        for log in [watcher.log(), syncer.log()] {
            let text = fs::read_to_string(&log).unwrap();
            let told: Vec<&str> = text.lines().filter(|line| line.contains(LOST)).collect();
            assert_eq!(told.is_empty(), is_meant, "{text}");
            // Once while it ran, and once at its end.
            assert!(told.len() <= 2, "{told:?}");
            assert!(told.iter().all(|line| line.contains("tracing.certificate")), "{told:?}");
            fs::remove_file(log).unwrap();
        }
    }
    for service in ["cdc-watcher", "cdc-syncer"] {
        assert!(meant.seen().iter().any(|it| it.service() == service), "{service} has sent nothing");
    }
    assert!(impostor.seen().is_empty() && another.seen().is_empty());
}
