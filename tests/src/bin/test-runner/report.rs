//! What a run prints: each test as it ends, the failures in full, and the slowest at the end.

use std::time::{Duration, Instant};

use cdc_tests::DRAWN;

use crate::job::{Ended, Outcome};

/// So many of the slowest stand at the end.
const SLOWEST: usize = 25;

/// A run so far.
pub(crate) struct Report {
    begun: Instant,
    columns: usize,
    tests: Vec<Outcome>,
    /// What all jobs took together.
    took: Duration,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new(columns: usize) -> Self {
        Self { begun: Instant::now(), columns, tests: Vec::new(), took: Duration::ZERO, failures: Vec::new() }
    }

    /// Prints a job's tests, and all that it said if it has failed.
    pub(crate) fn add(&mut self, ended: Ended) {
        let Ended { name, took, tests, output, failure } = ended;
        self.took += took;
        let has_failed = tests.iter().any(|test| !test.has_passed);
        for test in tests {
            let full = format!("{name} {}", test.name).trim_end().to_owned();
            println!("{}", line(&full, &test));
            self.tests.push(Outcome { name: full, ..test });
        }
        match failure {
            None => output.iter().filter(|line| line.starts_with(DRAWN)).for_each(|line| println!("{line}")),
            Some(why) => {
                println!("---- {name}: {why}\n{}\n----", output.join("\n"));
                // Its tests have been counted; without any, it has failed as a whole.
                self.failures.extend((!has_failed).then(|| format!("{name}: {why}")));
            }
        }
    }

    /// Prints the sum. Returns whether everything passed.
    pub(crate) fn conclude(mut self) -> bool {
        self.tests.sort_by_key(|test| std::cmp::Reverse(test.took));
        println!("\nslowest first:");
        for test in self.tests.iter().take(SLOWEST) {
            println!("{}", line(&test.name, test));
        }
        let failed: Vec<&Outcome> = self.tests.iter().filter(|test| !test.has_passed).collect();
        println!(
            "\n{} tests, {} failed: {:.0} s, {:.0} s one after the other, {} at a time",
            self.tests.len(),
            failed.len(),
            self.begun.elapsed().as_secs_f64(),
            self.took.as_secs_f64(),
            self.columns
        );
        for test in &failed {
            println!("FAILED {}", test.name);
        }
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        let has_passed = failed.is_empty() && self.failures.is_empty();
        // The harness's own last line, for whatever reads it.
        println!(
            "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s",
            if has_passed { "ok" } else { "FAILED" },
            self.tests.len() - failed.len(),
            failed.len() + self.failures.len(),
            self.begun.elapsed().as_secs_f64(),
        );
        has_passed
    }
}

fn line(name: &str, test: &Outcome) -> String {
    let outcome = if test.has_passed { "ok" } else { "FAILED" };
    format!("test {name} ... {outcome} <{:.2}s>", test.took.as_secs_f64())
}
