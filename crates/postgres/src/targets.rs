//! The tables that are known, by the topic that fills them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use crate::bindings::Binding;
use crate::bookkeeping::claim_table;
use crate::catalog::ensure_table;
use crate::failure::Trouble;
use crate::session::Session;
use crate::settings::Settings;
use crate::statements::Statements;
use crate::table::Table;

/// What is known of a table is read again after this long, so that an added column or a lifted constraint
/// is noticed without a restart.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A table with its statements.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) table: Table,
    pub(crate) statements: Statements,
    read_at: Instant,
}

/// The tables that are known: one for each topic that the configuration names, at most.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    known: RwLock<HashMap<Arc<str>, Arc<Target>, RandomState>>,
}

impl Targets {
    /// The topic's table, where it is known and fresh.
    pub(crate) fn get(&self, topic: &str) -> Option<Arc<Target>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(topic).filter(|target| target.read_at.elapsed() < MAX_AGE).cloned()
    }

    /// Reads the table of the topic's collection, makes it where that is allowed, and claims it.
    pub(crate) async fn load(
        &self,
        session: &mut Session,
        settings: &Settings,
        binding: &Binding,
    ) -> Result<Arc<Target>, Trouble> {
        let (database, collection) = (binding.namespace.database(), binding.namespace.collection());
        let table = ensure_table(session, &settings.schema, collection, settings.manage_schema).await?;
        claim_table(session, &table.label(), &settings.consumer_group, database, collection).await?;
        let target = Arc::new(Target { statements: Statements::new(&table), table, read_at: Instant::now() });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(Arc::clone(&binding.topic), Arc::clone(&target));
        Ok(target)
    }

    /// Forgets what is known: the catalog says otherwise.
    pub(crate) fn forget(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The tables that are written without the fence.
    pub(crate) fn unfenced(&self) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut labels: Vec<String> =
            known.values().filter(|target| !target.table.fenced).map(|target| target.table.label()).collect();
        labels.sort_unstable();
        labels
    }
}
