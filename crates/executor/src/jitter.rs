use std::time::Duration;

/// The executor's one source of randomness, seeded, so that a run can be repeated. `SplitMix64`, after
/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Jitter {
    state: u64,
}

impl Jitter {
    /// The largest share of a wait that is added to it: one fifth.
    const SHARE: u64 = 5;

    /// A generator with this seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between nothing and a fifth of `wait`.
    pub(crate) fn share_of(&mut self, wait: Duration) -> Duration {
        let most = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX) / Self::SHARE;
        Duration::from_micros(self.next() % (most + 1))
    }
}
