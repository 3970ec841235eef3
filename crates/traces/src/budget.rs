//! At most so many spans a second.

use std::time::{Duration, SystemTime};

/// Spans of each sort, a second.
pub(crate) const SPANS_A_SECOND: u32 = 20;

const SECOND: Duration = Duration::from_secs(1);

/// What is left of the present second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    since: SystemTime,
    left: u32,
}

impl Budget {
    pub(crate) const fn new(since: SystemTime) -> Self {
        Self { since, left: SPANS_A_SECOND }
    }

    /// Takes one out; false where none is left. A clock that was set back begins a new second.
    pub(crate) fn take(&mut self, now: SystemTime) -> bool {
        if now.duration_since(self.since).is_ok_and(|age| age < SECOND) {
            let is_left = self.left > 0;
            self.left = self.left.saturating_sub(1);
            return is_left;
        }
        *self = Self { since: now, left: SPANS_A_SECOND - 1 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_spans_and_the_next_one_as_many() {
        let begun = SystemTime::UNIX_EPOCH + SECOND;
        let mut budget = Budget::new(begun);
        let taken = |budget: &mut Budget, at| (0..100).filter(|_| budget.take(at)).count();
        assert_eq!(taken(&mut budget, begun + SECOND / 2), 20);
        assert_eq!(taken(&mut budget, begun + SECOND), 20);
        assert_eq!(taken(&mut budget, SystemTime::UNIX_EPOCH), 20, "the clock was set back");
    }
}
