//! How large a batch may be, and which message was alone in its own.

use cdc_watcher::Batching;

/// The largest batch, framing included, in bytes, where the topics do not say less.
const BATCH_BYTES: u32 = 1_000_000;

/// What the topics allow, as they say themselves; `None` where they have not said it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicLimits {
    /// The least of all topics; `None` where one of them is unknown.
    pub(crate) smallest: Option<u32>,
    /// The most of all topics.
    pub(crate) largest: Option<u32>,
}

/// How much one client puts into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    /// librdkafka adds a message only where the batch stays within this; the first one it always takes.
    pub(crate) bytes: u32,
    /// Each message has a batch of its own.
    pub(crate) is_single: bool,
    /// The topics have said what they allow, and the batches fit.
    pub(crate) is_known: bool,
}

impl BatchLimits {
    #[cfg(test)]
    pub(crate) const SINGLE: Self = Self { bytes: BATCH_BYTES, is_single: true, is_known: false };

    /// What the machine orders, within what the topics allow.
    pub(crate) fn of(batching: Batching, topics: TopicLimits) -> Self {
        let bytes = topics.smallest.unwrap_or(BATCH_BYTES).min(BATCH_BYTES);
        let (halvings, is_single) = match batching {
            Batching::Shared { halvings } => (halvings, false),
            Batching::Single => (0, true),
        };
        let halved = bytes.checked_shr(u32::from(halvings)).unwrap_or_default();
        Self { bytes: halved.max(1), is_single, is_known: topics.smallest.is_some() }
    }

    /// True where a message with so many bytes in key and value had no other in its batch. Refused for its size,
    /// it is too large; else nobody knows which message of the batch is. Where the topics' limits are unknown, other
    /// batches are about to be refused too: whatever is refused is sent once more, in order.
    pub(crate) const fn is_alone(self, message_bytes: usize) -> bool {
        self.is_single || (self.is_known && message_bytes > self.bytes as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: TopicLimits = TopicLimits { smallest: None, largest: None };

    #[test]
    fn a_batch_is_no_larger_than_the_least_of_the_topics_allows() {
        let shared = Batching::Shared { halvings: 0 };
        for (smallest, expected) in
            [(None, 1_000_000), (Some(100_000), 100_000), (Some(64 << 20), 1_000_000), (Some(0), 1)]
        {
            let limits = TopicLimits { smallest, largest: Some(64 << 20) };
            assert_eq!(BatchLimits::of(shared, limits).bytes, expected);
        }
    }

    #[test]
    fn a_refused_batch_makes_the_next_ones_smaller() {
        for (halvings, expected) in [(1, 500_000), (4, 62_500), (10, 976), (31, 1), (255, 1)] {
            assert_eq!(BatchLimits::of(Batching::Shared { halvings }, UNKNOWN).bytes, expected);
        }
    }

    #[test]
    fn a_message_is_alone_by_order_or_by_its_size() {
        let known = TopicLimits { smallest: Some(1_048_588), largest: Some(1_048_588) };
        let shared = BatchLimits::of(Batching::Shared { halvings: 0 }, known);
        assert!(!shared.is_alone(1_000_000));
        assert!(shared.is_alone(1_000_001));
        assert!(!BatchLimits::of(Batching::Shared { halvings: 0 }, UNKNOWN).is_alone(1_000_001));
        assert!(BatchLimits::of(Batching::Single, UNKNOWN).is_alone(0));
    }
}
