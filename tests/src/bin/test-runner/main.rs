//! `test-runner`: builds the workspace's tests, runs them side by side, and prints what each of them took.
//!
//! `cargo test` runs one program after the other, and here most of them wait for servers: for a session to expire, for
//! a broker to come back. So several run at once, the long ones first, each with servers of its own. Whatever measures
//! time or memory runs alone behind the others. (`cargo-nextest` does the same and more. Compiling it takes longer than
//! it saves, and the two commands of the README install nothing that they need not.)
//!
//! Arguments are parts of names, of end-to-end tests and of other programs: without any, everything runs. One that is in
//! no name is an error, since nothing that ran has passed.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

mod job;
mod plan;
mod programs;
mod report;
mod times;

use std::collections::VecDeque;
use std::env;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use cdc_tests::Failure;

use job::{Ended, Job};
use plan::Plan;
use report::Report;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("test-runner: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything passed.
fn run() -> Result<bool, Failure> {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let begun = Instant::now();
    let programs = programs::build()?;
    println!("built in {:.1} s", begun.elapsed().as_secs_f64());
    let Plan { beside, alone } = plan::plan(&programs, &wanted)?;
    let columns = plan::columns()?;
    println!("{} jobs side by side, {columns} at a time; {} alone", beside.len(), alone.len());

    let mut report = Report::new(columns);
    for (jobs, columns) in [(beside, columns), (alone, 1)] {
        side_by_side(jobs, columns, &mut report);
    }
    Ok(report.conclude())
}

/// Runs the jobs in this order, at most so many at a time.
fn side_by_side(jobs: Vec<Job>, columns: usize, report: &mut Report) {
    let queue = Mutex::new(VecDeque::from(jobs));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let (ended, results) = mpsc::channel::<Ended>();
    thread::scope(|scope| {
        for _ in 0..columns {
            let ended = ended.clone();
            scope.spawn(move || {
                while let Some(job) = next() {
                    // The receiver outlives every sender.
                    let _ = ended.send(job.run());
                }
            });
        }
        drop(ended);
        for result in results {
            report.add(result);
        }
    });
}
