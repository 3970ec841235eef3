//! ARCHITECTURE.md's list of what adapters do without an order: each file and each test in it exists, and each bound
//! stands in the files that are named.

use crate::{cells, links_of, quoted, read, table_under};

const PAGE: &str = "ARCHITECTURE.md";
const HEADING: &str = "### Named exceptions";

#[test]
fn every_exception_names_a_file_a_bound_and_a_test_that_exist() {
    let page = read(PAGE);
    let rows = table_under(&page, HEADING);
    assert!(rows.len() > 20, "the list was not found: {} rows", rows.len());
    for row in rows {
        let [place, what, why, bound, test] = cells(row)[..] else { panic!("a row has five cells: {row}") };
        assert!(!what.is_empty() && !why.is_empty() && !bound.is_empty(), "{place} leaves a cell empty");
        let mut sources = String::new();
        for (name, path) in links_of(place) {
            assert!(path.ends_with(name), "{name} is not at {path}");
            sources += &read(path);
        }
        assert!(!sources.is_empty(), "{place} links no file");
        for name in quoted(bound).filter(|name| !name.contains('.')) {
            assert!(sources.contains(name), "{place}: no {name} in its files");
        }
        assert!(test.contains("]("), "{place} names no test");
        for (name, path) in links_of(test) {
            assert!(read(path).contains(&format!("fn {name}(")), "{place}: no test {name} in {path}");
        }
    }
}
