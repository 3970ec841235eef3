//! `cdc-model sim`: the simulator, for as long as one likes.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cdc_model::sim::coverage::Coverage;
use cdc_model::sim::faults::Options;
use cdc_model::sim::runner::{Outcome, explain, run as play};
use cdc_model::sim::shrink::shrink;

use super::Words;

/// How often a run tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Lines of the log that a failure shows, where nobody says how many.
const LOG_LINES: u64 = 200;

/// What all threads work on.
struct Run {
    first: u64,
    count: u64,
    limit: Duration,
    began: Instant,
    next: AtomicU64,
    seen: Mutex<(Coverage, Instant)>,
    failed: Mutex<Option<(Options, Outcome)>>,
}

/// Runs it.
pub(crate) fn run(words: &Words) -> ExitCode {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let began = Instant::now();
    let run = Run {
        first: words.number("--seed").unwrap_or(0),
        count: words.number("--schedules").unwrap_or(u64::MAX),
        limit: Duration::from_secs(words.number("--seconds").unwrap_or(60)),
        began,
        next: AtomicU64::new(0),
        seen: Mutex::new((Coverage::default(), began)),
        failed: Mutex::new(None),
    };
    thread::scope(|scope| {
        (0..words.number("--threads").unwrap_or(cores)).for_each(|_| drop(scope.spawn(|| run.work())));
    });
    let (seen, _) = run.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    print!("{}", seen.summary(began.elapsed()));
    let failed = run.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or(ExitCode::SUCCESS, |(options, outcome)| {
        let lines = words.number("--lines").unwrap_or(LOG_LINES);
        tell_failure(&options, &outcome, lines, words.has("--whole"));
        ExitCode::FAILURE
    })
}

impl Run {
    fn work(&self) {
        loop {
            let done = self.next.fetch_add(1, Ordering::Relaxed);
            let has_failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            if has_failed || done >= self.count || self.began.elapsed() > self.limit {
                return;
            }
            let options = Options::of(self.first.wrapping_add(done));
            let outcome = play(options.clone());
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.0.add(&outcome.coverage);
            if seen.1.elapsed() > TELL_EVERY {
                seen.1 = Instant::now();
                println!("{}", seen.0.line(self.began.elapsed()));
            }
            drop(seen);
            if outcome.violation.is_some() {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((options, outcome));
            }
        }
    }
}

fn tell_failure(options: &Options, outcome: &Outcome, lines: u64, is_whole: bool) {
    if let Some(violation) = &outcome.violation {
        println!("seed {} fails: {violation}\noptions: {options}", options.seed);
    }
    let least = if is_whole { outcome.moves.clone() } else { shrink(options, outcome) };
    println!("{} of its {} moves:", least.len(), outcome.moves.len());
    least.iter().for_each(|it| println!("  {it}"));
    let again = explain(options.clone(), &least);
    println!("what was told and ordered last:");
    let skipped = again.log.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
    again.log.iter().skip(skipped).for_each(|line| println!("  {line}"));
    if let Some(violation) = again.violation {
        println!("{violation}");
    }
}
