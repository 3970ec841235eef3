//! Sampled events, from the change stream to the commit.
//!
//! | variable | default | |
//! |---|---|---|
//! | `CDC_TRACED_EVENTS` | 20,000 | changes that pass through both services |

use std::collections::BTreeMap;
use std::time::Duration;

use cdc_devstack::pipeline::{Deployment, HEALTHY_WITHIN, Role, SOURCE_DATABASE};
use cdc_devstack::source::{PLAYERS, Source};
use cdc_devstack::workload::Writer;
use cdc_devstack::{Service, compare};
use cdc_tests::testbed::Testbed;
use cdc_tests::topic;
use xxhash_rust::xxh3::xxh3_64;

/// The default `tracing.sample_ratio`.
const RATIO: f64 = 0.01;
const EVENTS: u32 = 20_000;
/// Of so many documents an import makes three quarters.
const IMPORTED: (u32, u32) = (3, 4);
const WATCHER_STAGES: [&str; 4] = ["read", "encode", "hand_over", "acknowledge"];
const SYNCER_STAGES: [&str; 4] = ["fetch", "queue", "prepare", "write"];

/// The last 56 bits of the trace id, by which an event is chosen: a hash of its position.
fn choice(position: &str) -> u64 {
    let bytes: Vec<u8> = (0..position.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&position[at..at + 2], 16).unwrap())
        .collect();
    xxh3_64(&bytes) & ((1 << 56) - 1)
}

/// How many events have passed through each of the service's stages, and how long they took on average, in ms.
async fn stages(service: &Service, stages: [&'static str; 4]) -> BTreeMap<&'static str, (u64, f64)> {
    let metrics = service.metrics().await.unwrap();
    let of = |name: &str, stage| metrics.value(name, &[("stage", stage)]).unwrap_or_default();
    let told = stages.map(|stage| {
        let (count, sum) = (of("cdc_stage_seconds_count", stage), of("cdc_stage_seconds_sum", stage));
        (stage, (count as u64, sum * 1_000.0 / count.max(1.0)))
    });
    told.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_services_follow_the_same_events_and_the_share_is_right() {
    let _turn = crate::TURN.lock().await;
    let events = std::env::var("CDC_TRACED_EVENTS").map_or(EVENTS, |text| text.parse().unwrap());
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let deploy =
        |role: Role| Deployment::over(&source, role, role.name(), stack.folder(), &endpoints, &[]).unwrap();
    let (watcher, syncer) = (deploy(Role::Watcher), deploy(Role::Syncer));
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();
    syncing.healthy(HEALTHY_WITHIN).await.unwrap();

    let numbers = 0..events * IMPORTED.1 / IMPORTED.0;
    let applied = Writer::new(&mongo, &source, 1, numbers, 20).import().await.unwrap();
    let comparison = compare::converge(&mongo, &postgres, &source, Duration::from_secs(120)).await.unwrap();
    assert!(comparison.is_equal() && comparison.is_of_something(), "{comparison}");

    let topics = source.topics();
    let read = topic::read_raw(&endpoints.kafka_brokers, &topics[0], &BTreeMap::new()).unwrap();
    assert_eq!(read.len() as u64, applied.total());
    let threshold = ((1.0 - RATIO) * (1_u64 << 56) as f64) as u64;
    let mut sampled = 0_u64;
    for message in &read {
        let headers = topic::headers_of(message);
        let choice = choice(&headers["cdc-position"]);
        let Some(parent) = headers.get("traceparent") else {
            assert!(choice <= threshold, "{headers:?} is to be sampled");
            continue;
        };
        sampled += 1;
        assert!(choice >= threshold, "{headers:?} is not to be sampled");
        let [version, trace, span, flags] = parent.split('-').collect::<Vec<_>>()[..] else {
            panic!("{parent}")
        };
        assert_eq!((version, trace.len(), span.len()), ("00", 32, 16), "{parent}");
        // Nothing is exported: whoever reads on is told so.
        assert_eq!(flags, "00", "{parent}");
        assert!(trace.ends_with(&format!("{choice:014x}")), "{parent}");
    }
    // Four standard deviations.
    let expected = read.len() as f64 * RATIO;
    assert!((sampled as f64 - expected).abs() < 4.0 * expected.sqrt(), "{sampled} of {}", read.len());

    let told = (stages(&watching, WATCHER_STAGES).await, stages(&syncing, SYNCER_STAGES).await);
    println!("{sampled} of {} events: {told:.3?}", read.len());
    for (stage, (count, _)) in told.0.iter().chain(&told.1) {
        assert_eq!(*count, sampled, "{stage}");
    }
    watching.terminate(Duration::from_secs(30)).await.unwrap();
    syncing.terminate(Duration::from_secs(30)).await.unwrap();
}
