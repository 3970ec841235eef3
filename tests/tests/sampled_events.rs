//! Sampled events, from the change stream to the commit.
//!
//! | variable | default | |
//! |---|---|---|
//! | `CDC_TRACED_EVENTS` | 20,000 | changes that pass through both services |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bson::{DateTime, Document, doc, oid::ObjectId};
use cdc_devstack::pipeline::{Deployment, HEALTHY_WITHIN, Role, SOURCE_DATABASE};
use cdc_devstack::source::{PLAYERS, Source};
use cdc_devstack::workload::Writer;
use cdc_devstack::{Service, compare};
use cdc_tests::collector::{Collector, Seen};
use cdc_tests::testbed::Testbed;
use cdc_tests::topic;
use cdc_tests::waiting::until_number;
use rdkafka::Message as _;
use xxhash_rust::xxh3::xxh3_64;

/// The default `tracing.sample_ratio`.
const RATIO: f64 = 0.01;
const EVENTS: u32 = 20_000;
/// Of so many documents an import makes three quarters.
const IMPORTED: (u32, u32) = (3, 4);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
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

/// The span of this id.
fn find<'a>(seen: &'a [Seen], id: &[u8]) -> Option<&'a Seen> {
    seen.iter().find(|it| it.span.span_id == id)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The spans of one trace, those of the Watcher first, in the order of time: `service: name < parent`, the names of their
/// attributes and the number of their links.
fn shape(seen: &[Seen], trace: &[u8]) -> Vec<String> {
    let mut own: Vec<&Seen> = seen.iter().filter(|it| it.span.trace_id == trace).collect();
    // The record's time stamp, where the Syncer's part begins, counts milliseconds: no order between the services.
    own.sort_by_key(|it| {
        let (start, end) = (it.span.start_time_unix_nano, it.span.end_time_unix_nano);
        (it.service() == "cdc-syncer", start, std::cmp::Reverse(end), it.span.name.clone())
    });
    own.iter()
        .map(|it| {
            let mut text = format!("{}: {}", it.service(), it.span.name);
            match find(seen, &it.span.parent_span_id) {
                Some(parent) => text += &format!(" < {}", parent.span.name),
                None if !it.span.parent_span_id.is_empty() => text += " < one that never came",
                None => {}
            }
            let keys: Vec<&str> = it.attributes.keys().map(String::as_str).collect();
            if !keys.is_empty() {
                text += &format!(" [{}]", keys.join(" "));
            }
            if !it.span.links.is_empty() {
                text += &format!(" ~ {}", it.span.links.len());
            }
            text
        })
        .collect()
}

/// One document from the change stream to the commit.
const ONE_DOCUMENT: [&str; 10] = [
    "cdc-watcher: change [cdc.position db.collection.name db.namespace db.operation.name db.system.name]",
    "cdc-watcher: read < change",
    "cdc-watcher: encode < change",
    "cdc-watcher: hand_over < change",
    "cdc-watcher: send cdc.game_db.players < change [messaging.destination.name messaging.destination.partition.id \
     messaging.kafka.offset messaging.operation.name messaging.operation.type messaging.system]",
    "cdc-syncer: process cdc.game_db.players < send cdc.game_db.players [cdc.outcome messaging.destination.name \
     messaging.destination.partition.id messaging.kafka.offset messaging.operation.name messaging.operation.type \
     messaging.system] ~ 1",
    "cdc-syncer: fetch < process cdc.game_db.players",
    "cdc-syncer: queue < process cdc.game_db.players",
    "cdc-syncer: prepare < process cdc.game_db.players",
    "cdc-syncer: write < process cdc.game_db.players",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_services_follow_the_same_events_and_the_share_is_right() {
    let _turn = crate::TURN.lock().await;
    let events = std::env::var("CDC_TRACED_EVENTS").map_or(EVENTS, |text| text.parse().unwrap());
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let collector = Collector::start().unwrap();
    let settings = [("CDC__TRACING__ENDPOINT", collector.endpoint())];
    let deploy = |role: Role| {
        Deployment::over(&source, role, role.name(), stack.folder(), &endpoints, &settings).unwrap()
    };
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
    let mut sampled = BTreeSet::new();
    for message in &read {
        let headers = topic::headers_of(message);
        let choice = choice(&headers["cdc-position"]);
        let Some(parent) = headers.get("traceparent") else {
            assert!(choice <= threshold, "{headers:?} is to be sampled");
            continue;
        };
        assert!(choice >= threshold, "{headers:?} is not to be sampled");
        let [version, trace, span, flags] = parent.split('-').collect::<Vec<_>>()[..] else {
            panic!("{parent}")
        };
        assert_eq!((version, trace.len(), span.len()), ("00", 32, 16), "{parent}");
        // Whoever reads on is told that this span is exported.
        assert_eq!(flags, "01", "{parent}");
        assert!(trace.ends_with(&format!("{choice:014x}")), "{parent}");
        sampled.insert((trace.to_owned(), span.to_owned()));
    }
    let count = sampled.len() as u64;
    // Four standard deviations.
    let expected = read.len() as f64 * RATIO;
    assert!((count as f64 - expected).abs() < 4.0 * expected.sqrt(), "{count} of {}", read.len());

    let told = (stages(&watching, WATCHER_STAGES).await, stages(&syncing, SYNCER_STAGES).await);
    println!("{count} of {} events: {told:.3?}", read.len());
    for (stage, (passed, _)) in told.0.iter().chain(&told.1) {
        assert_eq!(*passed, count, "{stage}");
    }
    let whole = syncing.metrics().await.unwrap().value("cdc_end_to_end_seconds_count", &[]);
    assert!(whole.is_some_and(|batches| batches > 0.0));
    assert_eq!(watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));
    assert_eq!(syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));

    let seen = collector.seen();
    let ids = |it: &Seen| (hexadecimal(&it.span.trace_id), hexadecimal(&it.span.span_id));
    let sent: BTreeSet<_> = seen.iter().filter(|it| it.span.name.starts_with("send ")).map(ids).collect();
    assert_eq!(sent, sampled, "the Watcher's spans are those that the messages name");
    let below = |it: &&Seen| it.span.name.starts_with("process ") && !it.span.parent_span_id.is_empty();
    let processed: BTreeSet<_> = seen
        .iter()
        .filter(below)
        .map(|it| (hexadecimal(&it.span.trace_id), hexadecimal(&it.span.parent_span_id)))
        .collect();
    assert_eq!(processed, sampled, "the Syncer's hang below them");
    let mut links = 0;
    for it in seen.iter().filter(|it| it.span.name.starts_with("process ")) {
        for link in &it.span.links {
            let linked = find(&seen, &link.span_id).unwrap_or_else(|| panic!("{it:?} links to nothing"));
            assert_eq!(linked.span.trace_id, link.trace_id);
            links += 1;
        }
    }
    // Each event leads to its batch, and each batch to its events.
    assert_eq!(links, 2 * count);
    let one = seen.iter().find(|it| it.span.name == "change").unwrap();
    assert_eq!(shape(&seen, &one.span.trace_id), ONE_DOCUMENT);
}

/// What is sent twice is one trace with two sends. A context that the application has put into its document is the parent
/// of the event's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_one_trace_and_an_application_s_span_is_the_parent() {
    const THEIRS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const KILLS_MAX: usize = 10;
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let source = Source::new(SOURCE_DATABASE, &PLAYERS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let collector = Collector::start().unwrap();
    let common = [("CDC__TRACING__ENDPOINT", collector.endpoint())];
    let own = [("CDC__TRACING__SAMPLE_RATIO", "1"), ("CDC__TRACING__CONTEXT_FIELD", "trace")];
    let deploy = |role: Role, settings: &[(&str, &str)]| {
        Deployment::over(&source, role, role.name(), stack.folder(), &endpoints, settings).unwrap()
    };
    let watcher = deploy(Role::Watcher, &[common[0], own[0], own[1]]);
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = deploy(Role::Syncer, &common).start().await.unwrap();

    // Killed until a message was sent twice.
    let mut kills = 0;
    loop {
        let writing =
            Writer::new(&mongo, &source, 1, kills * 2_000..(kills + 1) * 2_000, 20).import().await.unwrap();
        assert!(writing.total() > 0);
        watching.kill().await.unwrap();
        watching = watcher.start().await.unwrap();
        compare::converge(&mongo, &postgres, &source, Duration::from_secs(60)).await.unwrap();
        let read = topic::read_raw(&endpoints.kafka_brokers, &source.topics()[0], &BTreeMap::new()).unwrap();
        let positions: BTreeSet<_> =
            read.iter().map(|it| topic::headers_of(it)["cdc-position"].clone()).collect();
        if positions.len() < read.len() {
            break;
        }
        kills += 1;
        assert!(kills < KILLS_MAX as u32, "no kill has made a replay");
    }
    let players = mongo.database(SOURCE_DATABASE).collection::<Document>("players");
    let document =
        doc! { "_id": ObjectId::new(), "username": "traced", "created_at": DateTime::now(), "trace": THEIRS };
    players.insert_one(document).await.unwrap();
    let is_theirs = |it: &Seen| hexadecimal(&it.span.trace_id) == THEIRS[3..35];
    let within = Duration::from_secs(30);
    collector
        .until(within, |seen| {
            seen.iter().any(|it| is_theirs(it) && it.span.name == "process cdc.game_db.players")
        })
        .await
        .unwrap();
    assert_eq!(watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));
    assert_eq!(syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));

    let seen = collector.seen();
    let change = seen.iter().find(|it| is_theirs(it) && it.span.name == "change").unwrap();
    assert_eq!(hexadecimal(&change.span.parent_span_id), THEIRS[36..52]);

    // The first send's span has gone with the process that was killed; its `process` span is there.
    let mut processed: BTreeMap<&[u8], Vec<&Seen>> = BTreeMap::new();
    let below = |it: &&Seen| it.span.name.starts_with("process ") && !it.span.parent_span_id.is_empty();
    for it in seen.iter().filter(below) {
        processed.entry(&it.span.trace_id).or_default().push(it);
    }
    let twice: Vec<_> = processed.values().filter(|spans| spans.len() > 1).collect();
    assert!(!twice.is_empty());
    let outcomes: BTreeSet<&str> =
        twice.iter().flat_map(|spans| spans.iter()).filter_map(|it| it.attribute("cdc.outcome")).collect();
    assert!(
        outcomes.iter().any(|outcome| matches!(*outcome, "fenced" | "merged" | "written_or_fenced")),
        "{outcomes:?}"
    );
    for spans in twice {
        let parents: BTreeSet<&[u8]> = spans.iter().map(|it| it.span.parent_span_id.as_slice()).collect();
        assert_eq!(parents.len(), spans.len(), "each was sent by itself");
    }
}

/// What waits for another row, what is bad, and what comes back from the dead letters is seen as that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_falls_and_is_replayed_is_seen_as_that() {
    const TOPIC: &str = "cdc.game_db.orders";
    const TABLE: &str = "CREATE TABLE orders (id text PRIMARY KEY, name text UNIQUE,
                         n int CONSTRAINT small CHECK (n < 1000))";
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    postgres.batch_execute(TABLE).await.unwrap();
    let collector = Collector::start().unwrap();
    let common = [("CDC__TRACING__ENDPOINT", collector.endpoint()), ("CDC__KAFKA__TOPIC", TOPIC)];
    let own = [("CDC__TRACING__SAMPLE_RATIO", "1"), ("CDC__MONGODB__COLLECTION", "orders")];
    let deploy = |role: Role, settings: &[(&str, &str)]| {
        Deployment::new(role, role.name(), stack.folder(), &endpoints, settings).unwrap()
    };
    let (watcher, syncer) = (deploy(Role::Watcher, &[common, own].concat()), deploy(Role::Syncer, &common));
    let (mut watching, mut syncing) = (watcher.start().await.unwrap(), syncer.spawn().unwrap());

    let orders = mongo.database(SOURCE_DATABASE).collection::<Document>("orders");
    let rows = async |sql: &str, expected| until_number(&postgres, sql, expected).await;
    orders.insert_one(doc! { "_id": "holds", "name": "wanted", "n": 1 }).await.unwrap();
    rows("SELECT count(*) FROM orders", 1).await;
    orders.insert_one(doc! { "_id": "waits", "name": "wanted", "n": 2 }).await.unwrap();
    rows("SELECT count(*) FROM cdc.parked", 1).await;
    orders.insert_one(doc! { "_id": "falls", "name": "another", "n": 2_000 }).await.unwrap();
    let soon = Duration::from_secs(60);
    collector.until(soon, |seen| seen.iter().any(|it| it.span.name == "dead_letter")).await.unwrap();
    orders.update_one(doc! { "_id": "holds" }, doc! { "$set": { "name": "given up" } }).await.unwrap();
    rows("SELECT count(*) FROM orders WHERE id = 'waits'", 1).await;
    postgres.batch_execute("ALTER TABLE orders DROP CONSTRAINT small").await.unwrap();
    assert!(syncer.run(&["dead-letters", "replay"]).await.unwrap().status.success());
    rows("SELECT count(*) FROM orders WHERE id = 'falls'", 1).await;
    assert_eq!(watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));
    assert_eq!(syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));

    let seen = collector.seen();
    let mut traces: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in topic::read_raw(&endpoints.kafka_brokers, TOPIC, &BTreeMap::new()).unwrap() {
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        let trace = topic::headers_of(&message)["traceparent"][3..35].to_owned();
        let known = traces.entry(key).or_default();
        if !known.contains(&trace) {
            known.push(trace);
        }
    }
    // Of one event what the Syncer tells, in the order of time, each below the Watcher's `send`.
    let told = |key: &str, event: usize| -> Vec<String> {
        let trace = &traces[&format!("\"{key}\"")][event];
        let own = |it: &&Seen| hexadecimal(&it.span.trace_id) == *trace;
        let send = seen.iter().filter(own).find(|it| it.span.name.starts_with("send ")).unwrap();
        let below = |it: &&Seen| it.service() == "cdc-syncer" && it.span.parent_span_id == send.span.span_id;
        let mut spans: Vec<&Seen> = seen.iter().filter(own).filter(below).collect();
        spans.sort_by_key(|it| it.span.end_time_unix_nano);
        let words = spans.iter().map(|it| {
            let said = ["cdc.outcome", "cdc.reason", "cdc.replayed"].map(|key| it.attribute(key));
            let name = it.span.name.split(' ').next().unwrap();
            [Some(name)].into_iter().chain(said).flatten().collect::<Vec<_>>().join(" ")
        });
        words.collect()
    };
    assert_eq!(told("holds", 0), ["process written"]);
    assert_eq!(told("waits", 0), ["process parked"]);
    assert_eq!(told("falls", 0), ["dead_letter check_violation", "process written true"]);
    assert_eq!(told("holds", 1), ["process written"]);

    // Alone in its batch it was not written, so that the batch alone tells of the try.
    let sent_of = |key: &str| {
        let trace = &traces[&format!("\"{key}\"")][0];
        seen.iter().find(|it| hexadecimal(&it.span.trace_id) == *trace && it.span.name.starts_with("send "))
    };
    for (key, code) in [("waits", "23505"), ("falls", "23514")] {
        let sent = sent_of(key).unwrap();
        let tries = |it: &&Seen| {
            it.failure().is_some() && it.span.links.iter().any(|link| link.span_id == sent.span.span_id)
        };
        let tried = seen.iter().find(tries).unwrap_or_else(|| panic!("no failed batch leads to {key}"));
        assert_eq!(tried.attribute("db.response.status_code"), Some(code), "{tried:?}");
    }
}
