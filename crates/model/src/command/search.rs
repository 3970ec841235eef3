//! `cdc-model search`: every interleaving of small worlds.

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

#[cfg(feature = "plants")]
use cdc_machine::Plant;
use cdc_model::sim::search::bounds::Bounds;
use cdc_model::sim::search::cases::{CASES_LARGE, CASES_SMALL, Case};
use cdc_model::sim::search::frontier::{Limits, search};
use cdc_model::sim::search::page::{self, Searched};
use cdc_model::sim::search::scopes::{Scope, Which};

use super::Words;

const USAGE: &str = "usage: cdc-model search [--large] [--world watcher|syncer|database|pipeline] [--bounds crash=1,failure=1,timer=1]
                        [--writes AB] [--depth MOVES] [--page FILE] [--recover-every COUNT] [--situations LIMIT] [--frontier LIMIT]
                        [--plant BUG], under the feature plants
       without --bounds it searches what specs/exhaustive.md lists, with --large its larger part
       a counterexample is printed, and ends with 1; so does a limit that cuts a search short";

/// Runs it.
pub(crate) fn run(words: &Words) -> ExitCode {
    #[cfg(feature = "plants")]
    sow(words);
    match scopes(words) {
        Ok(scopes) => {
            let limits = Limits {
                situations: words.number("--situations").unwrap_or(Limits::WORKSTATION.situations),
                frontier: words.number("--frontier").unwrap_or(Limits::WORKSTATION.frontier),
            };
            let found: Vec<Searched> = scopes.into_iter().map(|scope| look(scope, limits)).collect();
            if let Some(path) = words.text("--page") {
                write(path, words.has("--large"), &found);
            }
            let is_well = found.iter().all(|(_, found)| found.is_complete && found.counterexample.is_none());
            ExitCode::from(u8::from(!is_well))
        }
        Err(why) => {
            println!("{why}\n{USAGE}");
            ExitCode::from(64)
        }
    }
}

/// Plants the bug that was asked for.
#[cfg(feature = "plants")]
fn sow(words: &Words) {
    let named =
        words.text("--plant").and_then(|name| Plant::ALL.into_iter().find(|bug| bug.as_str() == name));
    cdc_machine::plant(named);
}

fn scopes(words: &Words) -> Result<Vec<Scope>, String> {
    let world = match words.text("--world") {
        Some(name) => {
            let known = Which::ALL.into_iter().find(|which| which.as_str() == name);
            Some(known.ok_or_else(|| format!("there is no world {name}"))?)
        }
        None => None,
    };
    let Some(bounds) = words.text("--bounds") else {
        let cases: &[Case] = if words.has("--large") { &CASES_LARGE } else { &CASES_SMALL };
        let wanted = cases.iter().filter(|case| world.is_none_or(|which| which == case.which));
        return Ok(wanted.map(Case::scope).collect());
    };
    let bounds: Bounds = bounds.parse().map_err(|it| format!("{it}"))?;
    let script = words.text("--writes").unwrap_or("AB");
    let scope = Scope::new(world.ok_or("--bounds needs a --world")?, script, bounds);
    let recover_every = words.number("--recover-every").unwrap_or(scope.recover_every);
    let depth_max = words.number("--depth").unwrap_or(scope.depth_max);
    Ok(vec![Scope { recover_every, depth_max, ..scope }])
}

/// Searches, and says what came of it.
fn look(scope: Scope, limits: Limits) -> Searched {
    let began = Instant::now();
    let found = search(&scope, limits);
    println!("{} in {:.1} s", found.line(&scope), began.elapsed().as_secs_f64());
    for goal in scope.goals() {
        match found.goals.iter().find(|(reached, _)| reached == goal) {
            Some((_, moves)) => println!("  after {moves} moves: {}", goal.as_str()),
            None => println!("  not reached: {}", goal.as_str()),
        }
    }
    if let Some(counterexample) = &found.counterexample {
        println!("{}", counterexample.story(&scope));
    }
    (scope, found)
}

/// Writes the table of what was searched into the page.
fn write(path: &str, is_large: bool, found: &[Searched]) {
    let block = if is_large { page::LARGE } else { page::SMALL };
    let written = fs::read_to_string(path).unwrap_or_default();
    let done = page::with_block(&written, block, &page::table(found)).map(|text| fs::write(path, text));
    match done {
        Some(Ok(())) => {}
        Some(Err(why)) => println!("{path} cannot be written: {why}"),
        None => println!("{path} has no place for it: make specs"),
    }
}
