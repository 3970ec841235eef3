//! What the small machines of both services wait for in the same way: replies by their numbers, and timers.

use cdc_machine::{EffectId, TimerId};

/// The request's number; one that was never made where there is none: what answers it must be ignored.
pub(super) const fn id_of(request: Option<EffectId>) -> EffectId {
    match request {
        Some(id) => id,
        None => EffectId(u64::MAX),
    }
}

/// A reply to `id` has come.
pub(super) fn take(request: &mut Option<EffectId>, id: EffectId) {
    request.take_if(|asked| *asked == id);
}

/// The timers that run.
#[derive(Clone, Debug)]
pub(super) struct Running<K>(Vec<TimerId<K>>);

impl<K: Copy + Eq> Running<K> {
    /// It runs, in place of one of its kind.
    pub(super) fn set(&mut self, timer: TimerId<K>) {
        self.0.retain(|set| set.kind != timer.kind);
        self.0.push(timer);
    }

    /// It ran out, or is cancelled.
    pub(super) fn end(&mut self, timer: TimerId<K>) {
        self.0.retain(|set| *set != timer);
    }

    /// The expiry that may come; a late one where none of its kind runs.
    pub(super) fn expiry(&self, kind: K) -> TimerId<K> {
        self.get(kind).unwrap_or(TimerId { kind, generation: u64::MAX })
    }

    /// Which of these kinds run, a bit for each.
    pub(super) fn bits(&self, kinds: impl IntoIterator<Item = K>) -> u64 {
        kinds.into_iter().fold(0, |bits, kind| (bits << 1) | u64::from(self.get(kind).is_some()))
    }

    fn get(&self, kind: K) -> Option<TimerId<K>> {
        self.0.iter().copied().find(|timer| timer.kind == kind)
    }
}

impl<K> Default for Running<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
