//! What the end-to-end tests share: the pipeline under test on real servers, and readers that share no code
//! with it.

pub mod authority;
pub mod collector;
pub mod held;
pub mod history;
pub mod load;
pub mod log;
pub mod messages;
pub mod names;
pub mod pipeline;
pub mod sample;
pub mod saved;
pub mod scrapes;
pub mod site;
pub mod small_disk;
pub mod testbed;
pub mod topic;
pub mod verdict;
pub mod waiting;

use std::time::{SystemTime, UNIX_EPOCH};

/// Any failure of a server, a driver or a service under test: it fails the test with its text.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A line of a long test's progress, shown by `--nocapture`.
#[expect(clippy::print_stderr, reason = "the harness shows it with a failed test")]
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// How a line begins that the runner shows although the test has passed.
pub const DRAWN: &str = "drawn: ";

/// Says what a test has drawn by chance, and how to draw it again. It is shown although the test has passed.
pub fn drawn(line: &str) {
    say(&format!("{DRAWN}{line}"));
}

/// The seed of a test's random choices: what the variable says, else the clock. It is printed, so that a failure can be
/// repeated.
///
/// # Panics
/// If the variable is no number.
#[must_use]
#[expect(clippy::panic, reason = "a test that is told nonsense fails")]
pub fn seed(variable: &str) -> u64 {
    let seed = match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    };
    drawn(&format!("{variable}={seed}"));
    seed
}
