//! Which part of the list of faults a run strikes: a third, another one each day, all of it within three days.
//!
//! | variable | default | |
//! |---|---|---|
//! | `CDC_MATRIX_SEED` | days since 1970 | which third; three seeds that follow a multiple of three have all of the list |
//! | `CDC_MATRIX` | `sample` | `all` strikes the whole list, as `make soak` does |
//! | `CDC_CELLS` | | only the cells whose names hold this text, all of them |

use std::collections::BTreeSet;
use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use cdc_model::faults::{Cell, Fault, cells};

use crate::drawn;

/// Runs in which everything has its turn.
const TURNS: u64 = 3;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// All of the list's cells of one test, or those that `CDC_CELLS` names.
///
/// # Panics
/// If the list has none of this test: one that strikes nothing would pass.
#[must_use]
pub fn all_of(test: &str) -> Vec<Cell> {
    let wanted = env::var("CDC_CELLS").unwrap_or_default();
    let is_wanted =
        |cell: &Cell| format!("{:?} {:?} {:?}", cell.service, cell.state, cell.fault).contains(&wanted);
    let all: Vec<Cell> = cells().filter(|cell| cell.test.name == test).collect();
    assert!(!all.is_empty(), "the list of faults has nothing for {test}");
    all.into_iter().filter(is_wanted).collect()
}

/// Those that this run strikes. It says how many of how many they are.
///
/// # Panics
/// If a variable holds nonsense.
#[must_use]
pub fn some_of(test: &str) -> Vec<Cell> {
    let all = all_of(test);
    if env::var_os("CDC_CELLS").is_some() {
        return all;
    }
    if is_whole() {
        return all;
    }
    let seed = seed();
    let sample = sample(&all, seed);
    drawn(&format!(
        "{} of {} cells of {test}, by CDC_MATRIX_SEED={seed}; CDC_MATRIX=all or make soak strikes all of them",
        sample.len(),
        all.len()
    ));
    sample
}

/// True where the run strikes the whole list, however long that takes.
///
/// # Panics
/// If the variable holds nonsense.
#[must_use]
#[expect(clippy::panic, reason = "a test that is told nonsense fails")]
pub fn is_whole() -> bool {
    match env::var("CDC_MATRIX").as_deref() {
        Ok("all") => true,
        Err(_) | Ok("sample") => false,
        Ok(other) => panic!("CDC_MATRIX={other} is neither sample nor all"),
    }
}

#[expect(clippy::panic, reason = "a test that is told nonsense fails")]
fn seed() -> u64 {
    match env::var("CDC_MATRIX_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("CDC_MATRIX_SEED={text} is no number")),
        Err(_) => {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY_SECONDS)
        }
    }
}

/// The cells of a third of the faults. A fault's cells stay together: one strike of a server shows all of them.
fn sample(all: &[Cell], seed: u64) -> Vec<Cell> {
    let mut faults: Vec<Fault> = all.iter().map(|cell| cell.fault).collect();
    faults.sort_unstable();
    faults.dedup();
    fastrand::Rng::with_seed(seed / TURNS).shuffle(&mut faults);
    let due = faults.iter().zip((0..TURNS).cycle()).filter(|(_, turn)| *turn == seed % TURNS);
    let due: BTreeSet<Fault> = due.map(|(fault, _)| *fault).collect();
    all.iter().copied().filter(|cell| due.contains(&cell.fault)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: [&str; 2] = ["a_fault_of_one_pipeline_in_each_state", "a_fault_of_a_server_in_each_state"];

    #[test]
    fn within_three_seeds_every_cell_has_its_turn_once() {
        for test in TESTS {
            let all: Vec<Cell> = cells().filter(|cell| cell.test.name == test).collect();
            for first in [0, 3, 20_787] {
                let sampled: Vec<Cell> = (first..first + TURNS).flat_map(|seed| sample(&all, seed)).collect();
                assert_eq!(sampled.len(), all.len());
                assert!(all.iter().all(|cell| sampled.contains(cell)));
            }
        }
    }

    #[test]
    fn each_seed_draws_about_a_third_the_same_each_time() {
        for test in TESTS {
            let all: Vec<Cell> = cells().filter(|cell| cell.test.name == test).collect();
            for seed in 0..30 {
                let sampled = sample(&all, seed);
                assert!(
                    (all.len() / 5..all.len() / 2).contains(&sampled.len()),
                    "{} of {}",
                    sampled.len(),
                    all.len()
                );
                assert_eq!(sampled, sample(&all, seed));
            }
        }
    }
}
