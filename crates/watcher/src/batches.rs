//! Which messages may share a batch. The broker takes or refuses a batch as a whole, so a batch that it finds too
//! large says nothing of any message in it: all of them are read again, and each goes alone until past the refused
//! ones. What is refused alone is too large.

/// How the producer's messages share batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Batching {
    /// As the configuration says; the largest batch, in bytes, is halved so many times.
    Shared {
        /// How often the broker has refused a batch before.
        halvings: u8,
    },
    /// Each message alone, so that a refusal is the message's own.
    Single,
}

/// The most often that the largest batch is halved: from one million bytes to about one thousand. A broker that
/// refuses that too gets every message alone from then on.
const HALVINGS_MAX: u8 = 10;

/// What is known of the batches that the broker takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Batches<T> {
    /// The last message of a refused batch: up to it each message goes alone.
    refused_through: Option<T>,
    /// A message among them was too large, so the batch may have been refused for it.
    is_explained: bool,
    /// How often a batch was refused whose messages may have fitted.
    halvings: u8,
}

impl<T: Clone + Ord> Batches<T> {
    pub(crate) const fn new() -> Self {
        Self { refused_through: None, is_explained: false, halvings: 0 }
    }

    /// A batch that holds the message at `position` was refused.
    pub(crate) fn refuse(&mut self, position: T) {
        self.refused_through = self.refused_through.take().max(Some(position));
    }

    /// A message that went alone was too large.
    pub(crate) const fn explain(&mut self) {
        self.is_explained = self.refused_through.is_some();
    }

    /// True where the producer sends each message alone, or the next one will.
    pub(crate) const fn are_single(&self) -> bool {
        self.refused_through.is_some() || self.halvings > HALVINGS_MAX
    }

    /// True once the refused messages have been read again: the next ones may share a batch.
    pub(crate) fn are_past_refused(&self, newest: Option<&T>) -> bool {
        self.refused_through.as_ref().is_some_and(|refused| newest.is_some_and(|newest| newest >= refused))
    }

    /// How the next producer batches, whose first message comes after `newest`.
    pub(crate) fn next(&mut self, newest: Option<&T>) -> Batching {
        if self.are_past_refused(newest) {
            self.refused_through = None;
            let is_explained = core::mem::take(&mut self.is_explained);
            self.halvings = self.halvings.saturating_add(u8::from(!is_explained));
        }
        if self.are_single() { Batching::Single } else { Batching::Shared { halvings: self.halvings } }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::assert_eq;

    use super::*;

    #[test]
    fn messages_go_alone_until_past_the_last_refused_one() {
        let mut batches = Batches::new();
        assert_eq!(batches.next(None), Batching::Shared { halvings: 0 });
        for position in [5, 7, 6] {
            batches.refuse(position);
        }
        for newest in [None, Some(&4), Some(&6)] {
            assert_eq!(batches.next(newest), Batching::Single, "{newest:?}");
        }
        assert_eq!(batches.next(Some(&7)), Batching::Shared { halvings: 1 });
        assert_eq!(batches.next(Some(&4)), Batching::Shared { halvings: 1 });
    }

    /// Many messages that are too large would otherwise wear the batches down.
    #[test]
    fn a_refusal_for_a_message_that_is_too_large_leaves_the_batches_as_they_are() {
        let mut batches = Batches::new();
        batches.explain();
        batches.refuse(1);
        assert_eq!(batches.next(None), Batching::Single);
        batches.explain();
        assert_eq!(batches.next(Some(&1)), Batching::Shared { halvings: 0 });
        batches.refuse(2);
        assert_eq!(batches.next(Some(&2)), Batching::Shared { halvings: 1 });
    }

    #[test]
    fn a_broker_that_refuses_the_smallest_batch_gets_every_message_alone() {
        let mut batches = Batches::new();
        let mut halvings = 0;
        for position in 0.. {
            batches.refuse(position);
            match batches.next(Some(&position)) {
                Batching::Shared { halvings: now } => halvings = now,
                Batching::Single => break,
            }
        }
        assert_eq!(halvings, HALVINGS_MAX);
        assert_eq!(batches.next(Some(&1_000)), Batching::Single);
        assert!(!batches.are_past_refused(Some(&1_000)), "there is nothing to go back to");
    }
}
