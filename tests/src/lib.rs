//! What the end-to-end tests share: the pipeline under test on real servers, and readers that share no code
//! with it.

pub mod history;
pub mod lane;
pub mod load;
pub mod log;
pub mod messages;
pub mod names;
pub mod saved;
pub mod site;
pub mod small_disk;
pub mod topic;
pub mod verdict;

/// Any failure of a server, a driver or a service under test: it fails the test with its text.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A line of a long test's progress, shown by `--nocapture`.
#[expect(clippy::print_stderr, reason = "the harness shows it with a failed test")]
pub fn say(line: &str) {
    eprintln!("{line}");
}
