//! What the last look at each topic's table has found, and when it was: a table in use is looked at once a second.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use crate::tables::inspect::Inspection;

/// The shortest time between two looks at one table.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Fields without a column that are remembered of one table. Beyond them, each is looked for again.
const ABSENT_MAX: usize = 10_000;

/// Names of fields.
pub(crate) type Names = HashSet<String, RandomState>;

/// The last looks, by topic.
#[derive(Debug, Default)]
pub(crate) struct Inspections {
    by_topic: Mutex<HashMap<Arc<str>, Look, RandomState>>,
}

#[derive(Debug)]
struct Look {
    /// When the last look began, whether or not it has ended.
    begun: Instant,
    /// When the last look began that has ended, and what it found.
    seen: Option<(Instant, Inspection)>,
    /// Fields of documents that have no column in the table of this shape.
    absent: Arc<Names>,
}

impl Inspections {
    /// True where it is time for a look, which the caller then takes.
    pub(crate) fn begin_if_due(&self, topic: &Arc<str>) -> bool {
        let now = Instant::now();
        let mut looks = self.by_topic.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.get_mut(topic) {
            Some(look) if now.duration_since(look.begun) < LOOK_INTERVAL => false,
            Some(look) => {
                look.begun = now;
                true
            }
            None => {
                looks.insert(Arc::clone(topic), Look { begun: now, seen: None, absent: Arc::default() });
                true
            }
        }
    }

    /// True where the topic's table is known.
    pub(crate) fn is_known(&self, topic: &str) -> bool {
        self.seen(topic, |_, _| ()).is_some()
    }

    /// True where a look that began no earlier than this has ended.
    pub(crate) fn has_seen_since(&self, topic: &str, moment: Instant) -> bool {
        self.seen(topic, |at, _| at >= moment).unwrap_or(false)
    }

    /// True where this is what the last look has found.
    pub(crate) fn is_as_seen(&self, topic: &str, found: &Inspection) -> bool {
        self.seen(topic, |_, before| before.is_of_the_same_table(found)).unwrap_or(false)
    }

    /// Notes what a look has found that began at this moment. The table that is remembered has to be as it found it.
    pub(crate) fn note(&self, topic: &Arc<str>, begun: Instant, found: Inspection) {
        let mut looks = self.by_topic.lock().unwrap_or_else(PoisonError::into_inner);
        let look = looks.entry(Arc::clone(topic)).or_insert_with(|| Look {
            begun,
            seen: None,
            absent: Arc::default(),
        });
        let is_same = look.seen.is_some_and(|(_, before)| before.is_of_the_same_table(&found));
        let was_unlogged = look.seen.is_some_and(|(_, before)| before.unlogged);
        look.seen = Some((begun, found));
        if !is_same {
            look.absent = Arc::default();
        }
        if found.unlogged && !was_unlogged {
            tracing::warn!(
                topic = %topic,
                "the topic's table is unlogged: a crash of PostgreSQL will empty it, and the topic will be held until \
                 a person has it read again; ALTER TABLE … SET LOGGED keeps its rows"
            );
        }
    }

    /// The table was refused: the next look begins with nothing.
    pub(crate) fn forget(&self, topic: &str) {
        self.by_topic.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    /// The fields that are known to have no column.
    pub(crate) fn absent(&self, topic: &str) -> Arc<Names> {
        let looks = self.by_topic.lock().unwrap_or_else(PoisonError::into_inner);
        looks.get(topic).map(|look| Arc::clone(&look.absent)).unwrap_or_default()
    }

    /// These were looked for, and have no column.
    pub(crate) fn note_absent(&self, topic: &str, names: &[String]) {
        let mut looks = self.by_topic.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(look) = looks.get_mut(topic).filter(|_| !names.is_empty()) else { return };
        let absent = Arc::make_mut(&mut look.absent);
        if absent.len() + names.len() > ABSENT_MAX {
            absent.clear();
        }
        absent.extend(names.iter().take(ABSENT_MAX).cloned());
    }

    /// The topics whose tables are unlogged.
    pub(crate) fn unlogged(&self) -> Vec<Arc<str>> {
        let looks = self.by_topic.lock().unwrap_or_else(PoisonError::into_inner);
        let is_unlogged = |look: &Look| look.seen.is_some_and(|(_, found)| found.unlogged);
        let mut topics: Vec<Arc<str>> =
            looks.iter().filter(|(_, look)| is_unlogged(look)).map(|(topic, _)| Arc::clone(topic)).collect();
        topics.sort_unstable();
        topics
    }

    fn seen<T>(&self, topic: &str, of: impl FnOnce(Instant, &Inspection) -> T) -> Option<T> {
        let looks = self.by_topic.lock().unwrap_or_else(PoisonError::into_inner);
        looks.get(topic).and_then(|look| look.seen.as_ref()).map(|(at, found)| of(*at, found))
    }
}
