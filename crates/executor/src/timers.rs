use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cdc_machine::TimerId;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::jitter::Jitter;

/// A machine's timers: named, at most one of a kind, each with a generation.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    due: BTreeSet<(Instant, TimerId<K>)>,
    set: BTreeMap<K, (Instant, TimerId<K>)>,
    jitter: Jitter,
    clock: Clock,
}

impl<K: Copy + Ord> Timers<K> {
    pub(crate) const fn new(jitter: Jitter, clock: Clock) -> Self {
        Self { due: BTreeSet::new(), set: BTreeMap::new(), jitter, clock }
    }

    /// Sets a timer; an earlier one of its kind is replaced.
    pub(crate) fn set(&mut self, timer: TimerId<K>, after: Duration) {
        self.forget(timer.kind);
        let at = self.clock.now() + after;
        self.due.insert((at, timer));
        self.set.insert(timer.kind, (at, timer));
    }

    /// The same for a back-off: a little longer than asked, so that many instances that lost one server do
    /// not come back in step.
    pub(crate) fn set_with_jitter(&mut self, timer: TimerId<K>, after: Duration) {
        let after = after + self.jitter.share_of(after);
        self.set(timer, after);
    }

    /// Cancels a timer. One of another generation stays.
    pub(crate) fn cancel(&mut self, timer: TimerId<K>) {
        if self.set.get(&timer.kind).is_some_and(|(_, current)| *current == timer) {
            self.forget(timer.kind);
        }
    }

    fn forget(&mut self, kind: K) {
        if let Some(entry) = self.set.remove(&kind) {
            self.due.remove(&entry);
        }
    }

    fn first(&self) -> Option<(Instant, TimerId<K>)> {
        self.due.first().copied()
    }

    /// Waits for the next timer and takes it out; waits for ever where there is none. Cancelling the wait
    /// loses nothing.
    pub(crate) async fn next(&mut self) -> TimerId<K> {
        let Some((at, timer)) = self.first() else {
            return std::future::pending().await;
        };
        self.clock.sleep_until(at).await;
        self.forget(timer.kind);
        timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(kind: u8, generation: u64) -> TimerId<u8> {
        TimerId { kind, generation }
    }

    fn order(mut timers: Timers<u8>) -> Vec<TimerId<u8>> {
        std::iter::from_fn(|| {
            let (_, first) = timers.first()?;
            timers.cancel(first);
            Some(first)
        })
        .collect()
    }

    #[test]
    fn timers_come_in_order_of_time_and_only_in_their_last_generation() {
        let mut timers = Timers::new(Jitter::seeded(1), Clock::Runtime);
        timers.set(timer(1, 0), Duration::from_secs(500));
        timers.set(timer(2, 0), Duration::from_secs(200));
        timers.set(timer(1, 1), Duration::from_secs(100));
        timers.set(timer(3, 0), Duration::from_secs(300));
        timers.cancel(timer(3, 0));
        timers.cancel(timer(2, 9));
        assert_eq!(order(timers), [timer(1, 1), timer(2, 0)]);
    }

    #[test]
    fn a_back_off_is_at_least_as_long_as_asked_and_at_most_a_fifth_longer() {
        let asked = Duration::from_secs(10);
        let mut timers = Timers::new(Jitter::seeded(7), Clock::Runtime);
        for generation in 0..100 {
            let before = Instant::now();
            timers.set_with_jitter(timer(1, generation), asked);
            let after = Instant::now();
            let at = timers.first().map(|(at, _)| at).unwrap();
            assert!(at >= before + asked);
            assert!(at <= after + asked + asked / 5);
        }
    }
}
