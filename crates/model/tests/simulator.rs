//! The simulator in the tests: the seeds that have failed before, and fixed ones. With `CDC_SIM_SECONDS`, which `make test`
//! sets, fresh ones for so long, too.

#![expect(clippy::print_stdout, reason = "a run says what it did")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cdc_model::sim::coverage::Coverage;
use cdc_model::sim::faults::Options;
use cdc_model::sim::runner::{Outcome, explain, replay, run};
use cdc_model::sim::shrink::shrink;

/// Seeds that every run plays.
const FIXED: u64 = 1_500;

/// What is to be said of a schedule at least.
const CHANGES_MIN: u32 = 50;
const FAULTS_MIN: u64 = 3;
const MOVES_MEDIAN_MIN: u64 = 500;
/// Of a hundred schedules, those that die with work in hand and apply something after the last fault.
const BUSY_MIN: usize = 20;

/// Plays a seed; panics with all that is needed to look into it.
fn play(seed: u64, seen: &mut Coverage) {
    let options = Options::of(seed);
    let outcome = run(options.clone());
    seen.add(&outcome.coverage);
    if outcome.violation.is_some() {
        panic!("{}", failure(&options, &outcome));
    }
}

fn failure(options: &Options, outcome: &Outcome) -> String {
    let least = shrink(options, outcome);
    let again = explain(options.clone(), &least);
    let moves: String = least.iter().map(|it| format!("  {it}\n")).collect();
    let violation = outcome.violation.iter().map(ToString::to_string).collect::<String>();
    let shrunk = again.violation.iter().map(ToString::to_string).collect::<String>();
    format!(
        "{violation}\noptions: {options}\nthe shrunk schedule:\n{moves}{shrunk}\nadd the seed {} to \
         crates/model/simulator-seeds.txt with what it found",
        options.seed
    )
}

fn regressions() -> impl Iterator<Item = u64> {
    let lines = include_str!("../simulator-seeds.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok())
}

/// Feature: cdc-pipeline, Property 1: Change Event Capture Completeness
/// Validates: Requirements 1.1
///
/// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
/// Validates: Requirements 3.3
///
/// Feature: cdc-pipeline, Property 11: Offset Commit After Database Write
/// Validates: Requirements 4.5
///
/// Feature: cdc-pipeline, Property 17: Idempotent Write Operations
/// Validates: Requirements 8.2, 8.5
///
/// Both machines between model servers, through anything that may fail: the invariants hold after every move, and at the
/// end each table is as its collection.
#[test]
fn no_schedule_breaks_an_invariant() {
    let began = Instant::now();
    let mut seen = Coverage::default();
    assert!(regressions().count() > 0, "the file of seeds is read");
    regressions().chain(0..FIXED).for_each(|seed| play(seed, &mut seen));
    if let Ok(seconds) = std::env::var("CDC_SIM_SECONDS") {
        play_fresh(Duration::from_secs(seconds.parse().unwrap()), &mut seen);
    }
    // What stands behind this word is shown of a run that passes, too.
    println!("drawn: {}", seen.summary(began.elapsed()));
}

fn play_fresh(limit: Duration, seen: &mut Coverage) {
    let drawn = std::env::var("CDC_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let first: u64 = drawn.unwrap_or(now);
    println!("drawn: CDC_SIM_SEED={first}");
    let began = Instant::now();
    (0..).take_while(|_| began.elapsed() < limit).for_each(|step| play(first.wrapping_add(step), seen));
}

#[test]
fn the_same_seed_leaves_the_same_trace() {
    for seed in 0..60 {
        let (one, other) = (run(Options::of(seed)), run(Options::of(seed)));
        assert_eq!((one.hash, &one.moves), (other.hash, &other.moves), "seed {seed}");
        let again = replay(Options::of(seed), &one.moves);
        assert_eq!(one.hash, again.hash, "seed {seed}, by its moves");
    }
    let hashes: std::collections::BTreeSet<u64> = (0..60).map(|seed| run(Options::of(seed)).hash).collect();
    assert_eq!(hashes.len(), 60, "other seeds leave other traces");
}

#[test]
fn schedules_are_worth_their_name() {
    let outcomes: Vec<Outcome> = (0..200).map(|seed| run(Options::of(seed))).collect();
    for (seed, outcome) in outcomes.iter().enumerate() {
        let seen = &outcome.coverage;
        assert!(outcome.written >= CHANGES_MIN, "seed {seed}: {} writes", outcome.written);
        assert!(seen.faults() >= FAULTS_MIN && seen.crashes >= 1, "seed {seed}: {} faults", seen.faults());
    }
    let mut moves: Vec<u64> = outcomes.iter().map(|outcome| outcome.coverage.moves).collect();
    moves.sort_unstable();
    assert!(
        moves[moves.len() / 2] >= MOVES_MEDIAN_MIN,
        "half of the schedules have {} moves",
        moves[moves.len() / 2]
    );
    let is_busy = |it: &&Outcome| it.coverage.crashes_busy > 0 && it.coverage.after_faults > 0;
    let busy = outcomes.iter().filter(is_busy).count();
    assert!(busy * 100 >= outcomes.len() * BUSY_MIN, "{busy} of {} die with work in hand", outcomes.len());
}
