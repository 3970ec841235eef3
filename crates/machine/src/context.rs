use core::time::Duration;

use crate::{Effects, Ids, TimerEffects, TimerKey, Timers};

/// What every handler is handed beside the part that it owns: the limits, the timers, the numbers, and the list of
/// orders.
pub struct Context<'a, C, K, E> {
    /// Limits and policies.
    pub config: &'a C,
    /// Which timers run.
    pub timers: &'a mut Timers<K>,
    /// Numbers for requests, and counts of what was ignored.
    pub ids: &'a mut Ids,
    /// The step's orders so far.
    pub out: &'a mut Effects<E>,
}

impl<C, K: TimerKey, E: TimerEffects<K>> Context<'_, C, K, E> {
    /// Gives an order.
    pub fn order(&mut self, effect: E) {
        self.out.push(effect);
    }

    /// Sets a timer; one of its kind that runs is replaced.
    pub fn set_timer(&mut self, kind: K, after: Duration) {
        self.timers.set(kind, after, self.out);
    }

    /// Sets the timer unless it runs already: the earlier moment counts.
    pub fn set_timer_unless_running(&mut self, kind: K, after: Duration) {
        self.timers.set_unless_running(kind, after, self.out);
    }

    /// Sees that the timer runs exactly while it is wanted. One that runs keeps its time.
    pub fn run_timer_while(&mut self, is_wanted: bool, kind: K, after: Duration) {
        if is_wanted {
            self.set_timer_unless_running(kind, after);
        } else {
            self.cancel_timer(kind);
        }
    }

    /// True while the timer runs.
    #[must_use]
    pub fn is_running(&self, kind: K) -> bool {
        self.timers.is_running(kind)
    }

    /// Cancels the timer where it runs.
    pub fn cancel_timer(&mut self, kind: K) {
        self.timers.cancel(kind, self.out);
    }
}
