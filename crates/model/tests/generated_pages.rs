//! The pages of `specs/` that are generated say what the code says. Where `UPDATE_SPECS` is set (`make specs`) they
//! are written anew.

use std::path::Path;
use std::{env, fs};

use cdc_model::sim::coverage::{self, Coverage, RARE, RARE_MAX, SEEDS};
use cdc_model::sim::faults::Options;
use cdc_model::sim::runner::run;

/// Each page's file, and what belongs into it.
fn pages() -> [(&'static str, String); 8] {
    let watcher = cdc_model::graph::watcher::transitions();
    let syncer = cdc_model::graph::syncer::transitions();
    let mut seen = Coverage::default();
    SEEDS.for_each(|seed| seen.add(&run(Options::of(seed)).coverage));
    [
        ("coverage.md", coverage::page(&seen, &watcher, &syncer)),
        ("faults.md", cdc_model::faults::page()),
        ("watcher-states.md", states("Watcher", "watcher", &watcher.markdown())),
        ("watcher.mmd", watcher.mermaid()),
        ("watcher.dot", watcher.dot("watcher")),
        ("syncer-states.md", states("Syncer", "syncer", &syncer.markdown())),
        ("syncer.mmd", syncer.mermaid()),
        ("syncer.dot", syncer.dot("syncer")),
    ]
}

fn states(name: &str, file: &str, table: &str) -> String {
    format!(
        "# The {name}'s states\n\n\
         Generated from the code by exploring it: what each input was seen to do in each state, over every\n\
         situation of a small machine. `make specs` writes it anew. The diagram is `{file}.mmd`.\n\n{table}"
    )
}

/// Few cells of the coverage are missed by chance, and no reason for one that is not outlives it.
#[test]
fn what_the_simulator_does_not_meet_is_rare_or_has_a_reason() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs/coverage.md");
    let text = fs::read_to_string(page).unwrap_or_default();
    let met: Vec<&str> = text.lines().filter(|line| line.contains("**partly met by now**")).collect();
    assert!(met.is_empty(), "see UNREACHED in crates/model/src/sim/coverage/page.rs:\n{}", met.join("\n"));
    let rare = text.lines().filter(|line| line.contains(RARE)).count();
    assert!(rare <= RARE_MAX, "{rare} cells are missed by chance");
}

#[test]
fn each_generated_page_says_what_the_code_says() {
    let specs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../specs"));
    for (file, text) in pages() {
        let path = specs.join(file);
        if env::var_os("UPDATE_SPECS").is_some() {
            assert!(fs::write(&path, &text).is_ok(), "{} cannot be written", path.display());
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, text, "specs/{file} is stale: make specs");
    }
}
