//! The states and requests of both services as a collector sees them.

use std::collections::BTreeSet;
use std::time::Duration;

use cdc_devstack::compare;
use cdc_devstack::pipeline::{Deployment, Role, SOURCE_DATABASE};
use cdc_devstack::source::{COLLECTIONS, Source};
use cdc_model::faults::State;
use cdc_tests::collector::{Collector, Seen};
use cdc_tests::load::Load;
use cdc_tests::testbed::Testbed;

const SOON: Duration = Duration::from_secs(60);
/// The default `shutdown.timeout`.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(25);

/// What the life of a Watcher shows, as `name < parent: attributes`.
const WATCHER: [&str; 10] = [
    "AcquireLease < Connecting",
    "Connecting < watcher: cdc.ended_by cdc.next_state cdc.waited_for",
    "Draining < watcher: cdc.ended_by cdc.next_state cdc.waited_for",
    "IdentifySource < Connecting",
    "OpenStream < Connecting",
    "PrepareProducer < Connecting",
    "ReleaseLease < Draining",
    "SaveToken < Connecting",
    "Streaming < watcher: cdc.ended_by cdc.next_state cdc.waited_for",
    "watcher: cdc.cause",
];

/// The same of a Syncer.
const SYNCER: [&str; 9] = [
    "AcquirePartitions < Streaming",
    "CommitOffsets < Streaming",
    "ConnectDatabase < Connecting",
    "Connecting < syncer: cdc.ended_by cdc.next_state cdc.waited_for",
    "Draining < syncer: cdc.ended_by cdc.next_state cdc.waited_for",
    "JoinGroup < Connecting",
    "LeaveGroup < Draining",
    "Streaming < syncer: cdc.ended_by cdc.next_state cdc.waited_for",
    "syncer: cdc.cause",
];

/// What comes again and again, in whichever state the service is by then, or between two that are too short to be seen.
const RECURRING: [&str; 4] = ["CheckLedger", "CommitOffsets", "RenewLease", "SaveToken"];

/// What a life may show besides: states that it otherwise passes through in no time, and what recurs in them.
fn is_usual(shape: &str, root: &str) -> bool {
    let states = State::ALL.map(State::as_str);
    let is_stay =
        |state: &str| shape == format!("{state} < {root}: cdc.ended_by cdc.next_state cdc.waited_for");
    let recurs = |(name, parent): (&str, &str)| {
        RECURRING.contains(&name) && (parent == root || states.contains(&parent))
    };
    states.into_iter().any(is_stay) || shape.split_once(" < ").is_some_and(recurs)
}

/// The spans of a service's life in one line each, without times and numbers. Those of events are of other traces.
fn shapes(seen: &[Seen], service: &str) -> BTreeSet<String> {
    let root = service.trim_start_matches("cdc-");
    let own = || seen.iter().filter(|it| it.service() == service);
    let lives: BTreeSet<_> = own().filter(|it| it.span.name == root).map(|it| &it.span.trace_id).collect();
    let own = || own().filter(|it| lives.contains(&it.span.trace_id));
    let shape = |it: &Seen| {
        let parent = own().find(|other| other.span.span_id == it.span.parent_span_id);
        let mut text = it.span.name.clone();
        if let Some(parent) = parent {
            assert_eq!(parent.span.trace_id, it.span.trace_id);
            text += &format!(" < {}", parent.span.name);
        } else if !it.span.parent_span_id.is_empty() {
            text += " < one that never came";
        }
        let numbers = ["cdc.short_stays.", "cdc.short_requests.", "cdc.left_out."];
        let keys = it.attributes.keys().map(String::as_str);
        let keys: Vec<&str> =
            keys.filter(|key| !numbers.iter().any(|number| key.starts_with(number))).collect();
        if !keys.is_empty() {
            text += &format!(": {}", keys.join(" "));
        }
        text
    };
    own().map(shape).collect()
}

fn check_life(seen: &[Seen], service: &str, always: &[&str]) {
    let shapes = shapes(seen, service);
    let missing: Vec<_> = always.iter().filter(|shape| !shapes.contains(**shape)).collect();
    assert!(missing.is_empty(), "{service} lacks {missing:#?} in {shapes:#?}");
    let root = service.trim_start_matches("cdc-");
    let known = |shape: &str| always.contains(&shape) || is_usual(shape, root);
    let unknown: Vec<_> = shapes.iter().filter(|shape| !known(shape)).collect();
    assert!(unknown.is_empty(), "{service} shows what is on no list: {unknown:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_life_of_both_services_is_seen_as_their_states_and_requests() {
    let _turn = crate::TURN.lock().await;
    let Testbed { stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let collector = Collector::start().unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())];
    let deploy = |role: Role| {
        Deployment::over(&source, role, role.name(), stack.folder(), &endpoints, &settings).unwrap()
    };
    let (watcher, syncer) = (deploy(Role::Watcher), deploy(Role::Syncer));
    let mut watching = watcher.start().await.unwrap();
    let mut syncing = syncer.start().await.unwrap();
    let load = Load::start(&mongo, &source, 12, 1, 100);
    tokio::time::sleep(Duration::from_secs(3)).await;
    load.stop().await.unwrap();
    let comparison = compare::converge(&mongo, &postgres, &source, SOON).await.unwrap();
    assert!(comparison.is_equal() && comparison.is_of_something(), "{comparison}");
    assert_eq!(watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));
    assert_eq!(syncing.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));

    // A drain sends the last span before the process ends.
    let seen = collector.seen();
    check_life(&seen, "cdc-watcher", &WATCHER);
    check_life(&seen, "cdc-syncer", &SYNCER);
    let mut topics = source.topics();
    topics.sort();
    for (service, instance) in [("cdc-watcher", Role::Watcher.name()), ("cdc-syncer", Role::Syncer.name())] {
        let one = seen.iter().find(|it| it.service() == service).unwrap();
        assert_eq!(one.resource["service.instance.id"], instance);
        assert_eq!(one.resource["cdc.topics"], topics.join(","));
        assert!(one.resource.contains_key("service.version"));
    }
    let streaming = seen.iter().find(|it| it.service() == "cdc-watcher" && it.span.name == "Streaming");
    let [ended_by, waited_for] =
        ["cdc.ended_by", "cdc.waited_for"].map(|key| streaming.unwrap().attribute(key));
    assert_eq!((ended_by, waited_for), (Some("Signal Drain"), Some("event")));

    // Lines of the log lead to their spans.
    let spans: BTreeSet<String> = seen.iter().map(|it| hexadecimal(&it.span.span_id)).collect();
    for log in [watcher.log(), syncer.log()] {
        let text = std::fs::read_to_string(log).unwrap();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let named: Vec<String> =
            lines.filter_map(|line| line.get("span_id")?.as_str().map(str::to_owned)).collect();
        assert!(!named.is_empty(), "{text}");
        assert!(named.iter().all(|span| spans.contains(span)), "{named:?} in {spans:?}");
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The names of a service's spans that began in a life, in the order in which they began.
fn story<'s>(seen: &'s [Seen], service: &str) -> Vec<&'s Seen> {
    let mut own: Vec<_> = seen.iter().filter(|it| it.service() == service).collect();
    own.sort_by_key(|it| it.span.start_time_unix_nano);
    own
}

/// A kill leaves no end, a rewind shows why the stream is read again and how.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_and_a_rewind_appear_as_what_they_are() {
    let _turn = crate::TURN.lock().await;
    let Testbed { mut stack, endpoints, mongo, postgres } = Testbed::start().await.unwrap();
    let collector = Collector::start().unwrap();
    let source = Source::new(SOURCE_DATABASE, &COLLECTIONS);
    postgres.batch_execute(&source.tables_sql()).await.unwrap();
    let settings =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()), ("CDC__KAFKA__DELIVERY_TIMEOUT", "2s")];
    let watcher =
        Deployment::over(&source, Role::Watcher, "watcher", stack.folder(), &endpoints, &settings).unwrap();
    let mut watching = watcher.start().await.unwrap();
    let has = |seen: &[Seen], name: &str| seen.iter().any(|it| it.span.name == name);
    collector.until(SOON, |seen| has(seen, "Connecting")).await.unwrap();
    watching.kill().await.unwrap();

    let killed = collector.seen();
    assert!(!has(&killed, "watcher") && !has(&killed, "Draining"), "nobody told of an end");
    let mut watching = watcher.start().await.unwrap();
    let load = Load::start(&mongo, &source, 13, 1, 50);
    collector.until(SOON, |seen| seen.len() > killed.len() && has(seen, "SaveToken")).await.unwrap();

    // Messages that no broker takes time out: everything from the first of them on is read again.
    stack.kafka.pause().unwrap();
    let failed = |it: &Seen| it.attribute("cdc.ended_by") == Some("DeliveryFailed");
    collector.until(SOON, |seen| seen.iter().any(failed)).await.unwrap();
    stack.kafka.resume().unwrap();
    let again = |seen: &[Seen]| {
        let story = story(seen, "cdc-watcher");
        let rewound = story.iter().position(|it| failed(it));
        rewound.is_some_and(|at| story[at..].iter().any(|it| it.span.name == "OpenStream"))
    };
    collector.until(SOON, again).await.unwrap();
    load.stop().await.unwrap();
    assert_eq!(watching.terminate(SHUTDOWN_TIMEOUT).await.unwrap().code(), Some(0));

    let seen = collector.seen();
    let whole: Vec<_> = seen.iter().filter(|it| it.span.name == "watcher").collect();
    let first = whole.iter().find(|it| it.span.links.is_empty()).unwrap();
    assert!(
        killed.iter().all(|it| it.span.trace_id != first.span.trace_id),
        "the second life begins a trace of its own, and goes on from none"
    );
    let story = story(&seen, "cdc-watcher");
    let rewound = story.iter().position(|it| failed(it)).unwrap();
    for (name, why) in
        [("BackOff Reconnect", "the wait"), ("PrepareProducer", "the client"), ("OpenStream", "the stream")]
    {
        assert!(story[rewound..].iter().any(|it| it.span.name == name), "{why} of the rewind is missing");
    }
    let orphans = killed.iter().filter(|it| it.span.name == "Connecting").count();
    assert_eq!(orphans, 1, "what the first life had finished is there, without its minute");
}
