//! Instructions per event on the paths that each event takes, counted under callgrind.
//!
//! `cdc-instructions` runs itself under `valgrind --tool=callgrind`, each part once over n events and once over 2n.
//! The difference over n is what an event costs: start-up cancels. `docs/performance.md` has the numbers.
//!
//! `cdc-instructions PART N` runs one part without counting. The parts `copy` and `arrays` need a PostgreSQL server:
//! `DEMO_POSTGRES_URL`, as `devstack` prints it.

mod documents;
mod encode;
mod syncer;
mod watcher;
mod write;

use std::error::Error;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};

/// What a part may fail with: its text goes to standard error.
type Failure = Box<dyn Error + Send + Sync>;

/// A part's name, its events per run, and what it does.
type Part = (&'static str, u64, fn(u64) -> Result<(), Failure>);

/// The parts in the order of an event's way.
const PARTS: [Part; 5] = [
    ("encode", 10_000, encode::run),
    ("watcher", 20_000, watcher::run),
    ("syncer", 20_000, syncer::run),
    ("copy", 4_000, write::copy),
    ("arrays", 4_000, write::arrays),
];

/// The environment variable with the address of the server for the parts that write.
const POSTGRES: &str = "DEMO_POSTGRES_URL";
const EXIT_USAGE: u8 = 2;
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [] => count_all(),
        [part, events] => match (PARTS.iter().find(|(name, ..)| name == part), events.parse()) {
            (Some((_, _, run)), Ok(events)) => run(events),
            _ => return report("usage: cdc-instructions [PART EVENTS]", EXIT_USAGE),
        },
        _ => return report("usage: cdc-instructions [PART EVENTS]", EXIT_USAGE),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error.to_string(), EXIT_FAILED),
    }
}

fn count_all() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| part | instructions per event |\n|---|---|")?;
    for (part, events, _) in PARTS {
        let once = count(part, events)?;
        let twice = count(part, 2 * events)?;
        writeln!(out, "| {part} | {} |", twice.saturating_sub(once) / events)?;
        out.flush()?;
    }
    Ok(())
}

/// The instructions of one run, as callgrind sums them up.
fn count(part: &str, events: u64) -> Result<u64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([part, &events.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    let sum = told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match sum {
        Some(sum) if output.status.success() => Ok(sum),
        _ => Err(format!("{part} over {events} events: {}\n{told}", output.status).into()),
    }
}

fn report(message: &str, code: u8) -> ExitCode {
    // If standard error is closed, the exit code says it alone.
    _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}
