//! Who speaks in this log, and in which state.

use std::sync::{Arc, PoisonError, RwLock};

use cdc_executor::Health;
use tokio::sync::watch;

/// Who runs in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// The Watcher alone.
    Watcher,
    /// The Syncer alone.
    Syncer,
    /// Both. A line that does not say whose it is belongs to the service whose neighbour it speaks of.
    Pipeline,
}

/// The states of the services in this process, for the lines that do not tell them.
#[derive(Clone, Debug, Default)]
pub(crate) struct States(Arc<RwLock<Vec<watch::Receiver<Health>>>>);

impl States {
    pub(super) fn follow(&self, health: watch::Receiver<Health>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(health);
    }

    /// The state of a service; `None` before it has begun.
    pub(crate) fn of(&self, service: &str) -> Option<&'static str> {
        let services = self.0.read().unwrap_or_else(PoisonError::into_inner);
        services
            .iter()
            .map(|health| health.borrow())
            .find(|it| it.service == service)
            .map(|it| it.state.as_str())
    }
}
