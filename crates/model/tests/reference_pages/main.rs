//! The pages that name the code say what the code says: the dependency picture, the references of metrics and log
//! events, the alerts, the index and the exceptions of ARCHITECTURE.md, and every link. Where `UPDATE_SPECS` is set (`make specs`),
//! what is generated is written anew.

#![expect(clippy::expect_used, reason = "a panic is how a test fails")]

mod alerts;
mod dependencies;
mod index;
mod links;
mod log_events;
mod metrics;
mod named_exceptions;
mod sources;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares a page with what it should say, or writes it anew.
fn check(path: &str, text: &str) {
    if env::var_os("UPDATE_SPECS").is_some() {
        fs::write(root().join(path), text).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let written = fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(written == text, "{path} is stale: make specs");
}

/// The cells of a table's row.
fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split(" | ").map(str::trim).collect()
}

/// The links of a cell: text without its backticks, and target.
fn links_of(cell: &str) -> impl Iterator<Item = (&str, &str)> {
    let after_text = cell.split('[').skip(1).filter_map(|link| link.split_once("]("));
    after_text.filter_map(|(text, rest)| Some((text.trim_matches('`'), rest.split_once(')')?.0)))
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The lines of the table under a heading, without its head.
fn table_under<'p>(page: &'p str, heading: &str) -> Vec<&'p str> {
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("no heading {heading}"));
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    rows.take_while(|line| line.starts_with('|')).skip(2).collect()
}
