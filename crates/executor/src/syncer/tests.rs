//! The Syncer's executor in a scripted world, in virtual time.

use std::time::Duration;

use cdc_machine::{Cause, Dependency, Effects, Fault, Machine, Retry, Signal};
use cdc_syncer::{Config, HoldReason, OnBadRecord, OnTableError, Partition, Retries, Syncer};
use tokio::runtime::Builder;

use super::{BatchLog, Input, SyncerService};
use crate::scripted::{World, assert_waits, log, without_end};
use crate::{Ended, Jitter, Shutdown};
use cdc_ports::{ConsumerEvent, RecordConsumer as _, WriteCounts};

fn service(config: Config, world: &World) -> SyncerService<World, World> {
    let (mut service, _) = SyncerService::new(config, world.clone(), world.clone(), Jitter::seeded(25));
    service.clock = world.clock.clone();
    service
}

fn run(config: Config, world: &World, shutdown: Shutdown) -> Ended {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(service(config, world).run(shutdown))
}

/// Whoever asks, and the service.
fn signals() -> (Shutdown, Shutdown) {
    let shutdown = Shutdown::default();
    (shutdown.clone(), shutdown)
}

/// Each call, the dependency that it asks, and the waits in front of its retries.
const CALLS: [(&str, Dependency, &[u64]); 7] = [
    ("connect", Dependency::Postgres, &[1, 2, 4, 8, 16]),
    ("join", Dependency::Kafka, &[1, 2, 4, 8, 16]),
    ("acquire", Dependency::Postgres, &[1, 2, 4, 8, 16]),
    ("committed", Dependency::Kafka, &[1, 2, 4, 8, 16]),
    ("write", Dependency::Postgres, &[1, 2, 4]),
    ("record", Dependency::Postgres, &[1, 2, 4, 8, 16]),
    ("commit", Dependency::Kafka, &[1, 2, 4, 8, 16]),
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

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
#[test]
fn a_write_that_finds_nobody_is_tried_again_as_connections_are() {
    let world = World::with_events(1).failing("write", Fault::Unreachable);
    let (_sender, receiver) = signals();
    assert_eq!(run(Config::default(), &world, receiver).cause, Cause::Unavailable(Dependency::Postgres));
    assert_waits("write", &world.moments("write"), &[1, 2, 4, 8, 16]);
}

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
#[test]
fn a_dead_letter_is_tried_again_on_schedule() {
    let world =
        World::with_events(1).failing("write", Fault::Poison).failing("dead_letter", Fault::Transient);
    let (_sender, receiver) = signals();
    let config = Config { on_bad_record: OnBadRecord::DeadLetter, ..Config::default() };
    assert_eq!(run(config, &world, receiver).cause, Cause::Unavailable(Dependency::Kafka));
    assert_waits("dead_letter", &world.moments("dead_letter"), &[1, 2, 4, 8, 16]);
}

/// A deadlock's victim is written again at once; two that go on meeting each other wait in the end.
///
/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
#[test]
fn a_deadlock_is_tried_again_at_once() {
    let world = World::with_events(1).failing("write", Fault::RetryNow);
    let (_sender, receiver) = signals();
    assert_eq!(run(Config::default(), &world, receiver).cause, Cause::Unavailable(Dependency::Postgres));
    assert_waits("write", &world.moments("write"), &[0, 0, 4]);
}

/// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
/// Validates: Requirements 12.2
#[test]
fn what_does_not_fit_yet_is_tried_again_on_schedule_and_is_then_the_configuration() {
    for (call, dependency, waits) in CALLS {
        let world = World::with_events(1).failing(call, Fault::Unfit);
        let (_sender, receiver) = signals();
        let cause = run(Config::default(), &world, receiver).cause;
        // A database that is not there is waited for like a server that is away, whichever call meets it.
        let waits = if call == "write" { &[1, 2, 4, 8, 16] } else { waits };
        assert_waits(call, &world.moments(call), waits);
        assert_eq!((cause, cause.exit_code()), (Cause::Unsupported(dependency), 78), "{call}");
    }
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
            assert_eq!(world.moments(call).len(), 1, "{call}");
        }
    }
}

/// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
/// Validates: Requirements 1.4, 3.4, 12.1, 12.4
#[test]
fn without_a_limit_it_goes_on_at_sixteen_seconds() {
    const ATTEMPTS: usize = 24;
    let retries = Retries {
        kafka: Retry::UNLIMITED,
        postgres_connect: Retry::UNLIMITED,
        postgres_write: Retry::UNLIMITED,
    };
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
    let (sender, receiver) = signals();
    // Two batches: one record each, since the second is fetched with the first.
    let world = World::with_events(2)
        .answering("write", &[DOWN, DOWN, DOWN, Ok(()), DOWN, DOWN, DOWN, Ok(())])
        .stopping_at("check", 20, sender);
    let config = Config { buffer_size: 1, ..Config::default() };
    assert_eq!(run(config, &world, receiver).cause, Cause::Aborted);
    let moments = world.moments("write");
    assert_eq!(moments.len(), 8);
    assert_waits("the first batch", &moments[..4], &[1, 2, 4]);
    assert_waits("the second batch", &moments[4..], &[1, 2, 4]);
}

/// However long the group rebalances, the commit waits for it, and uses up no retry.
#[test]
fn a_commit_that_races_a_rebalance_waits_for_its_end() {
    let (sender, receiver) = signals();
    let rebalancing = [Err(Fault::Fenced); 9];
    let world = World::with_events(1).answering("commit", &rebalancing).stopping_at("check", 9, sender);
    assert_eq!(run(Config::default(), &world, receiver).cause, Cause::Aborted);
    assert_waits("commit", &world.moments("commit"), &[1; 9]);
}

/// A machine that orders nothing: the executor does nothing, whatever happens around it.
#[test]
fn with_a_machine_that_orders_nothing_nothing_is_done() {
    let world = World::with_events(5);
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let config = Config::default();
        let mut machine = Syncer::new(&config);
        // One that has stopped takes every input and orders nothing.
        machine.step(&config, Input::Signal(Signal::Abort), &mut Effects::new());
        world.tell(ConsumerEvent::Assigned(vec![Partition(0)]));
        world.tell(ConsumerEvent::Lost(vec![Partition(0)]));
        let (sender, receiver) = signals();
        sender.ask(Signal::Drain);
        let ended = tokio::time::timeout(crate::TICK * 3, service(config, &world).drive(machine, receiver));
        assert!(ended.await.is_err(), "it ended by itself");
    });
    assert_eq!(world.calls(), [""; 0]);
}

/// The topic's only partition is looked at again every 30 seconds, and the log says so once.
#[test]
fn a_held_topic_is_told_once_and_looked_at_again() {
    let (sender, receiver) = signals();
    let world = World::with_events(1).holding(HoldReason::NotFenced).stopping_at("acquire", 4, sender);
    let ended = run(Config::default(), &world, receiver);
    assert_eq!(ended.cause, Cause::Aborted);
    let seconds: Vec<u64> = world.moments("acquire").iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [0, 30, 60, 90]);
    assert_eq!(world.moments("write").len(), 0);
    let text = log::taken();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("the topic is held")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    // A stack trace has lines of its own.
    for field in ["topic=\"t\"", "reason=\"not_fenced\"", "table public.t is out of order"] {
        assert!(text.contains(field), "{field}: {text}");
    }
}

#[test]
fn by_policy_a_table_that_cannot_be_written_ends_the_service_in_its_words() {
    let world = World::with_events(1).holding(HoldReason::Unwritable);
    let (_sender, receiver) = signals();
    let config = Config { on_table_error: OnTableError::Stop, ..Config::default() };
    let ended = run(config, &world, receiver);
    assert_eq!((ended.cause, ended.cause.exit_code()), (Cause::TableUnwritable, 65));
    assert!(ended.last_failure.is_some_and(|words| words.contains("table public.t is out of order")));
    let text = log::taken();
    assert!(text.contains("on_table_error is stop: the service ends"), "{text}");
    assert!(!text.contains("the others go on"), "{text}");
}

/// Feature: cdc-pipeline, Property 18: Upsert Operation Logging
/// Validates: Requirements 8.4
#[test]
fn a_written_batch_says_how_many_rows_were_inserted_and_updated() {
    let (sender, receiver) = signals();
    let counts = WriteCounts {
        inserted: 11,
        updated: 22,
        deleted: 33,
        fenced: 44,
        fenced_by_lineage: 4,
        ..WriteCounts::default()
    };
    let world = World::with_events(1).counting(counts).stopping_at("commit", 1, sender);
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let service = service(Config::default(), &world).telling(BatchLog::Each);
    runtime.block_on(service.run(receiver));
    let text = log::taken();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("batch written")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(text.contains("4 changes met rows of a higher lineage"), "{text}");
    for field in ["messages=1", "inserted=11", "updated=22", "deleted=33", "fenced=44"] {
        assert!(lines[0].contains(field), "{field}: {}", lines[0]);
    }
}

/// Feature: cdc-pipeline, Property 18: Upsert Operation Logging
/// Validates: Requirements 8.4
#[test]
fn by_default_the_log_tells_of_rows_in_sums_with_their_topic() {
    let (sender, receiver) = signals();
    let counts = WriteCounts { inserted: 11, updated: 22, deleted: 33, fenced: 44, ..WriteCounts::default() };
    let world = World::with_events(1).counting(counts).stopping_at("commit", 1, sender);
    run(Config::default(), &world, receiver);
    let text = log::taken();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("rows written")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    let words = "t: 11 inserted, 22 updated, 33 deleted, 44 fenced off";
    for field in [words, "batches=1", "messages=1", "inserted=11", "updated=22", "deleted=33", "fenced=44"] {
        assert!(lines[0].contains(field), "{field}: {}", lines[0]);
    }
}

/// The failed write is no error of its own, and neither is the dead letter's order.
#[test]
fn a_record_that_is_given_up_is_one_error_with_its_place_and_hash() {
    let policies = [
        (OnBadRecord::DeadLetter, "it is in the dead letters"),
        (OnBadRecord::Skip, "it is skipped"),
        (OnBadRecord::Stop, "the policy says to stop at it"),
    ];
    for (on_bad_record, outcome) in policies {
        let (sender, receiver) = signals();
        let world = World::with_events(1).failing("write", Fault::Poison).stopping_at("record", 1, sender);
        let ended = run(Config { on_bad_record, ..Config::default() }, &world, receiver);
        let text = log::taken();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(" ERROR ")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        for field in [
            outcome,
            "topic=t",
            "partition=0",
            "offset=0",
            "reason=\"database\"",
            "error=\"as scripted\"",
            "key_hash=0000000000000000",
            "bytes=1",
        ] {
            assert!(text.contains(field), "{field}: {text}");
        }
        if on_bad_record == OnBadRecord::Stop {
            assert_eq!(ended.cause, Cause::BadRecord);
            assert_eq!(ended.last_failure.as_deref(), Some("t/0 offset 0: database: as scripted"));
        }
    }
}

/// Whoever has both gives neither a number of its own.
#[test]
fn a_revocation_may_take_as_long_as_the_consumer_says() {
    let world = World::with_events(0);
    let own = Config { revocation_deadline: Duration::ZERO, ..Config::default() };
    assert_eq!(service(own, &world).config.revocation_deadline, world.revocation_deadline());
}
