//! What each test of a program took, out of what the program prints.
//!
//! The harness tells when a test has ended and not when it began. But it begins them in the order of its list, so many
//! at once, and the next one when one has ended: so the end of the first is the beginning of the next.

use std::collections::HashMap;
use std::time::Duration;

use crate::job::Outcome;

/// The tests that have ended, in the order of their ends.
pub(crate) fn outcomes(names: &[String], lines: &[(Duration, String)], threads: usize) -> Vec<Outcome> {
    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(n, name)| (name.as_str(), n)).collect();
    let ends: Vec<(Duration, &str, bool)> = lines
        .iter()
        .filter_map(|(at, line)| ended(line).map(|(name, has_passed)| (*at, name, has_passed)))
        .filter(|(_, name, _)| places.contains_key(name))
        .collect();
    let began = |name: &str| match places[name].checked_sub(threads) {
        None => Duration::ZERO,
        Some(behind) => ends.get(behind).map_or(Duration::ZERO, |(at, _, _)| *at),
    };
    ends.iter()
        .map(|(at, name, has_passed)| Outcome {
            name: (*name).to_owned(),
            took: at.saturating_sub(began(name)),
            has_passed: *has_passed,
        })
        .collect()
}

/// `test NAME ... ok`, or `FAILED`.
fn ended(line: &str) -> Option<(&str, bool)> {
    let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    match result {
        "ok" => Some((name, true)),
        "FAILED" => Some((name, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_begins_when_an_earlier_one_has_ended() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let lines = [
            (0, "running 4 tests"),
            (2, "test b ... ok"),
            (5, "test a - should panic ... ok"),
            (6, "test c has been running for over 60 seconds"),
            (6, "test d ... FAILED"),
            (9, "test c ... ok"),
        ];
        let lines = lines.map(|(at, line)| (Duration::from_secs(at), line.to_owned()));
        let found: Vec<(String, u64, bool)> = outcomes(&names, &lines, 2)
            .into_iter()
            .map(|outcome| (outcome.name, outcome.took.as_secs(), outcome.has_passed))
            .collect();
        let expected = [("b", 2, true), ("a", 5, true), ("d", 1, false), ("c", 7, true)];
        assert_eq!(found, expected.map(|(name, took, passed)| (name.to_owned(), took, passed)));
    }
}
