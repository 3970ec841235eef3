//! The collections that a batch's topics carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use cdc_event::Envelope;
use cdc_machine::Fault;
use cdc_syncer::{Partition, Reject};

use crate::ledger::owned::Holds;
use crate::namespace::Namespace;
use crate::plan::row::NoRow;
use crate::server::trouble::Trouble;

/// Characters of a name in a message that is refused for it.
const NAME_CHARS: usize = 64;

/// A topic with what it carries.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) topic: Arc<str>,
    pub(crate) namespace: Namespace,
}

impl Binding {
    /// Why a message of another collection has no row. The names in it are anybody's: cut, and escaped.
    pub(crate) fn refuses(&self, envelope: &Envelope<'_>) -> NoRow {
        let cut = |name: &str| name.chars().take(NAME_CHARS).collect::<String>();
        let (database, collection) = (cut(&envelope.database), cut(&envelope.collection));
        NoRow::new(
            Reject::WrongNamespace,
            format!(
                "topic {} carries {}, and the message names database {database:?}, collection {collection:?}; \
                 each collection has a topic of its own, and kafka.namespaces says which",
                self.topic, self.namespace
            ),
        )
    }
}

/// What the configuration says of each topic.
#[derive(Debug)]
pub(crate) struct Bindings {
    by_topic: BTreeMap<Arc<str>, Arc<Binding>>,
}

impl Bindings {
    pub(crate) fn new(namespaces: &BTreeMap<String, Namespace>) -> Self {
        let bind = |(topic, namespace): (&String, &Namespace)| {
            let topic: Arc<str> = topic.as_str().into();
            (Arc::clone(&topic), Arc::new(Binding { topic, namespace: namespace.clone() }))
        };
        Self { by_topic: namespaces.iter().map(bind).collect() }
    }

    /// What the configuration says of this topic.
    pub(crate) fn get(&self, topic: &str) -> Option<Arc<Binding>> {
        self.by_topic.get(topic).cloned()
    }

    /// Those of the topics that these partitions belong to.
    pub(crate) fn of(&self, holds: &Holds) -> Result<BatchTopics, Trouble> {
        let mut topics: Vec<Arc<Binding>> = Vec::new();
        let mut partitions = Vec::with_capacity(holds.partitions.len());
        // Sorted by topic.
        for (partition, topic) in holds.partitions.iter().zip(&holds.topics) {
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
        let at = self.partitions.binary_search_by_key(&partition, |(held, _)| *held).ok()?;
        self.partitions.get(at).map(|(_, place)| *place)
    }
}
