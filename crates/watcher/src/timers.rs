use core::time::Duration;

use cdc_machine::{Effects, TimerId};

use crate::{Effect, TimerKind};

/// Which timers run. At most one of a kind does; one set again has a new generation, so that the expiry of
/// the old one is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Timers {
    running: [bool; TimerKind::ALL.len()],
    generations: [u64; TimerKind::ALL.len()],
}

impl Timers {
    pub(crate) fn set<R, T>(&mut self, kind: TimerKind, after: Duration, out: &mut Effects<Effect<R, T>>) {
        let at = kind as usize;
        if self.running[at] {
            self.generations[at] += 1;
        }
        self.running[at] = true;
        out.push(Effect::SetTimer { timer: self.current(kind), after });
    }

    /// Sets the timer unless it runs already: the earlier moment counts.
    pub(crate) fn set_unless_running<R, T>(
        &mut self,
        kind: TimerKind,
        after: Duration,
        out: &mut Effects<Effect<R, T>>,
    ) {
        if !self.is_running(kind) {
            self.set(kind, after, out);
        }
    }

    pub(crate) fn cancel<R, T>(&mut self, kind: TimerKind, out: &mut Effects<Effect<R, T>>) {
        if self.is_running(kind) {
            out.push(Effect::CancelTimer { timer: self.current(kind) });
            self.retire(kind);
        }
    }

    /// Takes an expiry; false where it is not the running timer's.
    pub(crate) fn expire(&mut self, timer: TimerId<TimerKind>) -> bool {
        let is_current = self.is_running(timer.kind) && self.current(timer.kind) == timer;
        if is_current {
            self.retire(timer.kind);
        }
        is_current
    }

    pub(crate) const fn is_running(&self, kind: TimerKind) -> bool {
        self.running[kind as usize]
    }

    /// True where such a timer has been set before.
    pub(crate) const fn was_set(&self, timer: TimerId<TimerKind>) -> bool {
        let at = timer.kind as usize;
        timer.generation < self.generations[at]
            || (self.running[at] && timer.generation == self.generations[at])
    }

    /// The running timer of this kind; else the next one.
    pub(crate) const fn current(&self, kind: TimerKind) -> TimerId<TimerKind> {
        TimerId { kind, generation: self.generations[kind as usize] }
    }

    const fn retire(&mut self, kind: TimerKind) {
        self.running[kind as usize] = false;
        self.generations[kind as usize] += 1;
    }
}
