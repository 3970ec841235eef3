//! One process with tests: how it is run, and what became of it.

use std::io::{self, BufRead as _, BufReader, PipeReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use cdc_tests::Failure;

use crate::programs::{Program, cargo};
use crate::times;

/// The longest that a job may take; then it is killed, and its servers with it.
const WITHIN: Duration = Duration::from_secs(20 * 60);
/// Between two looks whether the process has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Silence behind the process's end after which nothing more is expected, and the longest that is listened at all.
const REST_WITHIN: Duration = Duration::from_millis(500);
const REST_MAX: Duration = Duration::from_secs(10);
/// Tests of one program that run at once: they share a server, and the machine with other programs.
const THREADS: usize = 2;

/// A process to be run.
pub(crate) struct Job {
    /// Package, target and, where it is but one, the test.
    pub(crate) name: String,
    command: Command,
    tests: Tests,
}

/// What a job runs.
enum Tests {
    /// One test, which says aloud what it measures.
    One,
    /// All of a program, in this order.
    All(Vec<String>),
    /// The examples in the documentation, of which cargo alone knows the names.
    Documentation,
}

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) took: Duration,
    pub(crate) has_passed: bool,
}

/// What became of a job.
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) took: Duration,
    pub(crate) tests: Vec<Outcome>,
    /// Everything that it printed.
    pub(crate) output: Vec<String>,
    /// Why it has failed, where it has.
    pub(crate) failure: Option<String>,
}

impl Job {
    /// One test of a program.
    pub(crate) fn test(program: &Program, test: &str) -> Self {
        let mut command = command(program);
        command.args([test, "--exact", "--nocapture"]);
        Self { name: format!("{} {} {test}", program.package, program.target), command, tests: Tests::One }
    }

    /// All tests of a program.
    pub(crate) fn program(program: &Program) -> Self {
        let mut command = command(program);
        command.arg(format!("--test-threads={THREADS}"));
        let name = format!("{} {}", program.package, program.target);
        Self { name, command, tests: Tests::All(program.tests.clone()) }
    }

    /// The examples in the documentation of all packages.
    pub(crate) fn documentation() -> Self {
        let mut command = cargo();
        command.args(["test", "--doc", "--quiet"]);
        Self { name: "documentation".to_owned(), command, tests: Tests::Documentation }
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ended {
        let Self { name, command, tests } = self;
        let begun = Instant::now();
        let mut lines = Vec::new();
        let ended = watch(command, begun, &mut lines);
        let took = begun.elapsed();
        let mut failure = match ended {
            Ok(status) => (!status.success()).then(|| status.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let tests = match tests {
            Tests::Documentation => Vec::new(),
            Tests::One => {
                // A name that matches nothing would pass as well.
                let has_run = lines.iter().any(|(_, line)| line.starts_with("test result: ok. 1 passed;"));
                if failure.is_none() && !has_run {
                    failure = Some("the test has not run".to_owned());
                }
                vec![Outcome { name: String::new(), took, has_passed: failure.is_none() }]
            }
            Tests::All(names) => {
                let outcomes = times::outcomes(&names, &lines, THREADS);
                if failure.is_none() && outcomes.len() != names.len() {
                    failure = Some(format!("{} of {} tests have run", outcomes.len(), names.len()));
                }
                outcomes
            }
        };
        let output = lines.into_iter().map(|(_, line)| line).collect();
        Ended { name, took, tests, output, failure }
    }
}

/// Runs a process to its end and collects its lines, each with the time at which it came.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn watch(
    mut command: Command,
    begun: Instant,
    lines: &mut Vec<(Duration, String)>,
) -> Result<ExitStatus, Failure> {
    let (reader, writer) = io::pipe()?;
    let mut child = command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // It holds the pipe's other end, which would never close.
    drop(command);
    let (said, heard) = mpsc::channel();
    thread::spawn(move || read(reader, begun, &said));
    loop {
        match heard.recv_timeout(LOOK_INTERVAL) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody holds the pipe any more: it ends.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK_INTERVAL),
        }
        if let Some(status) = child.try_wait()? {
            // Not to the pipe's end: a process that was left behind may hold it, and say more and more.
            let until = Instant::now() + REST_MAX;
            let rest = std::iter::from_fn(|| heard.recv_timeout(REST_WITHIN).ok());
            lines.extend(rest.take_while(|_| Instant::now() < until));
            return Ok(status);
        }
        if begun.elapsed() > WITHIN {
            return Err(kill(&mut child));
        }
    }
}

fn command(program: &Program) -> Command {
    let mut command = Command::new(&program.path);
    command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
    command
}

fn read(reader: PipeReader, begun: Instant, said: &mpsc::Sender<(Duration, String)>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if said.send((begun.elapsed(), text)).is_err() {
            return;
        }
    }
}

fn kill(child: &mut Child) -> Failure {
    let ended = child.kill().and_then(|()| child.wait());
    format!("killed after {} s ({ended:?})", WITHIN.as_secs()).into()
}
