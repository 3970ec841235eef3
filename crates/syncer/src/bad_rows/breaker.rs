//! When to stop before a topic has been emptied into the dead letters: something is wrong then with the table
//! or with what fills the topic, and not with single records. `breakers` has one for each topic.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use cdc_machine::ensure;

use crate::{Reject, StopAfter};

/// What became of the last records, in the order in which they settled. It lives in memory: a restart begins
/// with none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Breaker {
    /// A ring of the last records; the reason where one goes to the dead letters.
    last: Vec<Option<Reject>>,
    /// Where the next one goes.
    next: usize,
    /// How many of the ring's places are taken.
    len: usize,
    /// How many of those are bad.
    bad: usize,
}

impl Breaker {
    pub(crate) fn new(limit: StopAfter) -> Self {
        Self { last: vec![None; limit.window.max(1) as usize], next: 0, len: 0, bad: 0 }
    }

    /// Takes one record; true where there are too many bad ones now.
    pub(crate) fn note(&mut self, reason: Option<Reject>, limit: StopAfter) -> bool {
        if let Some(oldest) = self.last.get_mut(self.next) {
            self.bad -= usize::from(oldest.is_some());
            *oldest = reason;
        }
        self.bad += usize::from(reason.is_some());
        self.len = (self.len + 1).min(self.last.len());
        self.next = (self.next + 1) % self.last.len();
        reason.is_some() && self.bad >= limit.at_least.max(1) as usize && self.exceeds(self.len, limit)
    }

    /// True where the bad ones are more than the share of so many.
    pub(crate) const fn exceeds(&self, of: usize, limit: StopAfter) -> bool {
        self.bad as u64 * StopAfter::WHOLE as u64 > of as u64 * limit.share as u64
    }

    /// How many are remembered.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// How many of them are bad.
    pub(crate) const fn bad(&self) -> usize {
        self.bad
    }

    /// The bad ones by their reasons.
    pub(crate) fn reasons(&self) -> Vec<(Reject, u32)> {
        let mut counts = BTreeMap::new();
        for reason in self.last.iter().flatten() {
            *counts.entry(*reason).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        // The places behind those that are taken have never held one.
        let bad = self.last.iter().take(self.len).flatten().count();
        ensure(bad == self.bad && bad <= self.len, "the breaker counts the bad records that it remembers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    extern crate std;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// The oracle keeps a plain list of the last records and counts it anew each time.
        #[test]
        fn it_trips_when_a_plain_list_says_so(
            share in 0..=StopAfter::WHOLE,
            window in 1..40u32,
            at_least in 1..40u32,
            records in prop::collection::vec(prop::option::weighted(0.5, 0..Reject::ALL.len()), 0..200),
        ) {
            let limit = StopAfter { share, window, at_least };
            let mut breaker = Breaker::new(limit);
            let mut list: VecDeque<Option<Reject>> = VecDeque::new();
            for record in records {
                let reason = record.map(|index| Reject::ALL[index]);
                list.push_back(reason);
                if list.len() > window as usize {
                    list.pop_front();
                }
                let bad = list.iter().flatten().count();
                let is_too_many = bad >= at_least as usize
                    && bad as f64 > list.len() as f64 * (f64::from(share) / f64::from(StopAfter::WHOLE)) + 1e-9;
                let trips = breaker.note(reason, limit);
                prop_assert_eq!(trips, is_too_many && reason.is_some());
                prop_assert_eq!(breaker.check(), Ok(()));
                prop_assert_eq!((breaker.bad(), breaker.len()), (bad, list.len()));
                let listed: u32 = breaker.reasons().iter().map(|(_, count)| count).sum();
                prop_assert_eq!(listed as usize, bad);
            }
        }
    }

    #[test]
    fn a_whole_share_never_trips() {
        let limit = StopAfter { share: StopAfter::WHOLE, window: 10, at_least: 1 };
        let mut breaker = Breaker::new(limit);
        assert!((0..100).all(|_| !breaker.note(Some(Reject::Malformed), limit)));
    }
}
