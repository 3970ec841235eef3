//! The timers that a process has set, in virtual time.

use std::time::Duration;

use cdc_machine::TimerId;

/// Those that run.
#[derive(Clone, Debug, Hash)]
pub struct Alarms<K> {
    running: Vec<(Duration, TimerId<K>)>,
}

impl<K: Copy + Eq> Alarms<K> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { running: Vec::new() }
    }

    /// Sets one; another one of its kind is replaced.
    pub fn set(&mut self, timer: TimerId<K>, at: Duration) {
        match self.running.iter_mut().find(|(_, other)| other.kind == timer.kind) {
            Some(running) => *running = (at, timer),
            None => self.running.push((at, timer)),
        }
    }

    /// Cancels one.
    pub fn cancel(&mut self, timer: TimerId<K>) {
        self.running.retain(|(_, other)| *other != timer);
    }

    /// True where one runs.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        !self.running.is_empty()
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.running.iter().map(|(at, _)| *at).min()
    }

    /// Takes the next one, with its time.
    pub fn take(&mut self) -> Option<(Duration, TimerId<K>)> {
        let next = self.next()?;
        let at = self.running.iter().position(|(at, _)| *at == next)?;
        Some(self.running.swap_remove(at))
    }

    /// What those that run are for.
    pub fn kinds(&self) -> impl Iterator<Item = K> {
        self.running.iter().map(|(_, timer)| timer.kind)
    }

    /// Takes the one of this kind, whenever it is due.
    pub fn end(&mut self, kind: K) -> Option<TimerId<K>> {
        let at = self.running.iter().position(|(_, timer)| timer.kind == kind)?;
        Some(self.running.swap_remove(at).1)
    }

    /// The running timer of this kind.
    #[must_use]
    pub fn due(&self, kind: K) -> Option<Duration> {
        self.running.iter().find(|(_, timer)| timer.kind == kind).map(|(at, _)| *at)
    }
}

impl<K: Copy + Eq> Default for Alarms<K> {
    fn default() -> Self {
        Self::new()
    }
}
