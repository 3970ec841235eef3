//! The least schedule that still fails in the same way: moves are left out, many at once first, as long as the same
//! invariant falls.

use super::faults::Options;
use super::runner::{Outcome, replay};
use super::schedule::Move;

/// Plays of one shrinking.
const PLAYS_MAX: u32 = 4_000;

/// A schedule that fails as `outcome` does, with as few moves as were found.
#[must_use]
pub fn shrink(options: &Options, outcome: &Outcome) -> Vec<Move> {
    let Some(violation) = &outcome.violation else { return outcome.moves.clone() };
    let fails = |moves: &[Move]| {
        let again = replay(options.clone(), moves).violation;
        again.is_some_and(|again| again.invariant == violation.invariant)
    };
    let mut least = outcome.moves.clone();
    let mut plays = 0;
    let mut size = least.len().div_ceil(2).max(1);
    loop {
        let mut is_less = false;
        let mut at = 0;
        while at < least.len() && plays < PLAYS_MAX {
            let end = (at + size).min(least.len());
            let without = [&least[..at], &least[end..]].concat();
            plays += 1;
            if fails(&without) {
                least = without;
                is_less = true;
            } else {
                at = end;
            }
        }
        if plays >= PLAYS_MAX || (size == 1 && !is_less) {
            return least;
        }
        size = size.div_ceil(2).max(1);
    }
}
