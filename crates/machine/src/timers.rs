use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use crate::Effects;

/// A timer by name. A timer set again has a new generation; the expiry of an old one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId<K> {
    /// What the timer is for.
    pub kind: K,
    /// How often a timer of this kind has been set before.
    pub generation: u64,
}

/// `Reconnect#0`
impl<K: fmt::Debug> fmt::Display for TimerId<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}", self.kind, self.generation)
    }
}

/// What a machine's timers are for; [`timers!`](crate::timers) implements it.
pub trait TimerKey: Copy + Eq {
    /// A place of its own in a table. Kinds that exist once for each worker take places behind those of the workers
    /// before them.
    fn place(self) -> usize;
}

/// The effects that set and cancel timers; [`requests!`](crate::requests) implements it.
pub trait TimerEffects<K> {
    /// Wake the machine after this long, once.
    fn set_timer(timer: TimerId<K>, after: Duration) -> Self;
    /// Do not.
    fn cancel_timer(timer: TimerId<K>) -> Self;
}

/// Which timers run. At most one of a kind does; one set again has a new generation, so that the expiry of
/// the old one is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timers<K> {
    /// By [`TimerKey::place`]; as long as the greatest place that was ever set.
    alarms: Vec<Alarm>,
    kinds: PhantomData<K>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Alarm {
    is_running: bool,
    /// How often it has been set.
    sets: u64,
}

impl<K: TimerKey> Timers<K> {
    /// None runs.
    #[must_use]
    pub const fn new() -> Self {
        Self { alarms: Vec::new(), kinds: PhantomData }
    }

    /// Sets a timer; one of its kind that runs is replaced.
    pub fn set<E: TimerEffects<K>>(&mut self, kind: K, after: Duration, out: &mut Effects<E>) {
        let place = kind.place();
        if place >= self.alarms.len() {
            self.alarms.resize(place + 1, Alarm::default());
        }
        if let Some(alarm) = self.alarms.get_mut(place) {
            let timer = TimerId { kind, generation: alarm.sets };
            *alarm = Alarm { is_running: true, sets: alarm.sets + 1 };
            out.push(E::set_timer(timer, after));
        }
    }

    /// Sets the timer unless it runs already: the earlier moment counts.
    pub fn set_unless_running<E: TimerEffects<K>>(&mut self, kind: K, after: Duration, out: &mut Effects<E>) {
        if !self.is_running(kind) {
            self.set(kind, after, out);
        }
    }

    /// Cancels the timer where it runs.
    pub fn cancel<E: TimerEffects<K>>(&mut self, kind: K, out: &mut Effects<E>) {
        if let Some(timer) = self.running(kind) {
            self.retire(kind);
            out.push(E::cancel_timer(timer));
        }
    }

    /// Takes an expiry; false where it is not the running timer's.
    pub fn expire(&mut self, timer: TimerId<K>) -> bool {
        let is_current = self.running(timer.kind) == Some(timer);
        if is_current {
            self.retire(timer.kind);
        }
        is_current
    }

    /// True while the timer runs.
    #[must_use]
    pub fn is_running(&self, kind: K) -> bool {
        self.alarms.get(kind.place()).is_some_and(|alarm| alarm.is_running)
    }

    /// The running timer of this kind.
    #[must_use]
    pub fn running(&self, kind: K) -> Option<TimerId<K>> {
        let alarm = self.alarms.get(kind.place()).filter(|alarm| alarm.is_running)?;
        Some(TimerId { kind, generation: alarm.sets - 1 })
    }

    /// True where such a timer has been set: its expiry is stale now, not unexpected.
    #[must_use]
    pub fn was_set(&self, timer: TimerId<K>) -> bool {
        self.alarms.get(timer.kind.place()).is_some_and(|alarm| timer.generation < alarm.sets)
    }

    fn retire(&mut self, kind: K) {
        if let Some(alarm) = self.alarms.get_mut(kind.place()) {
            alarm.is_running = false;
        }
    }
}

impl<K: TimerKey> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}
