extern crate std;

use super::*;
use std::path::PathBuf;
use std::{env, format, fs};

#[test]
fn the_exploration_reaches_every_situation_and_every_state() {
    for config in smalls() {
        let mut found = Transitions::new();
        let complete = explore(&config, Small::new(), SITUATIONS_MAX, &mut found);
        assert!(complete, "more than {SITUATIONS_MAX} situations: {config:?}");
        for state in StateName::ALL {
            assert!(found.outcome(state, "Start").is_some(), "{state} was not reached");
        }
    }
}

#[test]
fn a_stopped_machine_is_silent() {
    let found = transitions();
    let text = found.markdown();
    let (_, stopped) = text.split_once("## Stopped").unwrap();
    assert!(!stopped.contains('|'), "{stopped}");
}

/// Writes the files where `UPDATE_SPECS=1` is set.
#[test]
fn specs_are_fresh() {
    let head = "# The Watcher's states\n\n\
        Generated from the code by exploring it: what each input was seen to do in each state, over every\n\
        situation of a small machine. `UPDATE_SPECS=1 cargo test -p cdc-watcher specs` writes it anew.\n\
        The diagram is `watcher.mmd`.\n\n";
    let found = transitions();
    for (file, text) in
        [("watcher-states.md", format!("{head}{}", found.markdown())), ("watcher.mmd", found.mermaid())]
    {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../specs").join(file);
        if env::var_os("UPDATE_SPECS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, text, "{file} is stale: UPDATE_SPECS=1 cargo test -p cdc-watcher specs");
    }
}
