//! The Syncer's line a second: what became of the rows since the last one, topic by topic.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use cdc_machine::words;
use tokio::time::Instant;

use super::SERVICE;
use cdc_ports::{RetryCounts, TopicRows, WriteCounts};

/// The shortest time between two lines.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Topics that one line names: those with the most rows.
pub(super) const TOPICS_NAMED_MAX: usize = 8;

/// A line of the log with the counters as fields, where `..counts` stands for them.
macro_rules! with_counts {
    (tracing::$level:ident!(..$counts:ident, $($rest:tt)*)) => {
        cdc_ports::write_counters!(counted_fields { $level $counts [$($rest)*] })
    };
}

macro_rules! counted_fields {
    (
        { $level:ident $counts:ident [$($rest:tt)*] }
        rows { $($(#[$row_doc:meta])* $row:ident: $label:literal;)* }
        logged { $($(#[$logged_doc:meta])* $logged:ident;)* }
        others { $($other:tt)* }
    ) => {
        tracing::$level!($($row = $counts.$row,)* $($logged = $counts.$logged,)* $($rest)*)
    };
}

pub(super) use {counted_fields, with_counts};

words! {
    /// How the log tells of batches.
    #[derive(Default)]
    pub enum BatchLog {
        /// In sums, topic by topic, at most one line a second.
        #[default]
        Sums: "sums",
        /// A line for each batch.
        Each: "each",
    }
}

/// What was written since the last line.
#[derive(Debug)]
pub(super) struct Sums {
    said: Instant,
    batches: u64,
    messages: u64,
    counts: WriteCounts,
    retries: RetryCounts,
    /// As many as topics are assigned.
    topics: BTreeMap<Arc<str>, TopicRows>,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            said: Instant::now(),
            batches: 0,
            messages: 0,
            counts: WriteCounts::default(),
            retries: RetryCounts::default(),
            topics: BTreeMap::new(),
        }
    }
}

impl Sums {
    /// A batch was written, and did this to each of its topics.
    pub(super) fn wrote(&mut self, messages: usize, counts: &WriteCounts, topics: &[(Arc<str>, TopicRows)]) {
        self.batches += 1;
        self.messages += messages as u64;
        self.counts.add(counts);
        for (topic, rows) in topics {
            match self.topics.get_mut(topic) {
                Some(sum) => sum.add(rows),
                None => drop(self.topics.insert(Arc::clone(topic), *rows)),
            }
        }
    }

    /// Parked rows were tried again.
    pub(super) fn retried(&mut self, counts: &RetryCounts) {
        self.retries.tried += counts.tried;
        self.retries.resolved += counts.resolved;
        self.retries.evicted += counts.evicted;
        // Those that are left are the same ones from time to time.
        self.retries.blocked = counts.blocked;
    }

    /// Writes the line where there is something to tell and the last one is a second old, or `at_once`.
    pub(super) fn say(&mut self, at_once: bool) {
        if self.batches == 0 && self.retries.tried == 0 {
            return;
        }
        if !at_once && self.said.elapsed() < SAY_EVERY {
            return;
        }
        let Self { batches, messages, counts, retries, topics, .. } = std::mem::take(self);
        if batches > 0 {
            with_counts!(tracing::info!(
                ..counts,
                service = SERVICE,
                operation = "batch_write",
                topics = in_words(&topics),
                batches,
                messages,
                unparked = retries.resolved,
                "rows written"
            ));
        } else {
            tracing::info!(
                service = SERVICE,
                operation = "parked_retry",
                tried = retries.tried,
                resolved = retries.resolved,
                opened = retries.evicted,
                blocked = retries.blocked,
                "parked rows tried again"
            );
        }
    }
}

/// What a topic got, those with the most rows first.
pub(super) fn in_words(topics: &BTreeMap<Arc<str>, TopicRows>) -> String {
    let mut by_rows: Vec<(&Arc<str>, &TopicRows)> = topics.iter().collect();
    by_rows.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.all()));
    let mut words = String::new();
    for (topic, TopicRows { inserted, updated, deleted, fenced, .. }) in by_rows.iter().take(TOPICS_NAMED_MAX)
    {
        let separator = if words.is_empty() { "" } else { "; " };
        // Writing to a String does not fail.
        let _infallible = write!(
            words,
            "{separator}{topic}: {inserted} inserted, {updated} updated, {deleted} deleted, {fenced} fenced off"
        );
    }
    if by_rows.len() > TOPICS_NAMED_MAX {
        let _infallible = write!(words, "; and {} more", by_rows.len() - TOPICS_NAMED_MAX);
    }
    words
}

#[cfg(test)]
mod tests {
    use cdc_syncer::Partition;

    use super::*;

    #[test]
    fn the_topics_with_the_most_rows_are_named_and_the_others_counted() {
        let rows = |inserted| TopicRows { inserted, ..TopicRows::of(Partition(0)) };
        let topics: BTreeMap<Arc<str>, TopicRows> =
            (0..10).map(|number| (Arc::from(format!("t{number}")), rows(number))).collect();
        let words = in_words(&topics);
        assert!(words.starts_with("t9: 9 inserted, 0 updated, 0 deleted, 0 fenced off; t8: "), "{words}");
        assert!(words.ends_with("; and 2 more"), "{words}");
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let mut sums = Sums::default();
        let topic: Arc<str> = Arc::from("t");
        let rows = TopicRows { inserted: 3, ..TopicRows::of(Partition(0)) };
        let counts = WriteCounts { inserted: 3, ..WriteCounts::default() };
        sums.wrote(3, &counts, &[(Arc::clone(&topic), rows)]);
        sums.wrote(3, &counts, &[(topic, rows)]);
        assert_eq!((sums.batches, sums.messages, sums.counts.inserted), (2, 6, 6));
        sums.say(true);
        assert_eq!((sums.batches, sums.topics.len()), (0, 0));
    }
}
