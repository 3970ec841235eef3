//! The Watcher's executor in a scripted world, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use cdc_machine::{Cause, Dependency, Effects, Fault, Machine, Retry, Signal};
use cdc_watcher::{Config, Retries, Watcher};
use tokio::runtime::Builder;
use tokio::sync::watch;

use super::{Input, WatcherService};
use crate::scripted::{Reporting, World, assert_waits, without_end};
use crate::{Ended, Health, Jitter, Shutdown};
use cdc_ports::{Failure, ProducerReport, ReportSink};

fn service(config: Config, world: &World, sink: &Arc<ReportSink>) -> WatcherService<Reporting> {
    observed(config, world, sink).0
}

fn observed(
    config: Config,
    world: &World,
    sink: &Arc<ReportSink>,
) -> (WatcherService<Reporting>, watch::Receiver<Health>) {
    let producer = Reporting { world: world.clone(), sink: Arc::clone(sink) };
    let jitter = Jitter::seeded(24);
    let (mut service, health) = WatcherService::new(
        config,
        "db".to_owned(),
        world.clone(),
        producer,
        Arc::clone(sink),
        world.clone(),
        jitter,
    );
    service.clock = world.clock.clone();
    (service, health)
}

/// Runs the service to its end in the scripted world.
fn run(config: Config, world: &World, shutdown: Shutdown) -> Ended {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let sink = Arc::new(ReportSink::default());
        service(config, world, &sink).run(shutdown).await
    })
}

/// Whoever asks, and the service.
fn signals() -> (Shutdown, Shutdown) {
    let shutdown = Shutdown::default();
    (shutdown.clone(), shutdown)
}

/// Each call, the dependency that it asks, and the waits in front of its retries.
const CALLS: [(&str, Dependency, &[u64]); 6] = [
    ("lease", Dependency::Redis, &[1, 2, 4]),
    ("open", Dependency::MongoDb, &[1, 2, 4, 8, 16]),
    ("next", Dependency::MongoDb, &[1, 2, 4, 8, 16]),
    ("prepare", Dependency::Kafka, &[1, 2, 4, 8, 16]),
    ("publish", Dependency::Kafka, &[1, 2, 4, 8, 16]),
    ("save", Dependency::Redis, &[1, 2, 4]),
];

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
///
/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn each_call_is_tried_again_on_schedule_and_then_blamed() {
    for (call, dependency, waits) in CALLS {
        let world = World::with_events(1).failing(call, Fault::Transient);
        let (_sender, receiver) = signals();
        let end = run(Config::default(), &world, receiver);
        let cause = end.cause;
        assert_waits(call, &world.moments(call), waits);
        assert!(end.last_failure.is_some_and(|failure| failure.contains("as scripted")), "{call}");
        assert_eq!((cause, cause.exit_code()), (Cause::Unavailable(dependency), 69), "{call}");
    }
}

#[test]
fn a_standby_says_whom_it_waits_for_until_the_lease_is_its_own() {
    let (sender, receiver) = signals();
    let world = World::with_events(1)
        .answering("lease", &[Err(Fault::Fenced), Err(Fault::Fenced)])
        .stopping_at("renew", 2, sender);
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let reasons = runtime.block_on(async {
        let sink = Arc::new(ReportSink::default());
        let (service, mut health) = observed(Config::default(), &world, &sink);
        let following = tokio::spawn(async move {
            let mut reasons = vec![health.borrow_and_update().reason.clone()];
            while health.changed().await.is_ok() {
                reasons.push(health.borrow_and_update().reason.clone());
            }
            reasons
        });
        assert_eq!(service.run(receiver).await.cause, Cause::Aborted);
        following.await.unwrap()
    });
    let standby = reasons.iter().position(|reason| reason == "standby: vm2 holds the lease");
    let after = reasons.get(standby.unwrap() + 1..).unwrap();
    assert!(!after.is_empty() && after.iter().all(|reason| !reason.contains("standby")), "{reasons:?}");
}

/// Feature: cdc-pipeline, Property 26: Error Type Classification
/// Validates: Requirements 12.5
#[test]
fn what_no_retry_mends_is_asked_once() {
    for (call, dependency, _) in CALLS {
        for (fault, cause, exit) in [
            (Fault::Auth, Cause::Refused(dependency), 77),
            (Fault::Fatal, Cause::Failed(dependency), 78),
            (Fault::Bug, Cause::ADAPTER_BUG, 70),
        ] {
            let world = World::with_events(1).failing(call, fault);
            let (_sender, receiver) = signals();
            let ended = run(Config::default(), &world, receiver).cause;
            assert_eq!((ended, ended.exit_code()), (cause, exit), "{call}");
            let tries = world.moments(call).len();
            // A drain saves what is settled; where saving is what fails, that is the end.
            assert_eq!(tries, 1, "{call}");
        }
    }
}

/// What answers may still become what the configuration names, so it is asked on the schedule; what it said last
/// decides that no restart mends it.
///
/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn what_does_not_fit_yet_is_tried_again_on_schedule_and_is_then_the_configuration() {
    for (call, dependency, waits) in CALLS {
        // A message is refused by its topic, which is made or looked at before.
        if call != "publish" {
            let world = World::with_events(1).failing(call, Fault::Unfit);
            let (_sender, receiver) = signals();
            let cause = run(Config::default(), &world, receiver).cause;
            assert_waits(call, &world.moments(call), waits);
            assert_eq!((cause, cause.exit_code()), (Cause::Unsupported(dependency), 78), "{call}");
        }
    }
}

/// The last answer decides.
#[test]
fn a_server_that_is_wrong_first_and_away_in_the_end_is_away() {
    const WRONG: Result<(), Fault> = Err(Fault::Unfit);
    let world =
        World::with_events(1).failing("open", Fault::Transient).answering("open", &[WRONG, WRONG, WRONG]);
    let (_sender, receiver) = signals();
    assert_eq!(run(Config::default(), &world, receiver).cause, Cause::Unavailable(Dependency::MongoDb));
}

#[test]
fn a_token_file_that_fails_is_local_io() {
    for call in ["lease", "save"] {
        let world = World::with_events(1).failing(call, Fault::Transient);
        let (_sender, receiver) = signals();
        let cause =
            run(Config { token_store: Dependency::TokenFile, ..Config::default() }, &world, receiver).cause;
        assert_eq!((cause, cause.exit_code()), (Cause::Unavailable(Dependency::TokenFile), 74), "{call}");
    }
}

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
#[test]
fn without_a_limit_it_goes_on_at_sixteen_seconds() {
    const ATTEMPTS: usize = 24;
    let retries =
        Retries { mongodb: Retry::UNLIMITED, kafka: Retry::UNLIMITED, token_store: Retry::UNLIMITED };
    for (call, _, _) in CALLS {
        let (sender, receiver) = signals();
        let world = World::with_events(1).failing(call, Fault::Transient).stopping_at(call, ATTEMPTS, sender);
        let cause = run(Config { retries, ..Config::default() }, &world, receiver).cause;
        assert_eq!(cause, Cause::Aborted, "{call}");
        assert_waits(call, &world.moments(call), &without_end(ATTEMPTS));
    }
}

/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn progress_starts_the_schedule_over() {
    const DOWN: Result<(), Fault> = Err(Fault::Transient);
    let world = World::with_events(1)
        .answering("publish", &[DOWN, DOWN, DOWN, Ok(())])
        .answering("save", &[DOWN, DOWN, Ok(())])
        .answering("next", &[DOWN, Ok(()), DOWN, DOWN])
        .answering("open", &[DOWN]);
    let (sender, receiver) = signals();
    let world = world.stopping_at("renew", 20, sender);
    assert_eq!(run(Config::default(), &world, receiver).cause, Cause::Aborted);
    // In turn: the stream did not open, broke, was read, broke twice; between these, deliveries failed.
    let opened = world.moments("open");
    assert!(opened.len() >= 7, "{opened:?}");
    let longest = opened.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < Duration::from_secs(5), "no more than three failures in a row: {opened:?}");
    assert_eq!(world.moments("publish").len(), 4);
    assert_waits("save", &world.moments("save"), &[1, 2]);
}

/// A machine that orders nothing: the executor does nothing, whatever happens around it.
#[test]
fn with_a_machine_that_orders_nothing_nothing_is_done() {
    let world = World::with_events(5);
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let config = Config::default();
        let mut machine = Watcher::new();
        // One that has stopped takes every input and orders nothing.
        machine.step(&config, Input::Signal(Signal::Abort), &mut Effects::new());
        let sink = Arc::new(ReportSink::default());
        sink.push(ProducerReport::Delivered(cdc_machine::SeqNo(0)));
        sink.push(ProducerReport::Lost(Failure::new(Fault::Transient, "kafka_publish", "scripted")));
        let (sender, receiver) = signals();
        sender.ask(Signal::Drain);
        let driven = service(config, &world, &sink).drive(machine, receiver);
        // Several ticks of the runtime's own clock.
        let ended = tokio::time::timeout(crate::TICK * 3, driven).await;
        assert!(ended.is_err(), "it ended by itself: {ended:?}");
    });
    assert_eq!(world.calls(), [""; 0]);
}
