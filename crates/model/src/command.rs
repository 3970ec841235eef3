//! What the program does, by its first word.

use std::process::ExitCode;
use std::str::FromStr;

mod search;
mod sim;

const USAGE: &str = "usage: cdc-model sim [--seed FIRST] [--schedules COUNT] [--seconds LIMIT] [--threads COUNT] [--lines COUNT] [--whole]
       a failure prints its seed, its options, the shrunk schedule and the last lines of its log (with --whole:
       the schedule as it was drawn), and ends with 1
       cdc-model search [--large] [--world NAME] [--bounds LIST] …
       every interleaving of small worlds";

/// What was asked for.
pub(crate) struct Words(Vec<String>);

impl Words {
    /// The program's.
    pub(crate) fn of_the_program() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|word| word == name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        self.text(name)?.parse().ok()
    }
}

/// Does what was asked for.
pub(crate) fn run(words: &Words) -> ExitCode {
    match words.0.first().map(String::as_str) {
        Some("sim") => sim::run(words),
        Some("search") => search::run(words),
        _ => {
            println!("{USAGE}");
            ExitCode::from(64)
        }
    }
}
