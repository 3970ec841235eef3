//! The searches that `specs/exhaustive.md` lists.

use super::bounds::{Bounds, Misfortune};
use super::scopes::{Scope, Which};

/// One search.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// In which world.
    pub which: Which,
    /// What clients write: a capital letter makes or changes a document, a small one deletes it.
    pub script: &'static str,
    /// Misfortune so often.
    pub bounds: Bounds,
    /// The world gets well from one of so many situations.
    pub recover_every: u32,
    /// A path has so many moves at most.
    pub depth_max: u32,
}

impl Case {
    /// What is to be searched.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            recover_every: self.recover_every,
            depth_max: self.depth_max,
            ..Scope::new(self.which, self.script, self.bounds)
        }
    }
}

/// Every path, and the world gets well from every situation.
pub(super) const fn case(which: Which, script: &'static str, bounds: Bounds) -> Case {
    Case { which, script, bounds, recover_every: 1, depth_max: u32::MAX }
}

/// Every path of at most so many moves.
pub(super) const fn up_to(depth_max: u32, case: Case) -> Case {
    Case { depth_max, ..case }
}

const NONE: Bounds = Bounds::none();

const fn crash(times: u8) -> Bounds {
    NONE.with(Misfortune::Crash, times)
}

const fn freeze() -> Bounds {
    NONE.with(Misfortune::Freeze, 1)
}

const fn rebalance() -> Bounds {
    NONE.with(Misfortune::Rebalance, 1)
}

const fn and_failure(bounds: Bounds) -> Bounds {
    bounds.with(Misfortune::Failure, 1)
}

const fn and_timer(bounds: Bounds) -> Bounds {
    bounds.with(Misfortune::Timer, 1)
}

/// Those of every run of the tests. Two Syncers that keep taking partitions from each other have paths without an end:
/// these are searched up to a length.
pub const CASES_SMALL: [Case; 11] = [
    case(Which::Watcher, "AB", and_failure(crash(1))),
    case(Which::Watcher, "AB", and_timer(crash(1))),
    case(Which::Watcher, "AA", freeze()),
    case(Which::Syncer, "AB", and_failure(NONE)),
    case(Which::Syncer, "A", crash(1)),
    up_to(11, case(Which::Syncer, "A", freeze())),
    up_to(11, case(Which::Syncer, "A", rebalance())),
    case(Which::Database, "AD", NONE.with(Misfortune::Restore, 2)),
    case(Which::Pipeline, "A", crash(1)),
    case(Which::Pipeline, "A", and_timer(rebalance())),
    case(Which::Pipeline, "AB", NONE),
];

/// Those of `make proof`.
pub const CASES_LARGE: [Case; 6] = [
    case(Which::Watcher, "AB", and_timer(and_failure(crash(1)))),
    case(Which::Watcher, "AB", freeze()),
    case(Which::Watcher, "AB", crash(2)),
    up_to(16, case(Which::Syncer, "A", and_failure(freeze()))),
    Case { recover_every: 8, ..case(Which::Pipeline, "AB", rebalance()) },
    Case { recover_every: 8, ..case(Which::Pipeline, "A", crash(1).with(Misfortune::Rebalance, 1)) },
];
