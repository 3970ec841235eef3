//! Samples of what replies carry, for whoever plays a machine's world: the explorer, and the property tests.

use alloc::vec::Vec;

/// A value as it may come from the world `W`. [`requests!`](crate::requests) makes the replies to a request from it, so
/// that a world has a word of its own only for requests that it sees to.
pub trait Sampled<W>: Sized {
    /// The values that make a difference to a machine.
    fn samples(world: &W) -> Vec<Self>;
}

impl<W> Sampled<W> for () {
    fn samples(_: &W) -> Vec<Self> {
        Vec::from([()])
    }
}

impl<W> Sampled<W> for u64 {
    fn samples(_: &W) -> Vec<Self> {
        Vec::from([0, 1])
    }
}

/// What was asked for, and then each failure.
impl<W, T: Sampled<W>, E: Sampled<W>> Sampled<W> for Result<T, E> {
    fn samples(world: &W) -> Vec<Self> {
        T::samples(world).into_iter().map(Ok).chain(E::samples(world).into_iter().map(Err)).collect()
    }
}

/// None, and each alone.
impl<W, T: Sampled<W>> Sampled<W> for Vec<T> {
    fn samples(world: &W) -> Vec<Self> {
        let alone = T::samples(world).into_iter().map(|one| Self::from([one]));
        core::iter::once(Self::new()).chain(alone).collect()
    }
}
