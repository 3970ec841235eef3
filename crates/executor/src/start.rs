//! A service before it has a machine: what it waits for, and how often it has tried.

use cdc_machine::Dependency;
use tokio::sync::watch;

use crate::Health;
use crate::health::Standing;
use crate::metrics::Errors;
use crate::report::{self, Attempt};
use cdc_ports::Failure;

/// Only the Watcher waits before it has a machine: for who its source is.
const SOURCE: Dependency = Dependency::MongoDb;

/// The health of a service that is being put together.
pub struct Start {
    service: &'static str,
    health: watch::Sender<Health>,
    errors: Errors,
}

impl Start {
    /// The Watcher, which waits for its source to say who it is.
    #[must_use]
    pub fn watcher() -> (Self, watch::Receiver<Health>) {
        let service = super::watcher::SERVICE;
        let mut starting = Health::starting(service);
        starting.reason = format!("connecting: waiting for {}", SOURCE.as_str());
        let (health, receiver) = watch::channel(starting);
        (Self { service, health, errors: Errors::watcher() }, receiver)
    }

    /// What it waits for has failed, after so many retries of at most `max`: logged, counted, and told to probes.
    pub fn failed(&self, failure: &Failure, retry: u32, max: Option<u32>) {
        let attempt = Attempt { retry, max };
        self.errors.failed(failure.fault);
        report::failure(self.service, "Connecting", failure, attempt);
        let mut standing = Standing::new(SOURCE.as_str());
        standing.failed(failure, Some(attempt));
        if let Some(trouble) = standing.trouble() {
            self.health.send_modify(|health| trouble.clone_into(&mut health.reason));
        }
    }

    /// From now on somebody else tells.
    #[must_use]
    pub fn into_sender(self) -> watch::Sender<Health> {
        self.health
    }
}
