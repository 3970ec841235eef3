//! The tables that are known, by the topic that fills them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;

use crate::bindings::Binding;
use crate::catalog::claim::{Claimant, claim};
use crate::catalog::ensure::ensure_table;
use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::settings::Settings;
use crate::tables::target::{Feeding, Target};

/// The tables that are known: one for each topic that the configuration names, at most.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Rises with everything that a look in progress may have missed.
    generation: u64,
    tables: HashMap<Arc<str>, Arc<Target>, RandomState>,
    /// Topics whose deletes have met a missing privilege. Who never deletes a document need not grant it.
    deleting: HashSet<Arc<str>, RandomState>,
    /// Columns that this process has told of as fed, by their tables: each worker comes upon them by itself.
    told_fed: HashMap<String, HashSet<String, RandomState>, RandomState>,
}

impl Targets {
    /// The topic's table, where it is known and fresh.
    pub(crate) fn get(&self, topic: &str) -> Option<Arc<Target>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.tables.get(topic).filter(|target| target.is_fresh()).cloned()
    }

    /// Reads the table of the topic's collection, makes it where that is allowed, and claims it.
    pub(crate) async fn load(
        &self,
        session: &mut Session,
        settings: &Settings,
        binding: &Binding,
    ) -> Result<Arc<Target>, Trouble> {
        let (generation, deletes) = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            (known.generation, known.deleting.contains(&binding.topic))
        };
        let (database, collection) = (binding.namespace.database(), binding.namespace.collection());
        let shape = ensure_table(session, settings, &binding.home).await?;
        let label = shape.label();
        let consumer_group = &settings.consumer_group;
        let claimant = Claimant { table: &label, consumer_group, database, collection };
        let table = shape.table(&claim(session, &claimant, &shape.looks()).await?)?;
        shape.check_privileges(&table, deletes)?;
        let target = Arc::new(Target::new(table));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.generation == generation {
            known.tables.insert(Arc::clone(&binding.topic), Arc::clone(&target));
        }
        Ok(target)
    }

    /// The topic's table has to allow deletes, from now on.
    pub(crate) fn note_deletes(&self, topic: &Arc<str>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.deleting.insert(Arc::clone(topic));
    }

    /// Forgets what is known: the catalog or a claim may say otherwise.
    pub(crate) fn forget(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        known.tables.clear();
    }

    /// Remembers what a committed write has fed. Returns the columns of which nobody has been told yet.
    pub(crate) fn learn(&self, Feeding { table, columns }: &Feeding) -> Vec<String> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        for target in known.tables.values_mut().filter(|target| target.table.label() == *table) {
            *target = Arc::new(target.feeding(columns));
        }
        let told = known.told_fed.entry(table.clone()).or_default();
        columns.iter().filter(|column| told.insert((*column).clone())).cloned().collect()
    }

    /// Forgets one topic's table.
    pub(crate) fn forget_topic(&self, topic: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        known.tables.remove(topic);
    }

    /// The tables that are written without the fence.
    pub(crate) fn unfenced(&self) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut labels: Vec<String> = known
            .tables
            .values()
            .filter(|target| !target.table.fenced)
            .map(|target| target.table.label())
            .collect();
        labels.sort_unstable();
        labels
    }
}

/// Watches over a write that feeds columns. Unless it is known to be committed, what is known of the tables is
/// forgotten, also where nobody waits for the write any more.
#[derive(Debug)]
pub(crate) struct FeedWatch<'a> {
    targets: &'a Targets,
    feedings: Vec<Feeding>,
}

impl<'a> FeedWatch<'a> {
    pub(crate) const fn new(targets: &'a Targets, feedings: Vec<Feeding>) -> Self {
        Self { targets, feedings }
    }

    pub(crate) fn committed(mut self) {
        for feeding in self.feedings.drain(..) {
            let news = self.targets.learn(&feeding);
            if !news.is_empty() {
                tracing::info!(
                    operation = WRITE,
                    table = feeding.table,
                    columns = news.join(", "),
                    "documents feed these columns from now on: they are written, and take their constant default or \
                     NULL where a document lacks the field"
                );
            }
        }
    }
}

impl Drop for FeedWatch<'_> {
    fn drop(&mut self) {
        if !self.feedings.is_empty() {
            self.targets.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_told_of_once_whoever_feeds_it() {
        let targets = Targets::default();
        let feeding = |table: &str, columns: &[&str]| Feeding {
            table: table.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        };
        assert_eq!(targets.learn(&feeding("public.orders", &["a", "b"])), ["a", "b"]);
        assert_eq!(targets.learn(&feeding("public.orders", &["b", "c"])), ["c"], "another worker's");
        targets.forget();
        assert!(targets.learn(&feeding("public.orders", &["a"])).is_empty());
        assert_eq!(targets.learn(&feeding("public.players", &["a"])), ["a"]);
    }
}
