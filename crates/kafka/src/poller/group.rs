//! What the group gives and takes back.

use std::time::{Duration, Instant};

use cdc_machine::EffectId;
use cdc_ports::{ConsumerEvent, Failure};
use cdc_syncer::Partition;
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::{Fetching, POLL_WAIT, Poller, Revocation, list_of, rebalance_failure};
use crate::rebalance::Notice;

/// How long a group that was left is polled on, so that the request to leave goes out before the client
/// closes: a closing static member does not send one.
const LEAVE_GRACE: Duration = Duration::from_millis(300);

impl Poller {
    pub(super) fn heed(&mut self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Assign(given) => {
                // An empty assignment answers the group at once; fetching waits for the offsets to start at.
                self.client
                    .incremental_assign(&TopicPartitionList::new())
                    .map_err(|error| rebalance_failure("assign", &error))?;
                let given = self.numbers(&given);
                self.owned.extend(&given);
                if !given.is_empty() {
                    self.voice.say(ConsumerEvent::Assigned(given));
                }
                Ok(())
            }
            Notice::Revoke { partitions, lost } => {
                let partitions = self.numbers(&partitions);
                if lost || partitions.is_empty() {
                    self.give_back(&partitions)?;
                    self.tell_lost(partitions);
                    return Ok(());
                }
                let id = EffectId(self.next_revocation);
                self.next_revocation += 1;
                self.voice.say(ConsumerEvent::Revoking(id, partitions.clone()));
                let until = Instant::now() + self.revocation_deadline;
                self.revocation = Some(Revocation { id, partitions, until });
                Ok(())
            }
        }
    }

    /// Ends a revocation that nobody confirms in time, or that the group no longer waits for.
    pub(super) fn check_revocation(&mut self) -> Result<(), Failure> {
        let client = &self.client;
        let Some(overdue) =
            self.revocation.take_if(|pending| Instant::now() >= pending.until || client.assignment_lost())
        else {
            return Ok(());
        };
        tracing::warn!(
            partitions = overdue.partitions.len(),
            "partitions were taken back before their rows were written; another member writes them again"
        );
        self.give_back(&overdue.partitions)?;
        self.tell_lost(overdue.partitions);
        Ok(())
    }

    fn tell_lost(&self, partitions: Vec<Partition>) {
        if !partitions.is_empty() {
            self.voice.say(ConsumerEvent::Lost(partitions));
        }
    }

    /// Answers a revocation. Only what was started is in librdkafka's own assignment.
    pub(super) fn give_back(&mut self, partitions: &[Partition]) -> Result<(), Failure> {
        self.stop(partitions)?;
        let is_of = |fetching: &mut Fetching| partitions.contains(&fetching.partition);
        let started: Vec<Fetching> = self.stopping.extract_if(.., is_of).collect();
        self.owned.retain(|partition| !partitions.contains(partition));
        let started = list_of(&started);
        self.client.incremental_unassign(&started).map_err(|error| rebalance_failure("unassign", &error))
    }

    fn numbers(&self, names: &[(String, i32)]) -> Vec<Partition> {
        names.iter().map(|(topic, partition)| self.names.number(topic, *partition)).collect()
    }

    /// Leaves the group, so that the others need not wait for the session to end. What was to be written and
    /// committed has been.
    pub(super) fn leave(&mut self) {
        if let Some(pending) = self.revocation.take() {
            self.answer_while_leaving(&pending.partitions);
        }
        self.client.unsubscribe();
        let until = Instant::now() + LEAVE_GRACE;
        while Instant::now() < until {
            if let Some(Err(error)) = self.client.poll(POLL_WAIT) {
                tracing::debug!(%error, "while leaving the group");
            }
            while let Some(notice) = self.client.context().next_notice() {
                match notice {
                    Notice::Assign(_) => self.answer_while_leaving(&[]),
                    Notice::Revoke { partitions, .. } => {
                        let partitions = self.numbers(&partitions);
                        self.answer_while_leaving(&partitions);
                    }
                }
            }
        }
    }

    fn answer_while_leaving(&mut self, partitions: &[Partition]) {
        if let Err(failed) = self.give_back(partitions) {
            tracing::debug!(%failed, "while leaving the group");
        }
    }
}
