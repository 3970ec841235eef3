//! The pages of `specs/` that are generated say what the code says. Where `UPDATE_SPECS` is set (`make specs`) they
//! are written anew.

use std::path::Path;
use std::{env, fs};

/// Each page's file, and what belongs into it.
fn pages() -> [(&'static str, String); 7] {
    let watcher = cdc_model::graph::watcher::transitions();
    let syncer = cdc_model::graph::syncer::transitions();
    [
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
