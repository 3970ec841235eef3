//! Controls: with a planted bug, a search has to find a path that breaks the invariant that the bug is about.

use cdc_machine::Plant;

use super::bounds::{Bounds, Misfortune};
use super::cases::{Case, case};
use super::frontier::{Counterexample, Limits, search};
use super::scopes::{Scope, Which};
use crate::invariants::Invariant;

/// A planted bug, where it is looked for, and which invariants it breaks.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// The bug.
    pub bug: Plant,
    /// The search.
    pub case: Case,
    /// Any of these has to fall.
    pub falls: &'static [Invariant],
}

/// What came of a control.
#[derive(Clone, Debug)]
pub struct Refuted {
    /// The bug.
    pub bug: Plant,
    /// Where it was found.
    pub scope: Scope,
    /// How.
    pub counterexample: Counterexample,
    /// So many situations had been met by then.
    pub situations: u64,
}

const NONE: Bounds = Bounds::none();
const CRASH: Bounds = NONE.with(Misfortune::Crash, 1);
const FREEZE: Bounds = NONE.with(Misfortune::Freeze, 1);
const FAILURE: Bounds = NONE.with(Misfortune::Failure, 1);
const RESTORE: Bounds = NONE.with(Misfortune::Restore, 2);

const fn control(
    bug: Plant,
    which: Which,
    script: &'static str,
    bounds: Bounds,
    falls: &'static [Invariant],
) -> Control {
    Control { bug, case: case(which, script, bounds), falls }
}

/// Every control.
pub const CONTROLS: [Control; 11] = [
    control(Plant::StoreIgnoresIncarnation, Which::Watcher, "A", CRASH, &[Invariant::SavesFenced]),
    control(Plant::NoLedgerEpoch, Which::Database, "AD", RESTORE, &[Invariant::OffsetCoversWritten]),
    control(Plant::NoFence, Which::Syncer, "AA", FREEZE, &[Invariant::NoStaleRow]),
    control(Plant::SaveBeforeAck, Which::Watcher, "AB", CRASH, &[Invariant::TokenCoversAcked]),
    control(Plant::NewestAck, Which::Watcher, "AB", CRASH, &[Invariant::TokenCoversAcked]),
    control(Plant::SwallowedNack, Which::Watcher, "AB", FAILURE, &[Invariant::TokenCoversAcked]),
    control(Plant::StartNotSaved, Which::Watcher, "A", CRASH, &[Invariant::StartRecorded]),
    control(Plant::SaveNotRetried, Which::Watcher, "A", FAILURE, &[Invariant::Progress]),
    control(Plant::CommitBeforeWrite, Which::Syncer, "A", CRASH, &[Invariant::OffsetCoversWritten]),
    control(Plant::RevokeConfirmedEarly, Which::Syncer, "AB", FAILURE, &[Invariant::Handover]),
    control(Plant::TombstoneApart, Which::Syncer, "Aa", CRASH, &[Invariant::OffsetCoversWritten]),
];

impl Control {
    /// Searches; `None` where nothing falls, or the limits are too low.
    #[must_use]
    pub fn refute(&self, limits: Limits) -> Option<Refuted> {
        let scope = self.case.scope();
        let found = search(&scope, limits);
        let situations = found.situations;
        let counterexample = found.counterexample?;
        Some(Refuted { bug: self.bug, scope, counterexample, situations })
    }
}
