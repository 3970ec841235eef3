//! The collections that a batch's topics carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use cdc_machine::Fault;
use cdc_syncer::Partition;

use crate::home::Home;
use crate::ledger::owned::OwnedPartitions;
use crate::namespace::Namespace;
use crate::server::trouble::Trouble;
use crate::settings::Settings;

/// A topic with what it carries.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) topic: Arc<str>,
    pub(crate) namespace: Namespace,
    /// Where its rows go.
    pub(crate) home: Home,
}

/// What the configuration says of each topic.
#[derive(Debug)]
pub(crate) struct Bindings {
    by_topic: BTreeMap<Arc<str>, Arc<Binding>>,
}

impl Bindings {
    pub(crate) fn new(settings: &Settings) -> Self {
        let bind = |(topic, namespace): (&String, &Namespace)| {
            let home = Home::new(settings, topic, namespace);
            let topic: Arc<str> = topic.as_str().into();
            (Arc::clone(&topic), Arc::new(Binding { topic, namespace: namespace.clone(), home }))
        };
        Self { by_topic: settings.namespaces.iter().map(bind).collect() }
    }

    /// What the configuration says of this topic.
    pub(crate) fn get(&self, topic: &str) -> Option<Arc<Binding>> {
        self.by_topic.get(topic).cloned()
    }

    /// Those of the topics that these partitions belong to.
    pub(crate) fn of(&self, owned: &OwnedPartitions) -> Result<BatchTopics, Trouble> {
        let mut topics: Vec<Arc<Binding>> = Vec::new();
        let mut partitions = Vec::with_capacity(owned.partitions.len());
        // Sorted by topic.
        for (partition, topic) in owned.partitions.iter().zip(&owned.topics) {
            if topics.last().is_none_or(|last| *last.topic != **topic) {
                topics.push(self.by_topic.get(topic.as_str()).cloned().ok_or_else(|| {
                    Trouble::new(
                        Fault::Bug,
                        "postgres_bindings",
                        format!("topic {topic} is read and bound to no collection, which is a bug"),
                    )
                })?);
            }
            partitions.push((*partition, topics.len() - 1));
        }
        partitions.sort_unstable();
        Ok(BatchTopics { topics, partitions })
    }
}

/// The topics of one batch.
#[derive(Debug, Default)]
pub(crate) struct BatchTopics {
    pub(crate) topics: Vec<Arc<Binding>>,
    /// Each partition's place among the topics.
    partitions: Vec<(Partition, usize)>,
}

impl BatchTopics {
    /// The place of the partition's topic.
    pub(crate) fn place(&self, partition: Partition) -> Option<usize> {
        let at = self.partitions.binary_search_by_key(&partition, |(owned, _)| *owned).ok()?;
        self.partitions.get(at).map(|(_, place)| *place)
    }
}
