//! Topics that have got more partitions than the position was recorded with. They are used as far as the record says,
//! so that no key moves: nothing is wrong, and somebody meant the rest to be used.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::SERVICE;

/// How often the topics are looked at while they are written to.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How far the topics have grown.
#[derive(Debug)]
pub(super) struct Growth {
    asked: Instant,
    /// Of each topic, the partitions that were warned of last.
    warned: Vec<u32>,
    unused: u64,
}

impl Default for Growth {
    fn default() -> Self {
        Self { asked: Instant::now(), warned: Vec::new(), unused: 0 }
    }
}

impl Growth {
    pub(super) fn is_due(&self) -> bool {
        self.asked.elapsed() >= LOOK_EVERY
    }

    pub(super) fn asked(&mut self) {
        self.asked = Instant::now();
    }

    /// Partitions that get no documents.
    pub(super) const fn unused(&self) -> u64 {
        self.unused
    }

    /// Compares what the brokers have with what the record says; warns of each growth once.
    pub(super) fn compare(
        &mut self,
        topics: &[Arc<str>],
        recorded: impl Iterator<Item = Option<u32>>,
        found: &[u32],
    ) -> u64 {
        self.warned.resize(self.warned.len().max(found.len()), 0);
        let known = found.iter().zip(recorded).enumerate();
        self.unused = 0;
        for (index, (&partitions, recorded)) in known {
            let Some(recorded) = recorded.filter(|recorded| *recorded < partitions) else { continue };
            self.unused += u64::from(partitions - recorded);
            if self.warned[index] != partitions {
                self.warned[index] = partitions;
                tracing::warn!(
                    service = SERVICE,
                    operation = "kafka_topics",
                    topic = topics.get(index).map_or("", |topic| &**topic),
                    partitions,
                    recorded,
                    "the topic has grown; documents stay in the partitions that they were in, and the new ones get \
                     none until `cdc token repartition`"
                );
            }
        }
        self.unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_counted_beyond_the_record_and_warned_of_once() {
        let mut growth = Growth::default();
        let recorded = || [Some(2), Some(8), None].into_iter();
        assert_eq!(growth.compare(&[], recorded(), &[2, 8, 4]), 0);
        assert_eq!(growth.compare(&[], recorded(), &[5, 8, 4]), 3);
        assert_eq!(growth.warned, [5, 0, 0]);
        assert_eq!(growth.compare(&[], recorded(), &[5, 9, 4]), 4);
        assert_eq!(growth.warned, [5, 9, 0]);
        // One that is gone is not smaller: whoever writes to it finds out.
        assert_eq!(growth.compare(&[], recorded(), &[0, 8, 4]), 0);
        assert_eq!(growth.compare(&[], recorded(), &[]), 0);
    }
}
