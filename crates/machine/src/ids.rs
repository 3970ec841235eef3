use core::fmt;

/// A slot in a window: one event, one record, or one idle position. Never reused in a machine's life.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A request that expects exactly one reply.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EffectId(pub u64);

/// When the token record was made, in Unix seconds; the leading part of every position. It rises when the
/// source is replaced or the record had to be made anew, so that positions keep rising too.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lineage(pub u32);

/// Ids print as their numbers: the field beside them names what they count.
macro_rules! bare_debug {
    ($($Id:ident),+) => {$(
        impl fmt::Debug for $Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )+};
}

bare_debug!(SeqNo, Epoch, EffectId, Lineage);

/// The numbers that a machine gives its requests and streams, and the count of the answers that nobody waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ids {
    next_effect: EffectId,
    next_epoch: Epoch,
    stale: u64,
    unexpected: u64,
}

impl Ids {
    /// A number for one request.
    pub const fn new_effect(&mut self) -> EffectId {
        let id = self.next_effect;
        self.next_effect = EffectId(id.0 + 1);
        id
    }

    /// The number that the next request gets.
    #[must_use]
    pub const fn next_effect(&self) -> EffectId {
        self.next_effect
    }

    /// A number for one stream. Assignments are numbered by the partitions that they are of.
    pub const fn new_epoch(&mut self) -> Epoch {
        let epoch = self.next_epoch;
        self.next_epoch = Epoch(epoch.0 + 1);
        epoch
    }

    /// Counts an input that changed nothing: late where it answers what once was, else unexpected.
    pub const fn ignore(&mut self, was_asked: bool) {
        if was_asked {
            self.stale += 1;
        } else {
            self.unexpected += 1;
        }
    }

    /// Counts a reply that nobody waits for.
    pub const fn ignore_reply(&mut self, id: EffectId) {
        self.ignore(id.0 < self.next_effect.0);
    }

    /// Counts what comes from a stream that is not open.
    pub const fn ignore_epoch(&mut self, epoch: Epoch) {
        self.ignore(epoch.0 < self.next_epoch.0);
    }

    /// Answers to what was gone by then: late or doubled ones, expiries of timers that were replaced.
    #[must_use]
    pub const fn stale(&self) -> u64 {
        self.stale
    }

    /// Answers to what was never asked for. Anything but 0 is a bug in whoever drives the machine.
    #[must_use]
    pub const fn unexpected(&self) -> u64 {
        self.unexpected
    }
}

/// The one request of its sort that may be out, with what its reply is to be met with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked<T = ()>(Option<(EffectId, T)>);

impl<T> Asked<T> {
    /// Nothing is asked.
    #[must_use]
    pub const fn nothing() -> Self {
        Self(None)
    }

    /// A request goes out; `with` waits for its reply. A reply to an earlier one is stale from now on.
    pub fn ask(&mut self, ids: &mut Ids, with: T) -> EffectId {
        let id = ids.new_effect();
        self.0 = Some((id, with));
        id
    }

    /// Takes the reply to `id`: gives back what waited for it. A reply to anything else is counted, and `None`.
    pub fn answer(&mut self, id: EffectId, ids: &mut Ids) -> Option<T> {
        let answered = self.0.take_if(|(asked, _)| *asked == id);
        if answered.is_none() {
            ids.ignore_reply(id);
        }
        answered.map(|(_, with)| with)
    }

    /// Forgets the request: its reply will be stale.
    pub fn forget(&mut self) -> Option<T> {
        self.0.take().map(|(_, with)| with)
    }

    /// True while a reply is awaited.
    #[must_use]
    pub const fn is_out(&self) -> bool {
        self.0.is_some()
    }

    /// The request that is out.
    #[must_use]
    pub fn id(&self) -> Option<EffectId> {
        self.0.as_ref().map(|(id, _)| *id)
    }

    /// What waits for the reply.
    #[must_use]
    pub fn waiting(&self) -> Option<&T> {
        self.0.as_ref().map(|(_, with)| with)
    }
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self::nothing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_taken_once_and_others_are_counted() {
        let mut ids = Ids::default();
        let mut asked = Asked::nothing();
        let first = asked.ask(&mut ids, "one");
        let second = asked.ask(&mut ids, "two");
        assert_eq!(asked.answer(first, &mut ids), None);
        assert_eq!((asked.is_out(), asked.id(), asked.waiting()), (true, Some(second), Some(&"two")));
        assert_eq!(asked.answer(second, &mut ids), Some("two"));
        assert_eq!(asked.answer(second, &mut ids), None);
        assert_eq!((ids.stale(), ids.unexpected()), (2, 0));
        assert_eq!(asked.answer(EffectId(9), &mut ids), None);
        ids.ignore_epoch(Epoch(0));
        assert_eq!((ids.stale(), ids.unexpected()), (2, 2));
    }
}
