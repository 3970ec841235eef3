//! What is told of topics that are held. The machine holds partitions; people think in topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use cdc_syncer::{Held, OnTableError, Partition, Topic};

use super::{Hands, SERVICE};
use cdc_ports::{Database, RecordConsumer, StackTrace};

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// The machine's number of the partition's topic. There are as many as the configuration names.
    pub(super) fn topic_of(&mut self, partition: Partition) -> Topic {
        let next = Topic(u32::try_from(self.topics.len()).unwrap_or(u32::MAX));
        *self.topics.entry(self.consumer.name(partition).topic).or_insert(next)
    }

    /// One line when a topic begins to be held, or is held for another reason, and one when it no longer is.
    pub(super) fn tell_holds(&mut self, holds: &BTreeMap<Partition, Held>, policy: OnTableError) {
        // This is asked after every input, and hardly ever has anything changed.
        if holds.len() == self.held_partitions.len() && holds.iter().zip(&self.held_partitions).all(is_told) {
            return;
        }
        self.held_partitions.clone_from(holds);
        let mut now: BTreeMap<Arc<str>, Held> = BTreeMap::new();
        for (partition, held) in holds {
            now.entry(self.consumer.name(*partition).topic).or_insert_with(|| held.clone());
        }
        for (topic, held) in &self.held {
            let is_other = now.get(topic).is_none_or(|now| now.reason != held.reason);
            if is_other {
                self.metrics.topic_held(topic, held.reason, false);
            }
            if !now.contains_key(topic) {
                tracing::info!(
                    service = SERVICE,
                    operation = "topic_held",
                    topic = %topic,
                    reason = held.reason.as_str(),
                    "the topic is no longer held here"
                );
            }
        }
        for (topic, held) in &now {
            if self.held.get(topic).is_none_or(|before| before.reason != held.reason) {
                self.metrics.topic_held(topic, held.reason, true);
                self.last_failure = Some(format!("topic {topic}: {}", held.detail));
                report_held(topic, held, policy);
            }
        }
        self.held = now;
    }
}

/// The same words stand for as long as a partition is held: to compare where they lie is enough.
fn is_told(((partition, now), (other, told)): ((&Partition, &Held), (&Partition, &Held))) -> bool {
    partition == other && now.reason == told.reason && Arc::ptr_eq(&now.detail, &told.detail)
}

fn report_held(topic: &str, held: &Held, policy: OnTableError) {
    macro_rules! tell {
        ($words:literal) => {
            tracing::error!(
                service = SERVICE,
                operation = "topic_held",
                error_type = "non_retryable",
                error = %held.detail,
                stack_trace = %StackTrace::capture(),
                topic,
                reason = held.reason.as_str(),
                $words
            )
        };
    }
    match policy {
        OnTableError::Stop if !held.reason.is_passing() => {
            tell!("the topic cannot be written, and on_table_error is stop: the service ends");
        }
        OnTableError::Stop | OnTableError::Hold => {
            tell!("the topic is held: nothing more of it is read until this is mended; the others go on");
        }
    }
}
