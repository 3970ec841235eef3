/// A slot in a window: one event, one record, or one idle position. Never reused in a machine's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// The slot after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One opened stream (Watcher) or one assignment of one partition (Syncer). Completions of an earlier epoch
/// change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A request that expects exactly one reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EffectId(pub u64);

/// When the token record was made, in Unix seconds; the leading part of every position. It rises when the
/// source is replaced or the record had to be made anew, so that positions keep rising too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lineage(pub u32);

/// A timer by name. A timer set again has a new generation; the expiry of an old one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId<K> {
    /// What the timer is for.
    pub kind: K,
    /// How often a timer of this kind has been set before.
    pub generation: u64,
}
