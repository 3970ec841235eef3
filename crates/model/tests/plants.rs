//! The harnesses prove themselves: each bug that is planted is found by each harness that is named beside it, by the
//! invariant that it breaks, within a bounded number of schedules or cases. The machines' own checks are off, since they
//! would name most of these bugs at once.

#![expect(clippy::print_stdout, reason = "a run says what it found")]

use std::collections::BTreeMap;

use cdc_machine::{Plant, plant};
use cdc_model::invariants::Invariant;
use cdc_model::sim::faults::Options;
use cdc_model::sim::runner::run;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::ReferenceStateMachine as _;

#[path = "reference_models/models/mod.rs"]
mod models;

use models::harness::{Model, Of};
use models::{syncer, watcher};

/// What drives the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harness {
    Simulator,
    WatcherModel,
    SyncerModel,
}

/// Schedules, or cases, within which a bug is found.
const SCHEDULES_MAX: u64 = 10_000;

/// Moves of a reference model's case.
const CASE_MOVES: std::ops::Range<usize> = 30..200;

/// Detections of each bug, for the median.
const RUNS: u64 = 11;

/// How far apart the seeds of two runs begin.
const APART: u64 = 100_000;

/// Each bug with the harness that has to find it, and the invariants that it breaks; which one falls first depends on the
/// schedule.
const EXPECTED: [(Plant, Harness, &[Invariant]); 35] = [
    (Plant::SaveBeforeAck, Harness::Simulator, &[Invariant::TokenCoversAcked]),
    (Plant::SaveBeforeAck, Harness::WatcherModel, &[Invariant::TokenCoversAcked]),
    (Plant::NewestAck, Harness::Simulator, &[Invariant::TokenCoversAcked]),
    (Plant::NewestAck, Harness::WatcherModel, &[Invariant::TokenCoversAcked]),
    (Plant::IdlePastInFlight, Harness::Simulator, &[Invariant::TokenCoversAcked]),
    (Plant::IdlePastInFlight, Harness::WatcherModel, &[Invariant::TokenCoversAcked]),
    (Plant::SwallowedNack, Harness::Simulator, &[Invariant::TokenCoversAcked]),
    (Plant::SwallowedNack, Harness::WatcherModel, &[Invariant::TokenCoversAcked]),
    (Plant::SaveNotRetried, Harness::Simulator, &[Invariant::ReplayBound]),
    (Plant::SaveNotRetried, Harness::WatcherModel, &[Invariant::ReplayBound]),
    (Plant::StartNotSaved, Harness::Simulator, &[Invariant::StartRecorded]),
    (Plant::StartNotSaved, Harness::WatcherModel, &[Invariant::StartRecorded]),
    (Plant::CommitBeforeWrite, Harness::Simulator, &[Invariant::OffsetCoversWritten]),
    (Plant::CommitBeforeWrite, Harness::SyncerModel, &[Invariant::OffsetCoversWritten]),
    (Plant::OldAssignment, Harness::Simulator, &[Invariant::OffsetCoversWritten]),
    (Plant::OldAssignment, Harness::SyncerModel, &[Invariant::OffsetCoversWritten]),
    (Plant::ResetToLatest, Harness::Simulator, &[Invariant::OffsetCoversWritten]),
    (Plant::ResetToLatest, Harness::SyncerModel, &[Invariant::OffsetCoversWritten]),
    (Plant::RevokeConfirmedEarly, Harness::Simulator, &[Invariant::Handover]),
    (Plant::RevokeConfirmedEarly, Harness::SyncerModel, &[Invariant::Handover]),
    (Plant::MixedBatch, Harness::Simulator, &[Invariant::OffsetCoversWritten]),
    (Plant::MixedBatch, Harness::SyncerModel, &[Invariant::OffsetCoversWritten]),
    (Plant::LeftPaused, Harness::Simulator, &[Invariant::Progress]),
    (Plant::LeftPaused, Harness::SyncerModel, &[Invariant::Progress]),
    (Plant::ClusterTimeAlone, Harness::Simulator, &[Invariant::Convergence]),
    (Plant::LastWins, Harness::Simulator, &[Invariant::OffsetCoversWritten]),
    (Plant::NoLedgerEpoch, Harness::Simulator, &[Invariant::OffsetCoversWritten]),
    (Plant::AnyServer, Harness::Simulator, &[Invariant::OffsetCoversWritten]),
    (Plant::NoFence, Harness::Simulator, &[Invariant::NoStaleRow]),
    (Plant::NoFence, Harness::SyncerModel, &[Invariant::NoStaleRow]),
    (Plant::TombstoneApart, Harness::Simulator, &[Invariant::OffsetCoversWritten]),
    (Plant::OtherTable, Harness::Simulator, &[Invariant::OwnTable, Invariant::OffsetCoversWritten]),
    (Plant::NoDirectoryFsync, Harness::Simulator, &[Invariant::SavesFenced]),
    (Plant::StoreIgnoresIncarnation, Harness::Simulator, &[Invariant::SavesFenced]),
    (Plant::StoreIgnoresIncarnation, Harness::WatcherModel, &[Invariant::SavesFenced]),
];

/// The first schedule from a seed on that breaks an invariant, and which.
fn first_failure(seed: u64) -> Option<(u64, Invariant)> {
    (0..SCHEDULES_MAX).find_map(|step| {
        let outcome = run(Options::of(seed + step));
        outcome.violation.map(|violation| (step + 1, violation.invariant))
    })
}

/// The first case of a reference model that breaks an invariant, and which.
fn first_case<M: Model>(seed: u64) -> Option<(u64, Invariant)> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.to_le_bytes().repeat(4));
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    let cases = Of::<M>::sequential_strategy(CASE_MOVES);
    (1..=SCHEDULES_MAX).find_map(|count| {
        let Ok(case) = cases.new_tree(&mut runner) else { panic!("no case is drawn") };
        let (mut world, moves, _) = case.current();
        moves.into_iter().for_each(|it| world.make(it));
        world.rest();
        world.violation().map(|violation| (count, violation.invariant))
    })
}

#[test]
fn each_planted_bug_is_found_by_the_invariant_that_it_breaks() {
    let named =
        |bug: &Plant| EXPECTED.iter().any(|(it, harness, _)| it == bug && *harness == Harness::Simulator);
    assert!(Plant::ALL.iter().all(named), "every bug is in the table");
    let mut wrong = Vec::new();
    println!(
        "| bug | harness | schedules to detection: median | most | invariants that fell |\n|---|---|---|---|---|"
    );
    for (bug, harness, expected) in EXPECTED {
        plant(Some(bug));
        let mut counts = Vec::new();
        let mut fell: BTreeMap<Invariant, u32> = BTreeMap::new();
        for round in 0..RUNS {
            let found = match harness {
                Harness::Simulator => first_failure(round * APART),
                Harness::WatcherModel => first_case::<watcher::World>(round * APART),
                Harness::SyncerModel => first_case::<syncer::World>(round * APART),
            };
            match found {
                Some((count, invariant)) => {
                    counts.push(count);
                    *fell.entry(invariant).or_default() += 1;
                }
                None => {
                    wrong.push(format!("{}, {harness:?}: not found within {SCHEDULES_MAX}", bug.as_str()));
                }
            }
            if counts.is_empty() {
                break;
            }
        }
        counts.sort_unstable();
        let names: Vec<String> =
            fell.iter().map(|(it, count)| format!("{} {it:?} ({count})", it.id())).collect();
        let median = counts.get(counts.len() / 2).copied().unwrap_or(0);
        let most = counts.last().copied().unwrap_or(0);
        println!("| {} | {harness:?} | {median} | {most} | {} |", bug.as_str(), names.join(", "));
        if !fell.keys().any(|it| expected.contains(it)) {
            wrong.push(format!("{}, {harness:?}: {names:?} fell, and {expected:?} should", bug.as_str()));
        }
    }
    plant(None);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
