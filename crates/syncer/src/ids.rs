use cdc_machine::RequestKey;

/// A partition of a topic, by the number that the executor gave it at first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u32);

/// A topic, by the number that the executor gave it at first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(pub u32);

/// One of the pool's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

impl RequestKey for WorkerId {
    const NEVER: Self = Self(0);

    fn number(&self) -> u64 {
        self.0.into()
    }
}
