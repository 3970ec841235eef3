//! The Syncer in a world that fails in every way it can, in any order.
//!
//! The world is the oracle: it keeps plain lists of what was polled, written and committed, and checks every
//! order as it is given. The properties below differ in the configuration and in how a run ends.

#![expect(clippy::expect_used, reason = "a panic is how a test fails")]

mod world;

#[path = "../../../fuzz/replay.rs"]
mod replay;

use std::time::Duration;

use cdc_machine::{Fault, Retry};
use cdc_syncer::{
    Config, OffsetPolicy, OnBadRecord, OnTableError, OnUniqueViolation, Retries, StopAfter, TimerKind,
};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use world::{Move, Naming, Outcome, RECORD_BYTES_MAX, World};

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        24 => Just(Outcome::Good),
        3 => any::<u8>().prop_map(Outcome::Rejected),
        2 => any::<u8>().prop_map(Outcome::Refused),
        3 => any::<bool>().prop_map(|done| Outcome::Bad(Fault::Transient, done)),
        2 => any::<bool>().prop_map(|done| Outcome::Bad(Fault::Unreachable, done)),
        4 => prop::sample::select(
            &[Fault::RetryNow, Fault::Blocked, Fault::Poison, Fault::TooLarge, Fault::Fenced][..],
        )
        .prop_map(|fault| Outcome::Bad(fault, false)),
        1 => prop::sample::select(&[Fault::HistoryLost, Fault::Auth, Fault::Fatal][..])
            .prop_map(|fault| Outcome::Bad(fault, false)),
    ]
}

/// Connections mostly come about: most of a run is to be spent behind them.
fn connection() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        20 => Just(Outcome::Good),
        1 => Just(Outcome::Bad(Fault::Transient, false)),
        1 => any::<u8>().prop_map(Outcome::Rejected),
    ]
}

/// Records, some of which expire before they are read.
fn produced() -> BoxedStrategy<Move> {
    prop_oneof![
        30 => (0..9u8, 0..2u8, 1..=RECORD_BYTES_MAX)
            .prop_map(|(key, gap, bytes)| Move::Produce(key, gap, bytes)),
        1 => (any::<u8>(), 1..4u8).prop_map(|(partition, count)| Move::Expire(partition, count)),
    ]
    .boxed()
}

fn renamed() -> BoxedStrategy<Move> {
    let key = || 0..9u8;
    prop_oneof![
        4 => key().prop_map(Naming::Fresh),
        1 => key().prop_map(Naming::Delete),
        2 => (key(), key()).prop_map(|(from, to)| Naming::HandOver(from, to)),
        3 => (key(), key()).prop_map(|(a, b)| Naming::Swap(a, b)),
        2 => (key(), key(), key()).prop_map(|(a, b, c)| Naming::Rotate(a, b, c)),
    ]
    .prop_map(Move::Rename)
    .boxed()
}

fn moves(changed: BoxedStrategy<Move>) -> BoxedStrategy<Move> {
    prop_oneof![
        30 => changed,
        8 => (any::<u8>(), connection()).prop_map(|(which, outcome)| Move::Answer(which, outcome)),
        8 => connection().prop_map(Move::Join),
        2 => Just(Move::Leave),
        1 => prop::sample::select(&[Fault::Transient, Fault::Fenced][..]).prop_map(Move::ConsumerFails),
        8 => any::<u8>().prop_map(Move::Assign),
        3 => any::<u8>().prop_map(Move::Revoke),
        1 => any::<u8>().prop_map(Move::Lose),
        8 => connection().prop_map(Move::Acquire),
        4 => connection().prop_map(Move::Behind),
        2 => outcome().prop_map(Move::CheckLedger),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(partition, is_locked)| Move::Break(partition, is_locked)),
        3 => any::<u8>().prop_map(Move::Mend),
        1 => Just(Move::Backup),
        1 => Just(Move::Restore),
        24 => (1..8u32).prop_map(Move::Poll),
        24 => (any::<u8>(), outcome()).prop_map(|(which, outcome)| Move::Write(which, outcome)),
        8 => (any::<u8>(), outcome()).prop_map(|(which, outcome)| Move::Retry(which, outcome)),
        6 => (any::<u8>(), outcome()).prop_map(|(which, outcome)| Move::DeadLetter(which, outcome)),
        10 => outcome().prop_map(Move::Commit),
        20 => (0..7u8).prop_map(Move::Timer),
        1 => Just(Move::Drain),
        1 => prop_oneof![any::<u8>().prop_map(Move::Crash), Just(Move::Abort)],
    ]
    .boxed()
}

/// The moves are drawn without regard to the world's state: one that is impossible there does nothing.
struct AnyMoves;

impl ReferenceStateMachine for AnyMoves {
    type State = ();
    type Transition = Move;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Move> {
        moves(produced())
    }

    fn apply((): (), _move: &Move) {}
}

/// The same, of documents whose unique names change hands.
struct AnyRenames;

impl ReferenceStateMachine for AnyRenames {
    type State = ();
    type Transition = Move;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Move> {
        moves(renamed())
    }

    fn apply((): (), _move: &Move) {}
}

/// Two workers, batches of three rows or twenty bytes, credit for a few records more.
fn natural() -> Config {
    Config {
        buffer_size: 3,
        buffer_bytes: 20,
        channel_buffer: 2,
        pool_size: 2,
        max_buffered_bytes: 60,
        max_fetch_records: 4,
        linger: Duration::from_millis(5),
        retries: Retries {
            kafka: Retry::times(2),
            postgres_connect: Retry::times(2),
            postgres_write: Retry::times(2),
        },
        ..Config::default()
    }
}

/// Batches leave when they are full or old, and not before.
fn to_the_letter() -> Config {
    Config { linger: Duration::from_millis(500), channel_buffer: 4, ..natural() }
}

macro_rules! world_test {
    ($name:ident, $moves:ident, $world:expr, $end:expr) => {
        struct $name;

        impl StateMachineTest for $name {
            type SystemUnderTest = World;
            type Reference = $moves;

            fn init_test((): &()) -> World {
                $world
            }

            fn apply(mut world: World, (): &(), r#move: Move) -> World {
                world.make(r#move);
                world
            }

            fn teardown(mut world: World, (): ()) {
                let end: fn(&mut World) = $end;
                end(&mut world);
            }
        }
    };
}

/// The seed's policy for bad records, and the least configuration that there is.
fn one_by_one() -> Config {
    Config {
        buffer_size: 1,
        channel_buffer: 0,
        pool_size: 1,
        linger: Duration::ZERO,
        commit_spacing: Duration::ZERO,
        on_bad_record: OnBadRecord::Skip,
        on_unique_violation: OnUniqueViolation::Skip,
        offset_reset: OffsetPolicy::Latest,
        ..natural()
    }
}

/// Three bad ones among the last eight are too many.
fn with_a_breaker() -> Config {
    Config { stop_after: StopAfter { share: StopAfter::WHOLE / 3, window: 8, at_least: 3 }, ..natural() }
}

fn stopping(config: Config) -> Config {
    Config { on_table_error: OnTableError::Stop, ..config }
}

fn one_by_one_parking() -> Config {
    Config { on_unique_violation: OnUniqueViolation::Park, ..one_by_one() }
}

world_test!(Natural, AnyMoves, World::new(natural()), World::catch_up);
world_test!(ToTheLetter, AnyMoves, World::new(to_the_letter()), World::catch_up);
world_test!(OneByOne, AnyMoves, World::new(one_by_one()), World::catch_up);
world_test!(Breaking, AnyMoves, World::new(stopping(with_a_breaker())), World::catch_up);
world_test!(Holding, AnyMoves, World::new(with_a_breaker()), World::catch_up);
world_test!(Renamed, AnyRenames, World::faultless(natural()), World::catch_up);
world_test!(RenamedOneByOne, AnyRenames, World::faultless(one_by_one_parking()), World::catch_up);
world_test!(DrainedAnywhere, AnyMoves, World::new(natural()), |world| {
    if !world.is_stopped() && !world.is_draining() {
        world.drain();
    }
});

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 512, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// Feature: cdc-pipeline, Property 10: Consumer Error Resilience
    /// Validates: Requirements 4.4
    ///
    /// Feature: cdc-pipeline, Property 11: Offset Commit After Database Write
    /// Validates: Requirements 4.5
    ///
    /// Rows fail, batches fail, consumers die: afterwards every record is written or put aside, none is
    /// lost, none of a key is overtaken, and no offset was ever committed before what is below it.
    #[test]
    fn nothing_is_lost_or_overtaken(sequential 1..250 => Natural);

    /// Feature: cdc-pipeline, Property 13: Buffer Clear After Flush
    /// Validates: Requirements 5.4
    ///
    /// The same without lingering; at the end no row is left in a buffer and all offsets are committed.
    #[test]
    fn nothing_is_lost_without_lingering(sequential 1..250 => ToTheLetter);

    /// Feature: cdc-pipeline, Property 17: Idempotent Write Operations
    /// Validates: Requirements 8.2, 8.5
    ///
    /// Documents hand over and swap unique names across partitions, and everything fails: in the end the
    /// table equals the source, and nothing is left parked.
    #[test]
    fn unique_names_end_up_where_the_source_has_them(sequential 1..250 => Renamed);

    #[test]
    fn unique_names_end_up_right_one_by_one(sequential 1..250 => RenamedOneByOne);

    #[test]
    fn nothing_is_lost_one_by_one(sequential 1..250 => OneByOne);

    /// The service stops at the first record that is one too many, by a plain list of what settled, and orders
    /// no dead letter from there on.
    #[test]
    fn too_many_bad_records_stop_the_service(sequential 1..250 => Breaking);

    /// Without that policy the topic is held, and tried again: in the end every record is written or put aside.
    #[test]
    fn too_many_bad_records_hold_the_topic(sequential 1..250 => Holding);

    /// Feature: cdc-pipeline, Property 19: Graceful Shutdown Buffer Flush
    /// Validates: Requirements 9.3
    #[test]
    fn a_drain_ends_with_everything_written_and_committed(sequential 1..250 => DrainedAnywhere);
}

proptest! {
    /// Feature: cdc-pipeline, Property 14: Worker Message Distribution
    /// Validates: Requirements 6.2
    #[test]
    fn every_worker_gets_work(extra in prop::collection::vec(0..=u8::MAX, 0..200)) {
        let mut world = World::new(Config { pool_size: 10, max_buffered_bytes: 1 << 20, ..Config::default() });
        for key in (0..=u8::MAX).chain(extra) {
            world.make(Move::Produce(key, 0, 1));
        }
        world.catch_up();
        prop_assert_eq!(world.workers_used.len(), 10);
    }
}

proptest! {
    /// Feature: cdc-pipeline, Property 12: Message Buffering Before Flush
    /// Validates: Requirements 5.1
    ///
    /// Without lingering nothing leaves before there are `buffer_size` rows or time is up; then all does.
    #[test]
    fn rows_wait_for_a_full_batch_or_for_time(polls in prop::collection::vec(1..5u32, 1..40), size in 1..6u32) {
        let bytes = 1 << 20;
        let config = Config {
            buffer_size: size,
            channel_buffer: 64,
            pool_size: 1,
            buffer_bytes: bytes,
            max_buffered_bytes: bytes,
            ..to_the_letter()
        };
        let mut world = World::new(config);
        for r#move in [Move::Answer(0, Outcome::Good), Move::Join(Outcome::Good), Move::Assign(1)] {
            world.make(r#move);
        }
        world.make(Move::Acquire(Outcome::Good));
        let mut waiting = 0;
        for records in polls {
            (0..records).for_each(|_| world.make(Move::Produce(0, 0, 1)));
            world.make(Move::Poll(records));
            waiting += records;
            while let Some(write) = world.pending.writes.first() {
                prop_assert_eq!(write.batch.rows().len(), size as usize);
                waiting -= size;
                world.make(Move::Write(0, Outcome::Good));
            }
            world.expire(|kind| kind == TimerKind::CommitSpacing);
            world.make(Move::Commit(Outcome::Good));
            prop_assert!(waiting < size);
        }
        world.expire(|kind| matches!(kind, TimerKind::Flush(_)));
        let left: usize = world.pending.writes.iter().map(|write| write.batch.rows().len()).sum();
        prop_assert_eq!(left, waiting as usize);
    }
}

/// Two documents swap their names: neither can be written before the other, unless an older version gives way.
#[test]
fn a_swap_is_opened_by_taking_an_older_version_out() {
    let mut world = World::faultless(natural());
    [0, 1].into_iter().for_each(|key| world.make(Move::Rename(Naming::Fresh(key))));
    world.catch_up();
    assert_eq!((world.database.parkings, world.database.openings), (0, 0));
    world.make(Move::Rename(Naming::Swap(0, 1)));
    world.catch_up();
    assert_eq!((world.database.parkings, world.database.openings), (2, 1));
}

/// What the fuzzer found worth keeping, and whatever it has found wrong.
#[test]
fn the_corpus_is_replayed() {
    replay::replay("syncer", world::drawn::run);
}
