//! A world that answers by a script, at once, and writes down when it was asked for what.

pub(crate) mod log;
mod schedule;
mod syncer;
mod watcher;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cdc_machine::{Fault, Signal};
use cdc_syncer::{Held, HoldReason};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Shutdown;
use crate::clock::Clock;
use cdc_ports::{ConsumerEvent, Failure, WriteCounts};

pub(crate) use schedule::{assert_waits, without_end};
pub(crate) use watcher::Reporting;

/// The most calls of a test: beyond them something goes round in circles.
const CALLS_MAX: usize = 10_000;

/// All neighbours of a service. Clones are handles to the same one.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    script: Arc<Mutex<Script>>,
    /// Something has happened that a quiet stream would see.
    pub(crate) nudge: Arc<Notify>,
}

#[derive(Default)]
struct Script {
    begun: Option<Instant>,
    calls: Vec<(&'static str, Duration)>,
    answers: BTreeMap<&'static str, VecDeque<Result<(), Fault>>>,
    always: BTreeMap<&'static str, Fault>,
    stop: Option<(&'static str, usize, Shutdown)>,
    /// The Watcher's stream: the number of the event last read, and how many there are.
    read: u32,
    events: u32,
    /// The Syncer's log.
    queue: VecDeque<ConsumerEvent>,
    epoch: cdc_machine::Epoch,
    offset: i64,
    counts: WriteCounts,
    held: Option<Held>,
}

impl World {
    /// Everything succeeds, and there are so many events or records.
    pub(crate) fn with_events(events: u32) -> Self {
        log::install();
        let clock = Clock::jumping();
        let script = Script { begun: Some(clock.now()), events, ..Script::default() };
        Self { clock, script: Arc::new(Mutex::new(script)), nudge: Arc::new(Notify::new()) }
    }

    /// This call always fails.
    pub(crate) fn failing(self, call: &'static str, fault: Fault) -> Self {
        self.script().always.insert(call, fault);
        self
    }

    /// This call is answered so, one after the other, and succeeds from then on.
    pub(crate) fn answering(self, call: &'static str, answers: &[Result<(), Fault>]) -> Self {
        self.script().answers.insert(call, answers.iter().copied().collect());
        self
    }

    /// No table can be written, for this reason.
    pub(crate) fn holding(self, reason: HoldReason) -> Self {
        self.script().held = Some(Held { reason, detail: Arc::from("table public.t is out of order") });
        self
    }

    pub(crate) fn counting(self, counts: WriteCounts) -> Self {
        self.script().counts = counts;
        self
    }

    /// The service is stopped at this call's `count`th time.
    pub(crate) fn stopping_at(self, call: &'static str, count: usize, service: Shutdown) -> Self {
        self.script().stop = Some((call, count, service));
        self
    }

    /// When this was called, from the beginning on.
    pub(crate) fn moments(&self, call: &str) -> Vec<Duration> {
        self.script().calls.iter().filter(|(name, _)| *name == call).map(|(_, at)| *at).collect()
    }

    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.script().calls.iter().map(|(name, _)| *name).collect()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Writes the call down and gives the script's answer.
    fn call(&self, name: &'static str) -> Result<(), Failure> {
        let now = self.clock.now();
        let mut script = self.script();
        let at = script.begun.map_or(Duration::ZERO, |begun| now - begun);
        script.calls.push((name, at));
        assert!(script.calls.len() < CALLS_MAX, "{name} is called without end");
        let times = script.calls.iter().filter(|(call, _)| *call == name).count();
        if let Some((call, count, service)) = &script.stop
            && *call == name
            && *count == times
        {
            service.ask(Signal::Abort);
        }
        let scripted = script.answers.get_mut(name).and_then(VecDeque::pop_front);
        let always = script.always.get(name).map_or(Ok(()), |fault| Err(*fault));
        if name != "next" {
            self.nudge.notify_one();
        }
        scripted.unwrap_or(always).map_err(|fault| Failure::new(fault, name, "as scripted"))
    }
}
