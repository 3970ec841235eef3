//! The search itself: breadth first, each situation once.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::bounds::Bounds;
use super::choices::choices;
use super::goals::{Goal, Marks, Sight};
use super::scopes::Scope;
use crate::invariants::Violation;
use crate::sim::coverage::Coverage;
use crate::sim::digest::digest;
use crate::sim::schedule::Move;
use crate::sim::world::World;

/// How much a search may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Situations that are met: 28 bytes each.
    pub situations: usize,
    /// Of them those that are to be gone on from, each with its world: about 12 KiB.
    pub frontier: usize,
}

impl Limits {
    /// For a machine on which people work: about 1.5 GB.
    pub const WORKSTATION: Self = Self { situations: 20_000_000, frontier: 100_000 };
}

/// A path that breaks an invariant: none is shorter, unless it takes the world's getting well to show.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The moves, behind those with which the scope begins.
    pub moves: Vec<Move>,
    /// What falls.
    pub violation: Violation,
    /// True where it falls while the world gets well.
    pub is_late: bool,
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Situations that were met.
    pub situations: u64,
    /// Moves that were made.
    pub moves: u64,
    /// The longest path, in moves.
    pub depth: u32,
    /// The most situations that waited at once.
    pub frontier: usize,
    /// From so many situations the world got well, came to rest and to its end.
    pub recoveries: u64,
    /// Each goal with the length of the shortest path to it.
    pub goals: Vec<(Goal, u32)>,
    /// True where some paths are longer than the scope has them at most.
    pub is_bounded: bool,
    /// True where everything within the bounds was met; false where a limit cut it short.
    pub is_complete: bool,
    /// The first invariant that fell.
    pub counterexample: Option<Counterexample>,
}

impl Found {
    /// What was done, in one line.
    #[must_use]
    pub fn line(&self, scope: &Scope) -> String {
        let Self { situations, moves, depth, frontier, recoveries, is_complete, .. } = self;
        let which = scope.which.as_str();
        let cut = if *is_complete { "" } else { " (cut short by a limit)" };
        format!(
            "{which}, {}, {}: {situations} situations, {moves} moves, at most {depth} deep, at most {frontier} wait, \
             the world got well from {recoveries}{cut}",
            scope.script, scope.bounds,
        )
    }
}

impl Counterexample {
    /// It in words: the moves, then what falls.
    #[must_use]
    pub fn story(&self, scope: &Scope) -> String {
        let mut moves: Vec<String> = self.moves.iter().map(|it| format!("  {it}")).collect();
        if self.is_late {
            moves.push("  the world gets well".to_owned());
        }
        let begin = scope.prefix.len();
        format!("behind the {begin} moves of the start:\n{}\n{}", moves.join("\n"), self.violation)
    }
}

/// A situation that is to be gone on from.
struct Waiting {
    world: Box<World>,
    left: Bounds,
    marks: Marks,
    number: u32,
}

/// How a situation was met: from which, by which move.
type Step = (u32, Move);

/// A fingerprint is spread well enough to be its own hash.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Search<'s> {
    scope: &'s Scope,
    limits: Limits,
    met: HashSet<u64, BuildHasherDefault<Spread>>,
    steps: Vec<Step>,
    found: Found,
}

/// Searches a scope to its end, to its first counterexample, or to a limit.
#[must_use]
pub fn search(scope: &Scope, limits: Limits) -> Found {
    let mut search = Search {
        scope,
        limits,
        met: HashSet::default(),
        steps: Vec::new(),
        found: Found { is_complete: true, ..Found::default() },
    };
    let world = scope.begin();
    let marks = Marks::default();
    let first = Waiting { world: Box::new(world), left: scope.bounds, marks, number: 0 };
    search.met.insert(key(&first.world, &first.left, first.marks));
    let mut level = vec![first];
    let mut next = Vec::new();
    while !level.is_empty() && search.found.counterexample.is_none() {
        if search.found.depth >= scope.depth_max {
            search.found.is_bounded = true;
            break;
        }
        search.found.frontier = search.found.frontier.max(level.len());
        for waiting in level.drain(..) {
            search.go_on(&waiting, &mut next);
            if search.found.counterexample.is_some() {
                break;
            }
        }
        search.found.depth += u32::from(!next.is_empty());
        std::mem::swap(&mut level, &mut next);
    }
    search.found.situations = search.met.len() as u64;
    search.found.goals.sort_unstable();
    search.found
}

fn key(world: &World, left: &Bounds, marks: Marks) -> u64 {
    digest((world.fingerprint(), left, marks))
}

impl Search<'_> {
    fn go_on(&mut self, from: &Waiting, next: &mut Vec<Waiting>) {
        if self.get_well(from) {
            return;
        }
        let mut found = Vec::new();
        choices(&from.world, self.scope, &from.left, &mut found);
        for (r#move, left) in found {
            let mut world = from.world.clone();
            world.make(r#move);
            self.found.moves += 1;
            if let Some(violation) = world.violation.take() {
                return self.refute(from.number, Some(r#move), violation);
            }
            let seen = std::mem::take(&mut world.coverage);
            let sight = Sight { before: &from.world, r#move, after: &world, seen: &seen };
            let mut marks = from.marks;
            let depth = self.found.depth + 1;
            for goal in sight.goals(&mut marks, self.scope.goals()) {
                if self.found.goals.iter().all(|(reached, _)| *reached != goal) {
                    self.found.goals.push((goal, depth));
                }
            }
            if !self.met.insert(key(&world, &left, marks)) {
                continue;
            }
            self.steps.push((from.number, r#move));
            if self.met.len() >= self.limits.situations || next.len() >= self.limits.frontier {
                self.found.is_complete = false;
                continue;
            }
            let number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
            next.push(Waiting { world, left, marks, number });
        }
    }

    /// From every situation the world can get well; true where an invariant falls on the way.
    fn get_well(&mut self, from: &Waiting) -> bool {
        if !from.number.is_multiple_of(self.scope.recover_every) {
            return false;
        }
        self.found.recoveries += 1;
        let mut world = from.world.clone();
        world.options.syncers = world.options.syncers.max(1);
        world.coverage = Coverage::default();
        world.recover();
        let Some(violation) = world.violation.take() else { return false };
        self.refute(from.number, None, violation);
        true
    }

    fn refute(&mut self, from: u32, last: Option<Move>, violation: Violation) {
        let mut moves: Vec<Move> = last.into_iter().collect();
        let mut at = from;
        while let Some((before, r#move)) = at.checked_sub(1).and_then(|index| self.steps.get(index as usize))
        {
            moves.push(*r#move);
            at = *before;
        }
        moves.reverse();
        self.found.counterexample = Some(Counterexample { moves, violation, is_late: last.is_none() });
    }
}
