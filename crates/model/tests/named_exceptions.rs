//! ARCHITECTURE.md's list of what adapters do without an order: each file, each bound and each test in it exists.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::{Path, PathBuf};

const HEADING: &str = "### Named exceptions";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The cells of each row of the list: where, what, why, bound, test.
fn rows(page: &str) -> Vec<[&str; 5]> {
    let (_, section) = page.split_once(HEADING).expect("the heading of the list");
    let (section, _) = section.split_once("\n## ").expect("a section behind the list");
    // The first two lines are the table's head.
    section.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

fn cells(line: &str) -> [&str; 5] {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    cells.try_into().unwrap_or_else(|_| panic!("a row has five cells: {line}"))
}

/// The links of a cell: text without its backticks, and path.
fn links(cell: &str) -> Vec<(&str, &str)> {
    let after_text = cell.split('[').skip(1).filter_map(|link| link.split_once("]("));
    after_text.filter_map(|(text, rest)| Some((text.trim_matches('`'), rest.split_once(')')?.0))).collect()
}

/// What stands between backticks in a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sources of the crate that a file belongs to, in one text.
fn crate_of(path: &str) -> String {
    let (before, _) = path.split_once("/src/").unwrap_or_else(|| panic!("{path} is no source of a crate"));
    let mut folders = vec![root().join(before).join("src")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

#[test]
fn every_exception_names_a_file_a_bound_and_a_test_that_exist() {
    let page = read("ARCHITECTURE.md");
    let rows = rows(&page);
    assert!(rows.len() > 20, "the list was not found: {} rows", rows.len());
    for [place, what, why, bound, test] in rows {
        assert!(!what.is_empty() && !why.is_empty() && !bound.is_empty(), "{place} leaves a cell empty");
        let files = links(place);
        assert!(!files.is_empty(), "{place} links no file");
        let sources: String = files.iter().map(|(_, path)| crate_of(path)).collect();
        for (name, path) in files {
            assert!(path.ends_with(name) && root().join(path).is_file(), "{name} is not at {path}");
        }
        for name in quoted(bound).filter(|name| !name.contains('.')) {
            assert!(sources.contains(name), "{place}: no {name} in its crate");
        }
        let tests = links(test);
        assert!(!tests.is_empty(), "{place} names no test");
        for (name, path) in tests {
            assert!(read(path).contains(&format!("fn {name}(")), "{place}: no test {name} in {path}");
        }
    }
}
