//! `specs/scenarios.md` and the scripts say the same: each scenario that has to be shown is, by tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The scenarios that have to be shown.
const NUMBERS: [u32; 16] = [1, 2, 3, 5, 6, 8, 9, 10, 14, 15, 16, 17, 18, 19, 20, 25];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Number, file and test of every citation.
fn cited() -> Vec<(u32, String, String)> {
    let page = read("specs/scenarios.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, _, _, shown] = cells.as_slice() else { return None };
        Some((number.parse::<u32>().ok()?, (*shown).to_owned()))
    });
    let tests = rows.flat_map(|(number, shown)| {
        let quoted: Vec<String> = shown.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(!quoted.is_empty() && quoted.len().is_multiple_of(2), "scenario {number}: {shown}");
        let pairs = quoted.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        pairs.map(move |(file, test)| (number, file, test)).collect::<Vec<_>>()
    });
    tests.collect()
}

/// True where a file has this test, and nothing keeps it from running.
fn is_test(file: &str, test: &str) -> bool {
    let source = read(file);
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let Some(at) = lines.iter().position(|line| line.contains(&format!("fn {test}("))) else { return false };
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
    let attributes: Vec<_> = above.filter(|line| line.starts_with("#[")).collect();
    attributes.iter().any(|it| it.starts_with("#[test]") || it.starts_with("#[tokio::test"))
        && !attributes.iter().any(|it| it.contains("ignore"))
}

#[test]
fn every_scenario_is_shown_by_tests_that_exist() {
    let cited = cited();
    let numbers: BTreeSet<u32> = cited.iter().map(|(number, ..)| *number).collect();
    assert!(numbers.iter().copied().eq(NUMBERS), "{numbers:?}");
    for (number, file, test) in &cited {
        assert!(is_test(file, test), "scenario {number}: there is no test {test} in {file}");
    }
}

/// A script says which scenario it plays, and the page names it there.
#[test]
fn every_script_has_its_place_in_the_page() {
    let cited = cited();
    let mut scripts = 0;
    for name in ["watcher.rs", "writes.rs"] {
        let file = format!("crates/model/src/sim/world/scenarios/{name}");
        let mut number = None;
        for line in read(&file).lines() {
            if let Some((plays, _)) = line.strip_prefix("/// Scenario ").and_then(|rest| rest.split_once(':'))
            {
                number = plays.parse().ok();
            } else if let Some((test, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('('))
                && let Some(number) = number.take()
            {
                let place = (number, file.clone(), test.to_owned());
                assert!(cited.contains(&place), "the page lacks {place:?}");
                scripts += 1;
            }
        }
    }
    assert!(scripts >= 10, "{scripts} scripts are found");
}
