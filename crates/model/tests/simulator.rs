//! The simulator in the tests: the seeds that have failed before, and fixed ones. With `CDC_SIM_SECONDS`, which `make test`
//! sets, fresh ones for so long, too.

#![expect(clippy::print_stdout, reason = "a run says what it did")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cdc_model::sim::coverage::{BUSY_PERCENT_MIN, Coverage, MOVES_MEDIAN_MIN, SEEDS, Worth};
use cdc_model::sim::faults::Options;
use cdc_model::sim::runner::{Outcome, explain, replay, run};
use cdc_model::sim::shrink::shrink;

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
    regressions().chain(SEEDS).for_each(|seed| play(seed, &mut seen));
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
    let mut seen = Coverage::default();
    (0..200).for_each(|seed| seen.add(&run(Options::of(seed)).coverage));
    println!("{}", seen.worth());
    let Worth { changes, faults, crash, busy, .. } = seen.worth;
    assert_eq!(
        (changes, faults, crash),
        (seen.schedules, seen.schedules, seen.schedules),
        "{}",
        seen.worth()
    );
    assert!(busy * 100 >= seen.schedules * BUSY_PERCENT_MIN, "{}", seen.worth());
    assert!(seen.worth.median_moves() >= MOVES_MEDIAN_MIN, "{}", seen.worth());
}
