//! Replays a target's corpus as a test of the crate that owns the target, so that nothing is built twice.
#![allow(
    clippy::print_stdout,
    reason = "shown where a target panics, and the counts to whoever asks for them"
)]

use std::path::Path;

/// Gives each input of `fuzz/corpus/<target>` to the target.
pub(crate) fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs: Vec<_> = match std::fs::read_dir(&corpus) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) => panic!("{}: {error}", corpus.display()),
    };
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    let count = inputs.len();
    for input in inputs {
        match input.and_then(|path| std::fs::read(&path).map(|bytes| (path, bytes))) {
            Ok((path, bytes)) => {
                println!("{}", path.display());
                run(&bytes);
            }
            Err(error) => panic!("{}: {error}", corpus.display()),
        }
    }
    println!("{target}: {count} inputs of the corpus");
}
