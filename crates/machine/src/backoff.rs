use core::time::Duration;

/// How often an operation is tried again. The first try is not a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    /// The most retries, or `None` for unlimited.
    pub max_retries: Option<u32>,
}

impl Retry {
    /// At most `n` retries.
    #[must_use]
    pub const fn times(n: u32) -> Self {
        Self { max_retries: Some(n) }
    }

    /// Retries for ever.
    pub const UNLIMITED: Self = Self { max_retries: None };
}

/// The seed's exponential schedule: 1, 2, 4, 8, 16, 16, … seconds. Jitter is added by whoever sets the
/// timer: the machine knows no randomness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Backoff {
    retries: u32,
}

impl Backoff {
    /// The longest wait.
    pub const CEILING: Duration = Duration::from_secs(16);

    /// No retry used yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { retries: 0 }
    }

    /// Uses up one retry and says how long to wait before it; `None` when none is left.
    pub fn next(&mut self, retry: Retry) -> Option<Duration> {
        if retry.max_retries.is_some_and(|max| self.retries >= max) {
            return None;
        }
        let seconds = 1u64 << self.retries.min(4);
        self.retries = self.retries.saturating_add(1);
        Some(Duration::from_secs(seconds).min(Self::CEILING))
    }

    /// How many retries have been used since the last success.
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// Progress was made: the schedule starts over.
    pub fn reset(&mut self) {
        self.retries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
    /// Validates: Requirements 1.4, 3.4, 12.1, 12.4
    #[test]
    fn waits_double_up_to_sixteen_seconds() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> =
            core::iter::from_fn(|| backoff.next(Retry::times(7))).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 16, 16]);
    }

    /// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
    /// Validates: Requirements 12.2
    #[test]
    fn no_more_retries_than_allowed_until_progress() {
        let mut backoff = Backoff::new();
        assert!(backoff.next(Retry::times(1)).is_some());
        assert_eq!(backoff.next(Retry::times(1)), None);
        assert_eq!(backoff.next(Retry::times(0)), None);
        backoff.reset();
        assert_eq!(backoff.next(Retry::times(1)), Some(Duration::from_secs(1)));
    }

    proptest::proptest! {
        /// Feature: cdc-pipeline, Property 24: Exponential Backoff Retry Pattern
        /// Validates: Requirements 1.4, 3.4, 12.1, 12.4
        ///
        /// Feature: cdc-pipeline, Property 25: Maximum Retry Count Enforcement
        /// Validates: Requirements 12.2
        ///
        /// Failures and successes in any order, under any limit.
        #[test]
        fn waits_double_and_are_counted_whatever_happens(
            limit in proptest::option::of(0_u32..12),
            outcomes in proptest::collection::vec(proptest::bool::weighted(0.9), 1..60),
        ) {
            let (mut backoff, retry) = (Backoff::new(), Retry { max_retries: limit });
            let mut waits: Vec<u64> = Vec::new();
            for is_failure in outcomes {
                if !is_failure {
                    backoff.reset();
                    waits.clear();
                    continue;
                }
                match backoff.next(retry) {
                    Some(wait) => {
                        let expected = waits.last().map_or(1, |last| (last * 2).min(16));
                        proptest::prop_assert_eq!(wait, Duration::from_secs(expected));
                        waits.push(expected);
                    }
                    None => proptest::prop_assert_eq!(Some(waits.len()), limit.map(|limit| limit as usize)),
                }
                proptest::prop_assert_eq!(backoff.retries() as usize, waits.len());
            }
        }
    }

    #[test]
    fn unlimited_never_ends_and_never_overflows() {
        let mut backoff = Backoff { retries: u32::MAX - 1 };
        for _ in 0..3 {
            assert_eq!(backoff.next(Retry::UNLIMITED), Some(Backoff::CEILING));
        }
    }
}
