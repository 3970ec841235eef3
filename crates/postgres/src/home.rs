//! Where a collection's rows go: the table's name, and what its columns take.

use crate::mapping::{Naming, TableMapping};
use crate::namespace::Namespace;
use crate::settings::Settings;

/// A collection's table, by the configuration alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) mapping: TableMapping,
    pub(crate) naming: Naming,
}

impl Home {
    pub(crate) fn new(settings: &Settings, topic: &str, namespace: &Namespace) -> Self {
        let mapping = settings.tables.get(topic).cloned().unwrap_or_default();
        let (schema, name) = settings.table_of(topic, namespace);
        Self { schema, name, mapping, naming: settings.naming }
    }

    /// The table, as it stands in the bookkeeping and in messages.
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}
