use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cdc_machine::{Fault, StateName};
use cdc_syncer::Held;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::report::Attempt;
use cdc_ports::{Failure, TablesAtRisk};

/// How long a dependency may owe an answer before the service says that it is not well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(7);

/// How long a neighbour that is asked nothing may be silent before it is asked for a sign of life.
const QUIET: Duration = Duration::from_secs(3);

/// Held topics beside the first that a reason names.
const HELD_NAMED_MAX: usize = 5;

/// How long a sign of life may take. With [`QUIET`] and a tick, a neighbour that is gone is known within
/// seven seconds.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What one neighbour has shown of itself. It decides nothing but what probes are told.
#[derive(Debug)]
pub(crate) struct DependencyHealth {
    name: &'static str,
    heard: Instant,
    trouble: Option<String>,
}

impl DependencyHealth {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, heard: Instant::now(), trouble: None }
    }

    /// It answered as asked.
    pub(crate) fn answered(&mut self) {
        self.heard = Instant::now();
        self.trouble = None;
    }

    /// It did not, at this try of so many. A refusal of one record or one request is an answer, and a good one.
    pub(crate) fn failed(&mut self, failure: &Failure, attempt: Option<Attempt>) {
        match failure.fault {
            Fault::Transient
            | Fault::Unreachable
            | Fault::Auth
            | Fault::Unfit
            | Fault::Fatal
            | Fault::Bug => {
                // Trouble is asked about at the same pace as silence.
                self.heard = Instant::now();
                let tries = attempt.map(|attempt| format!("; {attempt}")).unwrap_or_default();
                self.trouble = Some(format!("{}{}{tries}", self.name, failure.words()));
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
    /// True while the service works, for other topics where some are held.
    pub ready: bool,
    /// Why it is not healthy; what it is doing where it is.
    pub reason: String,
    /// Rows that wait for a unique value; the Syncer's only.
    pub parked_rows: Option<u64>,
    /// Partitions that get no documents, since the topics have grown; the Watcher's only.
    pub unused_partitions: Option<u64>,
    /// The watched names, once they were looked at; the Watcher's only.
    pub watched: Vec<WatchedName>,
    /// Documents that were there before the stream began, and are not copied, by collection; the Watcher's only.
    pub uncopied: Vec<(String, u64)>,
    /// Topics that are held, and why; the Syncer's only.
    pub held: Vec<HeldTopic>,
    /// How far behind the topics are; the Syncer's only.
    pub lag: Vec<TopicLag>,
    /// Tables that are written at a risk; the Syncer's only.
    pub at_risk: TablesAtRisk,
}

/// A watched name, and what the source has under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedName {
    /// The name.
    pub name: String,
    /// `changes` where all is well, `absent` where there is nothing yet, else what keeps it from being watched.
    pub serves: &'static str,
}

/// How far behind a topic is, over the partitions in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLag {
    /// Which topic.
    pub topic: String,
    /// The age of the oldest record that is not written.
    pub seconds: u64,
    /// How many are not written.
    pub records: u64,
    /// Rows inserted, updated and deleted of late.
    pub rows_per_second: u64,
}

/// A topic that is held: nothing of it is read until what is wrong is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTopic {
    /// Which topic.
    pub topic: String,
    /// Why, as in the metric.
    pub reason: &'static str,
    /// The table, what is wrong with it and the way out.
    pub detail: String,
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
            uncopied: Vec::new(),
            held: Vec::new(),
            lag: Vec::new(),
            at_risk: TablesAtRisk::default(),
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

    /// Publishes the documents that are not copied, beside those that were told before.
    pub(crate) fn uncopied(&self, mut documents: Vec<(String, u64)>) {
        self.sender.send_modify(|health| health.uncopied.append(&mut documents));
    }

    /// Publishes the topics that are held.
    pub(crate) fn holds(&self, holds: &BTreeMap<Arc<str>, Held>) {
        let is_same = |(told, (topic, held)): (&HeldTopic, (&Arc<str>, &Held))| {
            *told.topic == **topic && told.reason == held.reason.as_str() && *told.detail == *held.detail
        };
        self.sender.send_if_modified(|health| {
            if health.held.len() == holds.len() && health.held.iter().zip(holds).all(is_same) {
                return false;
            }
            let tell = |(topic, held): (&Arc<str>, &Held)| HeldTopic {
                topic: topic.as_ref().to_owned(),
                reason: held.reason.as_str(),
                detail: held.detail.as_ref().to_owned(),
            };
            health.held = holds.iter().map(tell).collect();
            true
        });
    }

    /// Publishes how far behind the topics are.
    pub(crate) fn lag(&self, topics: Vec<TopicLag>) {
        self.sender.send_if_modified(|health| {
            let changed = health.lag != topics;
            health.lag = topics;
            changed
        });
    }

    /// Publishes the tables that are written at a risk.
    pub(crate) fn at_risk(&self, tables: &TablesAtRisk) {
        self.sender.send_if_modified(|health| {
            let changed = health.at_risk != *tables;
            if changed {
                health.at_risk.clone_from(tables);
            }
            changed
        });
    }

    /// Publishes what has changed. `trouble` is the reason for not being healthy although the machine is in
    /// a working state: somebody owes an answer for too long, or gave a bad one. `missing` is what the configuration
    /// names and nobody has: the service is ready for what there is, and somebody has to look.
    pub(crate) fn update(&self, state: StateName, trouble: Option<&str>, missing: Option<&str>) {
        let ready = is_working(state) && trouble.is_none();
        let held = if ready { held_in_words(&self.sender.borrow().held) } else { None };
        let told = match (held, missing.filter(|_| ready)) {
            (Some(held), Some(missing)) => Some(format!("{held}; {missing}")),
            (held, missing) => held.or(missing.map(ToOwned::to_owned)),
        };
        let healthy = ready && told.is_none();
        let reason = match (trouble.or(told.as_deref()), state) {
            (Some(trouble), _) => trouble,
            (None, StateName::Connecting) => "connecting",
            (None, StateName::Streaming) => "streaming",
            (None, StateName::AwaitingAck) => "waiting for acknowledgements",
            (None, StateName::SavingToken) => "saving progress",
            (None, StateName::Draining) => "draining",
            (None, StateName::Stopped) => "stopped",
        };
        self.sender.send_if_modified(|health| {
            let changed = health.state != state
                || (health.healthy, health.ready) != (healthy, ready)
                || health.reason != reason;
            if changed {
                health.state = state;
                health.healthy = healthy;
                health.ready = ready;
                reason.clone_into(&mut health.reason);
            }
            changed
        });
    }
}

/// What a person has to know who looks at nothing else.
fn held_in_words(held: &[HeldTopic]) -> Option<String> {
    let first = held.first()?;
    let mut words = format!("topic {} is held ({}): {}", first.topic, first.reason, first.detail);
    for HeldTopic { topic, reason, .. } in held.iter().skip(1).take(HELD_NAMED_MAX) {
        words.push_str(&format!("; topic {topic} is held, too ({reason})"));
    }
    if held.len() > HELD_NAMED_MAX + 1 {
        words.push_str(&format!("; and {} more, see /status", held.len() - HELD_NAMED_MAX - 1));
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use cdc_syncer::HoldReason;

    use super::*;

    #[test]
    fn a_neighbour_is_in_trouble_from_a_failure_to_the_next_answer() {
        let mut health = DependencyHealth::new("redis");
        assert_eq!(health.trouble(), None);
        for fault in Fault::ALL {
            health.failed(&Failure::new(fault, "token_save", "no answer"), None);
            let expected = match fault {
                Fault::Transient
                | Fault::Unreachable
                | Fault::Auth
                | Fault::Unfit
                | Fault::Fatal
                | Fault::Bug => Some("redis: no answer"),
                Fault::RetryNow
                | Fault::Blocked
                | Fault::Poison
                | Fault::TooLarge
                | Fault::HistoryLost
                | Fault::Fenced => None,
            };
            assert_eq!(health.trouble(), expected, "{fault}");
            health.answered();
            assert_eq!(health.trouble(), None);
        }
        assert!(!health.is_quiet());
    }

    #[test]
    fn words_say_which_try_of_how_many_it_was() {
        let mut health = DependencyHealth::new("mongodb");
        let failure = Failure::new(Fault::Transient, "mongodb_hello", "no answer; trying again");
        health.failed(&failure, Some(Attempt { retry: 0, max: None }));
        assert_eq!(health.trouble(), Some("mongodb: no answer; trying again; try 1"));
        let failure = failure.in_brief("127.0.0.1:1: connection refused");
        health.failed(&failure, Some(Attempt { retry: 2, max: Some(5) }));
        assert_eq!(health.trouble(), Some("mongodb 127.0.0.1:1: connection refused; try 3 of 6"));
    }

    #[test]
    fn a_held_topic_makes_the_service_unhealthy_and_leaves_it_ready() {
        let (sign, receiver) = HealthSign::new("syncer");
        let held = |topics: &[&str]| -> BTreeMap<Arc<str>, Held> {
            let held = Held { reason: HoldReason::NotFenced, detail: Arc::from("table public.t") };
            topics.iter().map(|topic| (Arc::from(*topic), held.clone())).collect()
        };
        for state in StateName::ALL {
            sign.holds(&held(&["a", "b"]));
            sign.update(state, None, None);
            assert_eq!((receiver.borrow().healthy, receiver.borrow().ready), (false, is_working(state)));
            if is_working(state) {
                let words = "topic a is held (not_fenced): table public.t; topic b is held, too (not_fenced)";
                assert_eq!(receiver.borrow().reason, words);
            }
            sign.holds(&held(&[]));
            sign.update(state, None, None);
            assert_eq!(receiver.borrow().healthy, is_working(state));
        }
        sign.holds(&held(&["a", "b", "c", "d", "e", "f", "g", "h"]));
        sign.update(StateName::Streaming, None, None);
        assert!(receiver.borrow().reason.ends_with("; and 2 more, see /status"), "{:?}", receiver.borrow());
    }

    #[test]
    fn what_nobody_has_makes_the_service_unhealthy_and_leaves_it_ready() {
        let (sign, receiver) = HealthSign::new("syncer");
        for state in StateName::ALL {
            sign.update(state, None, Some("topic t does not exist"));
            assert_eq!((receiver.borrow().healthy, receiver.borrow().ready), (false, is_working(state)));
            assert_eq!(receiver.borrow().reason == "topic t does not exist", is_working(state));
        }
    }

    #[test]
    fn only_a_working_state_without_trouble_is_healthy() {
        let (sign, receiver) = HealthSign::new("watcher");
        for state in StateName::ALL {
            sign.update(state, None, None);
            let working = !matches!(state, StateName::Connecting | StateName::Draining | StateName::Stopped);
            assert_eq!(receiver.borrow().healthy, working, "{state}");
            sign.update(state, Some("redis owes an answer for 9 s"), Some("no topic"));
            assert!(!receiver.borrow().healthy, "{state}");
            assert_eq!(receiver.borrow().reason, "redis owes an answer for 9 s");
        }
    }
}
