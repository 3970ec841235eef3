//! How a service is asked to end, how it says why it has, and how long what it holds may take to close.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cdc_machine::{Cause, Signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the tasks of a service that has stopped may take to close what they hold on the servers.
pub(crate) const TASKS_CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The same after a second signal, which is to end the process within a second.
pub(crate) const ABORTED_TASKS_CLOSE_WITHIN: Duration = Duration::from_millis(300);

/// How long they may take after this end.
pub(crate) fn closing_time(cause: Cause) -> Duration {
    if cause == Cause::Aborted { ABORTED_TASKS_CLOSE_WITHIN } else { TASKS_CLOSE_WITHIN }
}

/// One service's end, seen from both sides: whoever asks for it, and the service. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
    stopped: CancellationToken,
    cause: Arc<OnceLock<Cause>>,
}

impl Shutdown {
    /// Asks for a drain, or for an end at once. Asked twice for the same, a service is told once.
    pub fn ask(&self, signal: Signal) {
        match signal {
            Signal::Drain => self.drain.cancel(),
            Signal::Abort => self.abort.cancel(),
        }
    }

    /// What is asked for, from the beginning on.
    #[must_use]
    pub fn signals(&self) -> Signals {
        Signals { shutdown: self.clone(), told: None }
    }

    /// Says why the service has stopped, before it closes what it holds. The first word counts.
    pub fn stopped(&self, cause: Cause) {
        self.cause.get_or_init(|| cause);
        self.stopped.cancel();
    }

    /// Waits until the service has stopped.
    pub async fn until_stopped(&self) {
        self.stopped.cancelled().await;
    }

    /// Why it has stopped; `None` while it has not.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
    }
}

/// What a service is asked for, one after the other.
#[derive(Debug)]
pub struct Signals {
    shutdown: Shutdown,
    told: Option<Signal>,
}

impl Signals {
    /// The next that was not told yet. An abort needs no drain before it, and nothing follows it.
    pub async fn next(&mut self) -> Signal {
        let Shutdown { drain, abort, .. } = &self.shutdown;
        let signal = match self.told {
            None => tokio::select! {
                biased;
                () = abort.cancelled() => Signal::Abort,
                () = drain.cancelled() => Signal::Drain,
            },
            Some(Signal::Drain) => {
                abort.cancelled().await;
                Signal::Abort
            }
            Some(Signal::Abort) => std::future::pending().await,
        };
        self.told = Some(signal);
        signal
    }
}

/// A service's tasks: ended when their orders end, and cut off where they take too long over it.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    cut_off: CancellationToken,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut_off = self.cut_off.clone();
        self.tracker.spawn(async move { cut_off.run_until_cancelled(task).await });
    }

    /// Gives the tasks, whose orders have ended, a bounded time to close what they hold.
    pub(crate) async fn close(self, within: Duration) {
        self.tracker.close();
        if tokio::time::timeout(within, self.tracker.wait()).await.is_err() {
            tracing::warn!(
                operation = "close",
                "what the service holds on the servers did not close in time"
            );
            self.cut_off.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_drain_is_told_once_and_then_an_abort() {
        let shutdown = Shutdown::default();
        let mut signals = shutdown.signals();
        shutdown.ask(Signal::Drain);
        shutdown.ask(Signal::Drain);
        assert_eq!(signals.next().await, Signal::Drain);
        let again = tokio::time::timeout(Duration::from_millis(5), signals.next()).await;
        assert!(again.is_err(), "the same was told twice");
        shutdown.ask(Signal::Abort);
        assert_eq!(signals.next().await, Signal::Abort);
        // Whoever looks later hears the worst at once.
        assert_eq!(shutdown.signals().next().await, Signal::Abort);
    }

    #[test]
    fn the_first_cause_counts() {
        let shutdown = Shutdown::default();
        assert_eq!(shutdown.cause(), None);
        shutdown.stopped(Cause::Drained);
        shutdown.stopped(Cause::Aborted);
        assert_eq!(shutdown.cause(), Some(Cause::Drained));
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_cut_off() {
        let tasks = Tasks::default();
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        tasks.spawn(async move {
            pending::<()>().await;
            drop(alive);
        });
        tasks.close(Duration::from_millis(5)).await;
        assert_eq!(gone.recv().await, None, "its future is dropped");
    }
}
