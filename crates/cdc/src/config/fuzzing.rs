//! What is fuzzed of the configuration. `fuzz/` runs this function under libFuzzer, `cargo test` over its corpus.

use std::path::Path;

use super::any::AnyConfig;
use super::print::print_tree;
use super::yaml;

/// Any text as a file: problems, each with its words, or a configuration that is printed as YAML.
///
/// # Panics
/// Where a problem has no words, or what is printed is no YAML.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The contents of other files are not in the input.
    if text.contains("_file") || text.contains('\\') {
        return;
    }
    let path = Path::new("fuzzed.yaml");
    let root = match yaml::parse(path, text) {
        Ok(root) => root,
        Err(problem) => return assert!(!problem.to_string().is_empty()),
    };
    match AnyConfig::read(&root).and_then(|reading| reading.value) {
        Err(error) => {
            assert!(!error.problems().is_empty(), "refused without a reason");
            assert!(error.problems().iter().all(|problem| !problem.to_string().is_empty()));
        }
        Ok(_) => {
            for with_defaults in [false, true] {
                let printed = match print_tree(&root, with_defaults) {
                    Ok(printed) => printed,
                    Err(error) => panic!("what was read is not printed: {error}"),
                };
                if let Err(problem) = yaml::parse(path, &printed) {
                    panic!("{problem}\n{printed}");
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay;

    #[test]
    fn the_corpus_is_replayed() {
        replay::replay("configuration", super::configuration);
    }
}
