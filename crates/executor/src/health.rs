use std::time::Duration;

use cdc_machine::{Fault, StateName};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ports::Failure;

/// How long a dependency may owe an answer before the service says that it is not well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(7);

/// How long a neighbour that is asked nothing may be silent before it is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(3);

/// How long a sign of life may take. With [`QUIET`] and a tick, a neighbour that is gone is known within
/// seven seconds.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What one neighbour has shown of itself. It decides nothing but what probes are told.
#[derive(Debug)]
pub(crate) struct Standing {
    name: &'static str,
    heard: Instant,
    trouble: Option<String>,
}

impl Standing {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, heard: Instant::now(), trouble: None }
    }

    /// It answered as asked.
    pub(crate) fn answered(&mut self) {
        self.heard = Instant::now();
        self.trouble = None;
    }

    /// It did not. A refusal of one record or one request is an answer, and a good one.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        match failure.fault {
            Fault::Transient | Fault::Auth | Fault::Fatal => {
                // Trouble is asked about at the same pace as silence.
                self.heard = Instant::now();
                self.trouble = Some(format!("{}: {}", self.name, failure.message));
            }
            Fault::RetryNow
            | Fault::Blocked
            | Fault::Poison
            | Fault::TooLarge
            | Fault::HistoryLost
            | Fault::Fenced => self.answered(),
        }
    }

    /// Why the last request was in vain.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Nothing was heard of it for so long that it has to be asked.
    pub(crate) fn is_quiet(&self) -> bool {
        self.heard.elapsed() >= QUIET
    }
}

/// The states in which every neighbour has been reached once, and is needed.
pub(crate) const fn is_working(state: StateName) -> bool {
    matches!(state, StateName::Streaming | StateName::AwaitingAck | StateName::SavingToken)
}

/// Bounds a sign of life.
pub(crate) async fn within_reason<T>(probe: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Failure::new(
            Fault::Transient,
            "probe",
            format!("no sign of life within {} s", PROBE_TIMEOUT.as_secs()),
        )),
    }
}

/// What a service says of itself, for probes and the status page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `watcher` or `syncer`.
    pub service: &'static str,
    /// The machine's state.
    pub state: StateName,
    /// True while the stream is active or partitions are served, idle included.
    pub healthy: bool,
    /// True once the service has begun its work for the first time and as long as it is healthy.
    pub ready: bool,
    /// Why it is not healthy; what it is doing where it is.
    pub reason: String,
    /// Rows that wait for a unique value; the Syncer's only.
    pub parked_rows: Option<u64>,
    /// Partitions that get no documents, since the topics have grown; the Watcher's only.
    pub unused_partitions: Option<u64>,
    /// The watched names, once they were looked at; the Watcher's only.
    pub watched: Vec<WatchedName>,
}

/// A watched name, and what the source has under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedName {
    /// The name.
    pub name: String,
    /// `changes` where all is well, `absent` where there is nothing yet, else what keeps it from being watched.
    pub serves: &'static str,
}

impl Health {
    /// A service that has not begun.
    #[must_use]
    pub fn starting(service: &'static str) -> Self {
        Self {
            service,
            state: StateName::Connecting,
            healthy: false,
            ready: false,
            reason: "starting".to_owned(),
            parked_rows: None,
            unused_partitions: None,
            watched: Vec::new(),
        }
    }
}

/// The executor's end of a service's health.
#[derive(Debug)]
pub(crate) struct HealthSign {
    sender: watch::Sender<Health>,
}

impl HealthSign {
    pub(crate) fn new(service: &'static str) -> (Self, watch::Receiver<Health>) {
        let (sender, receiver) = watch::channel(Health::starting(service));
        (Self { sender }, receiver)
    }

    /// Publishes the number of parked rows.
    pub(crate) fn parked(&self, rows: u64) {
        self.sender.send_if_modified(|health| health.parked_rows.replace(rows) != Some(rows));
    }

    /// Publishes the number of partitions that get no documents.
    pub(crate) fn unused_partitions(&self, partitions: u64) {
        self.sender
            .send_if_modified(|health| health.unused_partitions.replace(partitions) != Some(partitions));
    }

    /// Publishes what the source has under the watched names.
    pub(crate) fn watched(&self, names: Vec<WatchedName>) {
        self.sender.send_if_modified(|health| {
            let changed = health.watched != names;
            health.watched = names;
            changed
        });
    }

    /// Publishes what has changed. `trouble` is the reason for not being healthy although the machine is in
    /// a working state: somebody owes an answer for too long, or gave a bad one.
    pub(crate) fn update(&self, state: StateName, trouble: Option<&str>) {
        let healthy = is_working(state) && trouble.is_none();
        let reason = match (trouble, state) {
            (Some(trouble), _) => trouble,
            (None, StateName::Connecting) => "connecting",
            (None, StateName::Streaming) => "streaming",
            (None, StateName::AwaitingAck) => "waiting for acknowledgements",
            (None, StateName::SavingToken) => "saving progress",
            (None, StateName::Draining) => "draining",
            (None, StateName::Stopped) => "stopped",
        };
        self.sender.send_if_modified(|health| {
            let changed = health.state != state || health.healthy != healthy || health.reason != reason;
            if changed {
                health.state = state;
                health.healthy = healthy;
                health.ready = healthy;
                reason.clone_into(&mut health.reason);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_in_trouble_from_a_failure_to_the_next_answer() {
        let mut standing = Standing::new("redis");
        assert_eq!(standing.trouble(), None);
        for fault in Fault::ALL {
            standing.failed(&Failure::new(fault, "token_save", "no answer"));
            let expected = match fault {
                Fault::Transient | Fault::Auth | Fault::Fatal => Some("redis: no answer"),
                Fault::RetryNow
                | Fault::Blocked
                | Fault::Poison
                | Fault::TooLarge
                | Fault::HistoryLost
                | Fault::Fenced => None,
            };
            assert_eq!(standing.trouble(), expected, "{fault}");
            standing.answered();
            assert_eq!(standing.trouble(), None);
        }
        assert!(!standing.is_quiet());
    }

    #[test]
    fn only_a_working_state_without_trouble_is_healthy() {
        let (sign, receiver) = HealthSign::new("watcher");
        for state in StateName::ALL {
            sign.update(state, None);
            let working = !matches!(state, StateName::Connecting | StateName::Draining | StateName::Stopped);
            assert_eq!(receiver.borrow().healthy, working, "{state}");
            sign.update(state, Some("redis owes an answer for 9 s"));
            assert!(!receiver.borrow().healthy, "{state}");
            assert_eq!(receiver.borrow().reason, "redis owes an answer for 9 s");
        }
    }
}
