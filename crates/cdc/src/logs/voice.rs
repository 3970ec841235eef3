//! Who speaks in this log, and in which state.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use cdc_executor::Health;
use cdc_traces::Traces;
use opentelemetry::trace::SpanContext;
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
pub(crate) struct States {
    services: Arc<RwLock<Vec<watch::Receiver<Health>>>>,
    traces: Arc<RwLock<Vec<(&'static str, Traces)>>>,
}

impl States {
    pub(super) fn follow(&self, health: watch::Receiver<Health>) {
        self.services.write().unwrap_or_else(PoisonError::into_inner).push(health);
    }

    pub(super) fn name_spans(&self, service: &'static str, traces: Traces) {
        self.traces.write().unwrap_or_else(PoisonError::into_inner).push((service, traces));
    }

    /// The span that a service is in now; `None` where none are made.
    pub(crate) fn span_of(&self, service: &str) -> Option<SpanContext> {
        let traces = self.traces.read().unwrap_or_else(PoisonError::into_inner);
        let (_, traces) = traces.iter().find(|(name, _)| *name == service)?;
        traces.current(SystemTime::now())
    }

    /// The state of a service; `None` before it has begun.
    pub(crate) fn of(&self, service: &str) -> Option<&'static str> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services
            .iter()
            .map(|health| health.borrow())
            .find(|it| it.service == service)
            .map(|it| it.state.as_str())
    }
}
