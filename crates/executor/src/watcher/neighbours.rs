//! What the neighbours have shown of themselves, and since when they owe an answer: for probes and the log. It decides
//! nothing.

use std::time::Duration;

use cdc_machine::Dependency;
use tokio::time::Instant;

use super::Hands;
use crate::health::{DependencyHealth, PATIENCE, within_reason};
use crate::pending_since::PendingSince;
use cdc_ports::Producer;

/// Since when an answer of each sort is pending.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) source: PendingSince,
    pub(super) store: PendingSince,
    pub(super) save: PendingSince,
    pub(super) broker: PendingSince,
}

/// What each neighbour has shown of itself.
pub(super) struct Neighbours {
    pub(super) source: DependencyHealth,
    pub(super) store: DependencyHealth,
    pub(super) broker: DependencyHealth,
}

impl Neighbours {
    pub(super) fn new(token_store: Dependency) -> Self {
        Self {
            source: DependencyHealth::new(Dependency::MongoDb.as_str()),
            store: DependencyHealth::new(token_store.as_str()),
            broker: DependencyHealth::new(Dependency::Kafka.as_str()),
        }
    }
}

/// A moment in the past, also one before this process began.
pub(super) struct SavedAt {
    known_at: Instant,
    before: Duration,
}

impl SavedAt {
    pub(super) fn ago(before: Duration) -> Self {
        Self { known_at: Instant::now(), before }
    }

    pub(super) fn age(&self) -> Duration {
        self.before.saturating_add(self.known_at.elapsed())
    }
}

impl<P: Producer> Hands<P> {
    /// Asks the brokers for a sign of life where there is nothing to publish, and now and then how large the topics
    /// are. The source is read all the time, and the store's lease is renewed; only the brokers can be quiet for
    /// long.
    pub(super) fn probe(&mut self) {
        let is_quiet = !self.has_reports_due() && self.neighbours.broker.is_quiet();
        if self.probing.is_some() || !(is_quiet || self.growth.is_due()) {
            return;
        }
        self.growth.asked();
        if let Some(producer) = &self.producer {
            self.probing = Some(tokio::spawn(within_reason(producer.probe())));
        }
    }

    pub(super) fn has_reports_due(&self) -> bool {
        self.publishing.age() > Duration::ZERO
    }

    /// Which neighbour gave a bad answer, or owes one for too long.
    pub(super) fn trouble(&self) -> Option<String> {
        let Neighbours { source, store, broker } = &self.neighbours;
        if let Some(trouble) = [source, store, broker].into_iter().find_map(DependencyHealth::trouble) {
            return Some(trouble.to_owned());
        }
        if self.source_name.is_none() {
            return Some(format!("connecting: waiting for {}", Dependency::MongoDb.as_str()));
        }
        if let Some(holder) = &self.standby {
            return Some(holder.why_waiting());
        }
        let pending = [
            ("mongodb", self.pending.source.age()),
            ("the token store", self.pending.store.age()),
            ("kafka", self.pending.broker.age().max(self.publishing.age())),
        ];
        let (name, age) = pending.into_iter().max_by_key(|(_, age)| *age)?;
        if age > PATIENCE {
            return Some(format!("{name} owes an answer for {} s", age.as_secs()));
        }
        self.watched.trouble()
    }
}
