//! The simulator proves itself: each bug that is planted is found, by the invariant that it breaks, within a bounded
//! number of schedules. The machines' own checks are off, since they would name most of these bugs at once.

#![expect(clippy::print_stdout, reason = "a run says what it found")]

use std::collections::BTreeMap;

use cdc_machine::{Plant, plant};
use cdc_model::invariants::Invariant;
use cdc_model::sim::faults::Options;
use cdc_model::sim::runner::run;

/// Schedules within which a bug is found.
const SCHEDULES_MAX: u64 = 10_000;

/// Detections of each bug, for the median.
const RUNS: u64 = 11;

/// How far apart the seeds of two runs begin.
const APART: u64 = 100_000;

/// Each bug with the invariants that it breaks; which one falls first depends on the schedule.
const EXPECTED: [(Plant, &[Invariant]); 20] = [
    (Plant::SaveBeforeAck, &[Invariant::TokenCoversAcked]),
    (Plant::NewestAck, &[Invariant::TokenCoversAcked]),
    (Plant::IdlePastInFlight, &[Invariant::TokenCoversAcked]),
    (Plant::SwallowedNack, &[Invariant::TokenCoversAcked]),
    (Plant::SaveNotRetried, &[Invariant::ReplayBound]),
    (Plant::StartNotSaved, &[Invariant::StartRecorded]),
    (Plant::CommitBeforeWrite, &[Invariant::OffsetCoversWritten]),
    (Plant::OldAssignment, &[Invariant::OffsetCoversWritten]),
    (Plant::ResetToLatest, &[Invariant::OffsetCoversWritten]),
    (Plant::RevokeConfirmedEarly, &[Invariant::Handover]),
    (Plant::MixedBatch, &[Invariant::OffsetCoversWritten]),
    (Plant::LeftPaused, &[Invariant::Progress]),
    (Plant::ClusterTimeAlone, &[Invariant::Convergence]),
    (Plant::LastWins, &[Invariant::OffsetCoversWritten]),
    (Plant::NoLedgerEpoch, &[Invariant::OffsetCoversWritten]),
    (Plant::NoFence, &[Invariant::NoStaleRow]),
    (Plant::TombstoneApart, &[Invariant::OffsetCoversWritten]),
    (Plant::OtherTable, &[Invariant::OwnTable, Invariant::OffsetCoversWritten]),
    (Plant::NoDirectoryFsync, &[Invariant::SavesFenced]),
    (Plant::StoreIgnoresIncarnation, &[Invariant::SavesFenced]),
];

/// The first schedule from a seed on that breaks an invariant, and which.
fn first_failure(seed: u64) -> Option<(u64, Invariant)> {
    (0..SCHEDULES_MAX).find_map(|step| {
        let outcome = run(Options::of(seed + step));
        outcome.violation.map(|violation| (step + 1, violation.invariant))
    })
}

#[test]
fn each_planted_bug_is_found_by_the_invariant_that_it_breaks() {
    assert_eq!(EXPECTED.len(), Plant::ALL.len(), "every bug is in the table");
    let mut wrong = Vec::new();
    println!("| bug | schedules to detection: median | most | invariants that fell |\n|---|---|---|---|");
    for (bug, expected) in EXPECTED {
        plant(Some(bug));
        let mut counts = Vec::new();
        let mut fell: BTreeMap<Invariant, u32> = BTreeMap::new();
        for round in 0..RUNS {
            match first_failure(round * APART) {
                Some((count, invariant)) => {
                    counts.push(count);
                    *fell.entry(invariant).or_default() += 1;
                }
                None => wrong.push(format!("{}: not found within {SCHEDULES_MAX}", bug.as_str())),
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
        println!("| {} | {median} | {most} | {} |", bug.as_str(), names.join(", "));
        if !fell.keys().any(|it| expected.contains(it)) {
            wrong.push(format!("{}: {names:?} fell, and {expected:?} should", bug.as_str()));
        }
    }
    plant(None);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
