//! The exhaustive search in `make test`: every interleaving of the small cases, and the page that says how many there
//! are.

#![expect(clippy::print_stdout, reason = "a run says what it did")]

use std::path::Path;
use std::time::Instant;
use std::{env, fs};

use cdc_model::sim::search::cases::CASES_SMALL;
use cdc_model::sim::search::frontier::{Limits, search};
use cdc_model::sim::search::page::{self, GOALS, SMALL, Searched};

/// Of one search. It is 100 MB at most.
const LIMITS: Limits = Limits { situations: 1_000_000, frontier: 12_000 };

/// Feature: cdc-pipeline, Property 8: Kafka Confirmation Before Token Save
/// Validates: Requirements 3.3
///
/// Feature: cdc-pipeline, Property 11: Offset Commit After Database Write
/// Validates: Requirements 4.5
///
/// Feature: cdc-pipeline, Property 17: Idempotent Write Operations
/// Validates: Requirements 8.2, 8.5
///
/// Whatever comes in whatever order, in four small worlds: the invariants hold after every move, from each situation
/// the world comes to rest with every table as its collection is, and what has to come to pass does in some order.
#[test]
fn no_interleaving_breaks_an_invariant() {
    let mut searched: Vec<Searched> = Vec::new();
    for case in CASES_SMALL {
        let (scope, began) = (case.scope(), Instant::now());
        let found = search(&scope, LIMITS);
        println!("{} in {:.1} s", found.line(&scope), began.elapsed().as_secs_f64());
        if let Some(counterexample) = &found.counterexample {
            panic!("{}\n{}", found.line(&scope), counterexample.story(&scope));
        }
        assert!(found.is_complete, "{}", found.line(&scope));
        searched.push((scope, found));
    }
    for (scope, _) in &searched {
        for goal in scope.goals() {
            let mut reached = searched.iter().filter(|(other, _)| other.which == scope.which);
            let is_reached = reached.any(|(_, found)| found.goals.iter().any(|(it, _)| it == goal));
            assert!(is_reached, "{}: no path comes to where {}", scope.which.as_str(), goal.as_str());
        }
    }
    check(&[(SMALL, page::table(&searched)), (GOALS, page::goals(&searched))]);
}

/// Compares parts of the page with what they should say, or writes them anew.
fn check(parts: &[(&str, String)]) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/exhaustive.md"));
    let mut text = fs::read_to_string(path).unwrap_or_else(|_| page::frame());
    for (name, should) in parts {
        if env::var_os("UPDATE_SPECS").is_some() {
            text = page::with_block(&text, name, should).unwrap_or(text);
        }
        assert_eq!(
            page::block(&text, name),
            Some(should.as_str()),
            "specs/exhaustive.md is stale: make specs"
        );
    }
    if env::var_os("UPDATE_SPECS").is_some() {
        assert!(fs::write(path, &text).is_ok(), "{} cannot be written", path.display());
    }
}
