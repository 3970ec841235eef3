//! What others may see of the machine: for logs, metrics and tests.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cdc_machine::{Backoff, Cause, Epoch, Fault, Ids, Retry, StateName};

use super::Parts;
use crate::context::Timers;
use crate::outage::is_out_of_reach;
use crate::partitions::{Assignment, Window};
use crate::polling::credit;
use crate::{Config, Held, Partition, Reject, Row, Syncer, Topic, WaitsFor, WorkerId};

impl<R: Clone> Syncer<R> {
    /// A Syncer that waits for [`Input::Start`](crate::Input::Start).
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            state: StateName::Connecting,
            cause: None,
            parts: Parts::new(config),
            timers: Timers::new(),
            ids: Ids::default(),
        }
    }

    /// What the Syncer waits for.
    #[must_use]
    pub const fn state(&self) -> StateName {
        self.state
    }

    /// What it waits for, more exactly than the state says.
    #[must_use]
    pub fn waits_for(&self) -> WaitsFor {
        match (self.state, self.parts.connection.waits_for()) {
            (StateName::Stopped, _) => WaitsFor::Nothing,
            (StateName::Connecting | StateName::Draining, Some(connection)) => connection,
            (StateName::Draining, None) if self.parts.partitions.in_hand().unsettled == 0 => {
                WaitsFor::Offsets
            }
            (StateName::AwaitingAck | StateName::Draining, _) => WaitsFor::Commits,
            (StateName::SavingToken, _) => WaitsFor::Offsets,
            (StateName::Connecting | StateName::Streaming, _) => WaitsFor::Record,
        }
    }

    /// Why it stopped, once it has.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The record that it stopped at, where the policy is to stop at a bad one, and what is wrong with it.
    #[must_use]
    pub fn stopped_at(&self) -> Option<(&Row<R>, Reject, &str)> {
        self.parts.bad_rows.last().map(|bad| (&bad.row, bad.reason, &*bad.detail))
    }

    /// Records from poll to offset commit.
    #[must_use]
    pub fn buffered_records(&self) -> u64 {
        self.parts.partitions.in_hand().records
    }

    /// Their bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        self.parts.partitions.in_hand().bytes
    }

    /// True where nothing more is read until some of that is written or recorded.
    #[must_use]
    pub fn is_full(&self, config: &Config) -> bool {
        self.buffered_records() > 0 && credit(&self.parts.partitions, &self.parts.writers, config).is_none()
    }

    /// Of each partition of which records are settled, the offset below which all are.
    pub fn written(&self) -> impl Iterator<Item = (Partition, i64)> + '_ {
        self.parts.partitions.iter().filter_map(|(partition, assignment)| {
            assignment.window().and_then(Window::settled).map(|settled| (partition, settled))
        })
    }

    /// Rows that wait in the database for a unique value, of the partitions in hand.
    #[must_use]
    pub fn parked_rows(&self) -> u64 {
        self.parts.parked.rows()
    }

    /// The partitions whose table cannot be written, and why.
    #[must_use]
    pub const fn holds(&self) -> &BTreeMap<Partition, Held> {
        self.parts.holds.entries()
    }

    /// Inputs that answered what was gone, and changed nothing.
    #[must_use]
    pub const fn stale_inputs(&self) -> u64 {
        self.ids.stale()
    }

    /// Inputs that nothing had asked for, and changed nothing.
    #[must_use]
    pub const fn unexpected_inputs(&self) -> u64 {
        self.ids.unexpected()
    }

    /// Records and rows dropped because their assignment was gone or going.
    #[must_use]
    pub const fn stale_records(&self) -> u64 {
        self.parts.partitions.stale_records()
    }

    /// Retries used and allowed towards Kafka, for the log; `None` allows any number.
    #[must_use]
    pub fn kafka_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        let Parts { connection, offsets, bad_rows, .. } = &self.parts;
        let used = [connection.retries().1, offsets.retries(), bad_rows.retries()];
        most_used(used, config.retries.kafka)
    }

    /// Retries used and allowed towards PostgreSQL outside of writes, for the log.
    #[must_use]
    pub fn postgres_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        let Parts { connection, acquisitions, outage, .. } = &self.parts;
        let used = [connection.retries().0, acquisitions.retries(), outage.retries()];
        most_used(used, config.retries.postgres_connect)
    }

    /// Retries used and allowed for a worker's batch that fails so, for the log.
    #[must_use]
    pub fn write_attempt(&self, worker: WorkerId, fault: Fault, config: &Config) -> (u32, Option<u32>) {
        if is_out_of_reach(fault) {
            return self.postgres_attempt(config);
        }
        most_used(self.parts.writers.retries(worker), config.retries.postgres_write)
    }

    /// What tells one situation from another, of one topic's partitions and one worker: all but the numbers that only
    /// grow, and the timers.
    #[must_use]
    pub fn situation(&self, topic: Topic, worker: WorkerId) -> Vec<u64> {
        if self.cause.is_some() {
            return Vec::from([self.state as u64]);
        }
        let Parts { partitions, outage, .. } = &self.parts;
        let mut situation = Vec::from([self.state as u64, self.parts.polling.situation()]);
        situation.extend(self.parts.connection.situation());
        situation.extend(partitions.iter().flat_map(|(_, assignment)| Assignment::situation(assignment)));
        situation.push(u64::MAX);
        situation.extend(self.parts.writers.situation(partitions, outage));
        situation.extend(self.parts.parked.situation(worker, partitions));
        situation.extend(self.parts.acquisitions.situation());
        situation.extend(self.parts.ledger_checks.situation(partitions, outage));
        situation.extend(self.parts.offsets.situation(partitions));
        situation.extend(self.parts.bad_rows.situation(topic, partitions));
        situation.extend(self.parts.holds.situation());
        situation.extend([self.parts.revocations.situation(), u64::from(outage.retries().retries())]);
        situation
    }

    /// The partition's present assignment, and the offset that it reads next.
    #[must_use]
    pub fn assignment(&self, partition: Partition) -> Option<(Epoch, i64)> {
        let assignment = self.parts.partitions.get(partition)?;
        Some((assignment.epoch, assignment.window().map_or(0, Window::next_offset)))
    }
}

fn most_used(used: impl IntoIterator<Item = Backoff>, allowed: Retry) -> (u32, Option<u32>) {
    (used.into_iter().map(|backoff| backoff.retries()).max().unwrap_or(0), allowed.max_retries)
}
