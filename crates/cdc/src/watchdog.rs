//! Ends the process in time, whatever any library does.
//!
//! A thread with a runtime of its own hears the signals, passes them on to the services, and knows by when the process
//! has to be gone. A service that is blocked, a client that cannot be closed and a log that nobody reads do not hold it
//! up: it takes no lock that they take, and it ends the process without the exit handlers of the libraries in it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use cdc_executor::Shutdown;
use cdc_machine::{Cause, Signal};
use cdc_ports::StackTrace;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failed};
use crate::signals::{Arrivals, Count};

/// How long a process whose services have all stopped may take to close what they hold, and to say so. This comes on
/// top of `shutdown.timeout`.
pub const CLOSES_WITHIN: Duration = Duration::from_secs(3);

/// How long a process may still take after a second signal. With the end of the process itself that is a second.
pub const ABORTS_WITHIN: Duration = Duration::from_millis(800);

/// How long the log may take for the watchdog's last line.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(100);

/// How long the log may take for a signal's line before the signal is passed on: shorter than the time within which
/// another one counts as the same.
const SIGNAL_TOLD_WITHIN: Duration = Duration::from_millis(20);

/// Lines that may wait for the log: two signals and the last words.
const LINES_MAX: usize = 3;

/// The watchdog of this process.
#[derive(Clone, Debug)]
pub struct Watchdog {
    outcome: Arc<OnceLock<Exit>>,
    has_failed: CancellationToken,
    is_over: CancellationToken,
}

impl Watchdog {
    /// Sets it over these services, which are to drain within `drains_within`.
    ///
    /// # Errors
    /// When signals cannot be handled, or no thread can be started.
    pub fn start(services: Vec<Shutdown>, drains_within: Duration) -> Result<Self, Failed> {
        let cannot = |what: &str, error: &dyn std::fmt::Display| {
            Failed::new(Exit::LocalIo, format!("{what}: {error}; check this process's limits"))
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| cannot("the watchdog's runtime cannot be started", &error))?;
        let arrivals = {
            let _within = runtime.enter();
            Arrivals::install().map_err(|error| cannot("signals cannot be handled", &error))?
        };
        let watchdog = Self::new();
        let (lines, to_tell) = sync_channel(LINES_MAX);
        let teller = thread::Builder::new().name("watchdog-log".to_owned()).spawn(move || tell(&to_tell));
        teller.map_err(|error| cannot("the watchdog's log cannot be started", &error))?;
        let mut watch = Watch {
            watchdog: watchdog.clone(),
            services,
            drains_within,
            lines,
            count: Count::default(),
            deadline: None,
        };
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                let mut arrivals = arrivals;
                let last = runtime.block_on(watch.until_overdue(async || arrivals.next().await));
                last.leave();
            })
            .map_err(|error| cannot("the watchdog cannot be started", &error))?;
        Ok(watchdog)
    }

    fn new() -> Self {
        Self {
            outcome: Arc::default(),
            has_failed: CancellationToken::new(),
            is_over: CancellationToken::new(),
        }
    }

    /// A service has failed, with or without a machine of its own to say so, and its neighbour is to drain. The first
    /// word counts.
    pub fn failing(&self, exit: Exit) {
        self.outcome.get_or_init(|| exit);
        self.has_failed.cancel();
    }

    /// The services have ended, and so does the process, soon. The first word counts.
    pub fn ended(&self, exit: Exit) {
        self.outcome.get_or_init(|| exit);
        self.is_over.cancel();
    }
}

/// What the watchdog's thread knows.
struct Watch {
    watchdog: Watchdog,
    services: Vec<Shutdown>,
    drains_within: Duration,
    lines: SyncSender<Line>,
    count: Count,
    deadline: Option<Instant>,
}

impl Watch {
    /// Passes signals on until the process should have ended.
    async fn until_overdue(&mut self, mut next_signal: impl AsyncFnMut() -> &'static str) -> LastWords {
        let (stopped, mut stops) = mpsc::channel(self.services.len().max(1));
        for service in self.services.clone() {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                service.until_stopped().await;
                // It has a place for each service, and is read until the process ends.
                let _ = stopped.try_send(());
            });
        }
        let Watchdog { has_failed, is_over, .. } = self.watchdog.clone();
        let mut running = self.services.len();
        loop {
            tokio::select! {
                () = at(self.deadline) => return self.last_words(),
                name = next_signal() => self.on_signal(name),
                Some(()) = stops.recv() => {
                    running = running.saturating_sub(1);
                    // Where one service has ended the other one drains.
                    self.end_within(if running == 0 { CLOSES_WITHIN } else { self.drains_within + CLOSES_WITHIN });
                }
                // Any deadline that is there already is no later than the one that this sets.
                () = has_failed.cancelled(), if self.deadline.is_none() => {
                    self.end_within(self.drains_within + CLOSES_WITHIN);
                }
                () = is_over.cancelled(), if !self.is_closing() => self.end_within(CLOSES_WITHIN),
            }
        }
    }

    fn on_signal(&mut self, name: &'static str) {
        let Some(signal) = self.count.on(std::time::Instant::now()) else { return };
        self.end_within(match signal {
            Signal::Drain => self.drains_within + CLOSES_WITHIN,
            Signal::Abort => ABORTS_WITHIN,
        });
        say(&self.lines, Words::Signal(name, signal), SIGNAL_TOLD_WITHIN);
        for service in &self.services {
            service.ask(signal);
        }
    }

    fn end_within(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        self.deadline = Some(self.deadline.map_or(deadline, |before| before.min(deadline)));
    }

    /// The process's end is as near as it gets without a second signal.
    fn is_closing(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now() + CLOSES_WITHIN)
    }

    fn last_words(&self) -> LastWords {
        let cause = cause_of(&self.services, self.count.told());
        let exit = self.watchdog.outcome.get().copied().unwrap_or_else(|| Exit::of(cause));
        LastWords { exit, cause, lines: self.lines.clone() }
    }
}

/// Waits for a moment; for ever where there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Why the process ends: a service's own cause, a failure before an orderly end; where one has none yet, what it did not
/// come to in time.
fn cause_of(services: &[Shutdown], asked: Option<Signal>) -> Cause {
    let overdue = if asked == Some(Signal::Abort) { Cause::Aborted } else { Cause::DrainTimedOut };
    let causes = || services.iter().map(Shutdown::cause);
    let failed = causes().flatten().find(|cause| *cause != Cause::Drained);
    failed.unwrap_or(if causes().all(|cause| cause.is_some()) { Cause::Drained } else { overdue })
}

/// How the watchdog ends the process.
struct LastWords {
    exit: Exit,
    cause: Cause,
    lines: SyncSender<Line>,
}

impl LastWords {
    fn leave(self) -> ! {
        say(&self.lines, Words::Overdue(self.exit, self.cause), LAST_WORDS_WITHIN);
        self.exit.leave()
    }
}

/// What the watchdog has to say, and whom to tell once it is written.
struct Line {
    words: Words,
    written: SyncSender<()>,
}

enum Words {
    Signal(&'static str, Signal),
    /// The process is ended.
    Overdue(Exit, Cause),
}

/// Has a line written, and waits for that no longer than this: a log that nobody reads may never take it.
fn say(lines: &SyncSender<Line>, words: Words, within: Duration) {
    let (written, is_written) = sync_channel(1);
    if lines.try_send(Line { words, written }).is_ok() {
        let _ = is_written.recv_timeout(within);
    }
}

/// The log may block for as long as nobody reads it, so it has a thread of its own.
fn tell(lines: &Receiver<Line>) {
    for Line { words, written } in lines {
        match words {
            Words::Signal(signal, Signal::Drain) => {
                tracing::info!(operation = "signal", signal, "draining; a second signal stops at once");
            }
            Words::Signal(signal, Signal::Abort) => {
                tracing::info!(operation = "signal", signal, "stopping at once");
            }
            Words::Overdue(exit, cause) => {
                let (exit_code, stack_trace) = (exit.code(), StackTrace::capture());
                if exit == Exit::Clean {
                    tracing::warn!(operation = "stop", %cause, exit_code, "{OVERDUE}");
                } else {
                    tracing::error!(
                        operation = "stop",
                        error_type = "fatal",
                        error = %cause,
                        %stack_trace,
                        exit_code,
                        "{OVERDUE}"
                    );
                }
            }
        }
        // The watchdog may have gone on without it.
        let _ = written.try_send(());
    }
}

/// What is said where the process did not end by itself.
const OVERDUE: &str =
    "stopped by the watchdog: a library, or whoever reads the log, held the process up at its end";

#[cfg(test)]
mod tests {
    use cdc_machine::Dependency;

    use super::*;

    fn services(causes: [Option<Cause>; 2]) -> Vec<Shutdown> {
        let service = |cause: Option<Cause>| {
            let shutdown = Shutdown::default();
            cause.into_iter().for_each(|cause| shutdown.stopped(cause));
            shutdown
        };
        causes.map(service).into()
    }

    #[test]
    fn the_exit_code_is_the_machines_cause_where_there_is_one() {
        let away = Cause::Unavailable(Dependency::Kafka);
        let drain = Some(Signal::Drain);
        let of = |causes, asked| cause_of(&services(causes), asked);
        assert_eq!(of([Some(Cause::Drained), Some(Cause::Drained)], drain), Cause::Drained);
        assert_eq!(of([Some(Cause::Drained), Some(Cause::Aborted)], Some(Signal::Abort)), Cause::Aborted);
        assert_eq!(
            of([None, Some(away)], None),
            away,
            "a failure is told although its neighbour still drains"
        );
        assert_eq!(of([Some(Cause::Drained), None], drain), Cause::DrainTimedOut);
        assert_eq!(of([None, None], Some(Signal::Abort)), Cause::Aborted);
    }

    fn watch(lines: SyncSender<Line>, services: Vec<Shutdown>) -> Watch {
        Watch {
            watchdog: Watchdog::new(),
            services,
            drains_within: Duration::from_secs(25),
            lines,
            count: Count::default(),
            deadline: None,
        }
    }

    #[tokio::test]
    async fn a_log_that_nobody_reads_holds_no_deadline_up() {
        let (lines, unread) = sync_channel(LINES_MAX);
        let services = services([None, None]);
        let mut watch = watch(lines, services.clone());
        watch.on_signal("SIGTERM");
        assert_eq!(services[1].signals().next().await, Signal::Drain);
        let first = watch.deadline.unwrap();
        assert!(first > Instant::now() + Duration::from_secs(25));
        tokio::time::sleep(crate::signals::SAME_SIGNAL_WITHIN).await;
        watch.on_signal("SIGINT");
        assert_eq!(services[0].signals().next().await, Signal::Abort);
        assert!(watch.deadline.unwrap() <= Instant::now() + ABORTS_WITHIN);
        let last = watch.last_words();
        assert_eq!(last.exit, Exit::Temporary);
        say(&last.lines, Words::Overdue(last.exit, last.cause), LAST_WORDS_WITHIN);
        assert_eq!(unread.try_iter().count(), LINES_MAX, "each had its place, and was waited for in vain");
    }

    #[tokio::test]
    async fn a_failure_before_there_is_a_machine_sets_the_deadline_and_the_exit_code() {
        let (lines, _unread) = sync_channel(LINES_MAX);
        let mut watch = watch(lines, services([None, None]));
        let allowed = watch.drains_within + CLOSES_WITHIN;
        watch.watchdog.failing(Exit::Config);
        let before = Instant::now();
        // It hears of the failure at once, and then waits for what does not come.
        let waited = tokio::time::timeout(Duration::ZERO, watch.until_overdue(std::future::pending));
        assert!(waited.await.is_err());
        let deadline = watch.deadline.unwrap();
        assert!(deadline >= before + allowed && deadline <= Instant::now() + allowed);
        watch.watchdog.failing(Exit::Refused);
        watch.watchdog.ended(Exit::Refused);
        assert_eq!(watch.last_words().exit, Exit::Config, "the first failure in time");
    }

    #[tokio::test]
    async fn an_outcome_is_kept_whatever_the_machines_said() {
        let (lines, _unread) = sync_channel(0);
        let watch = watch(lines, services([None, None]));
        watch.watchdog.ended(Exit::LocalIo);
        assert_eq!(watch.last_words().exit, Exit::LocalIo);
    }
}
