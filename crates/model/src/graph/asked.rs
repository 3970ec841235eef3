//! What the small machines of both services wait for in the same way: replies by their numbers, and timers.

use cdc_machine::{Request, TimerId};

/// The requests that are not answered, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Requests<E>(Vec<(Request, E)>);

impl<E> Requests<E> {
    pub(super) fn ask(&mut self, request: Request, effect: E) {
        self.0.push((request, effect));
    }

    /// A reply has come; true where it was awaited.
    pub(super) fn answer(&mut self, request: Request) -> bool {
        let before = self.0.len();
        self.0.retain(|(asked, _)| *asked != request);
        self.0.len() < before
    }

    /// No reply will come to these.
    pub(super) fn forget(&mut self, is_lost: impl Fn(&E) -> bool) {
        self.0.retain(|(_, effect)| !is_lost(effect));
    }

    pub(super) fn any(&self, is_sought: impl Fn(&E) -> bool) -> bool {
        self.0.iter().any(|(_, effect)| is_sought(effect))
    }

    /// The oldest of each name: it is answered first.
    pub(super) fn oldest(&self) -> impl Iterator<Item = &E> {
        let is_first = |at: usize, name| self.0[..at].iter().all(|(request, _)| request.name != name);
        let oldest = self.0.iter().enumerate().filter(move |(at, (request, _))| is_first(*at, request.name));
        oldest.map(|(_, (_, effect))| effect)
    }

    pub(super) fn is_out(&self, name: &str) -> bool {
        self.0.iter().any(|(request, _)| request.name == name)
    }
}

impl<E> Default for Requests<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// The timers that run.
#[derive(Clone, Debug)]
pub(super) struct Running<K>(Vec<TimerId<K>>);

impl<K: Copy + Eq> Running<K> {
    /// It runs, in place of one of its kind.
    pub(super) fn set(&mut self, timer: TimerId<K>) {
        self.0.retain(|set| set.kind != timer.kind);
        self.0.push(timer);
    }

    /// It ran out, or is cancelled.
    pub(super) fn end(&mut self, timer: TimerId<K>) {
        self.0.retain(|set| *set != timer);
    }

    /// The expiry that may come; a late one where none of its kind runs.
    pub(super) fn expiry(&self, kind: K) -> TimerId<K> {
        self.get(kind).unwrap_or(TimerId { kind, generation: u64::MAX })
    }

    /// Which of these kinds run, a bit for each.
    pub(super) fn bits(&self, kinds: impl IntoIterator<Item = K>) -> u64 {
        kinds.into_iter().fold(0, |bits, kind| (bits << 1) | u64::from(self.get(kind).is_some()))
    }

    fn get(&self, kind: K) -> Option<TimerId<K>> {
        self.0.iter().copied().find(|timer| timer.kind == kind)
    }
}

impl<K> Default for Running<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
