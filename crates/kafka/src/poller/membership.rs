//! What the group gives and takes back, and how it is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cdc_machine::EffectId;
use cdc_ports::{ConsumerEvent, Failure};
use cdc_syncer::Partition;
use rdkafka::consumer::Consumer as _;

use super::fetches::Fetches;
use super::voice::Voice;
use crate::rebalance::{GroupClient, Notice};

/// How long a group that was left is polled on, so that the request to leave goes out before the client
/// closes: a closing static member does not send one.
const LEAVE_GRACE: Duration = Duration::from_millis(300);
/// The longest wait of one poll meanwhile.
const LEAVE_POLL: Duration = Duration::from_millis(10);

/// What the group takes back, until it is confirmed.
struct Revocation {
    id: EffectId,
    partitions: Vec<Partition>,
    until: Instant,
}

/// One client's place in the group.
pub(super) struct Membership {
    client: Arc<GroupClient>,
    revocation_deadline: Duration,
    next_revocation: u64,
    revocation: Option<Revocation>,
}

impl Membership {
    /// Revocations are counted from the session's own number: a late confirmation must not confirm another session's.
    pub(super) const fn new(client: Arc<GroupClient>, session: u64, revocation_deadline: Duration) -> Self {
        Self { client, revocation_deadline, next_revocation: session << 32, revocation: None }
    }

    /// True while the group waits for a revocation to be confirmed.
    pub(super) const fn is_revoking(&self) -> bool {
        self.revocation.is_some()
    }

    /// The oldest notice of the group, once the one before is answered.
    pub(super) fn next_notice(&self) -> Option<Notice> {
        if self.is_revoking() { None } else { self.client.context().next_notice() }
    }

    pub(super) fn on_notice(
        &mut self,
        notice: Notice,
        fetches: &mut Fetches,
        voice: &Voice,
    ) -> Result<(), Failure> {
        match notice {
            Notice::Assign(given) => {
                let given = fetches.take(&given)?;
                if !given.is_empty() {
                    voice.say(ConsumerEvent::Assigned(given));
                }
            }
            Notice::Revoke { partitions, lost } => {
                let partitions = fetches.numbers(&partitions);
                if lost || partitions.is_empty() {
                    return lose(partitions, fetches, voice);
                }
                let id = EffectId(self.next_revocation);
                self.next_revocation += 1;
                voice.say(ConsumerEvent::Revoking(id, partitions.clone()));
                let until = Instant::now() + self.revocation_deadline;
                self.revocation = Some(Revocation { id, partitions, until });
            }
        }
        Ok(())
    }

    /// Gives the group what it asked back, where it still waits for that.
    pub(super) fn confirm(&mut self, id: EffectId, fetches: &mut Fetches) -> Result<(), Failure> {
        match self.revocation.take_if(|pending| pending.id == id) {
            Some(confirmed) => fetches.give_back(&confirmed.partitions),
            None => Ok(()),
        }
    }

    /// Ends a revocation that nobody confirms in time, or that the group no longer waits for.
    pub(super) fn check_revocation(&mut self, fetches: &mut Fetches, voice: &Voice) -> Result<(), Failure> {
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
        lose(overdue.partitions, fetches, voice)
    }

    /// Leaves the group, so that the others need not wait for the session to end. What was to be written and
    /// committed has been.
    pub(super) fn leave(mut self, fetches: &mut Fetches) {
        if let Some(pending) = self.revocation.take() {
            answer_while_leaving(&pending.partitions, fetches);
        }
        self.client.unsubscribe();
        let until = Instant::now() + LEAVE_GRACE;
        while Instant::now() < until {
            if let Some(Err(error)) = self.client.poll(LEAVE_POLL) {
                tracing::debug!(%error, "while leaving the group");
            }
            while let Some(notice) = self.next_notice() {
                match notice {
                    Notice::Assign(_) => answer_while_leaving(&[], fetches),
                    Notice::Revoke { partitions, .. } => {
                        answer_while_leaving(&fetches.numbers(&partitions), fetches);
                    }
                }
            }
        }
    }
}

/// Gives back what is another member's already, and says so.
fn lose(partitions: Vec<Partition>, fetches: &mut Fetches, voice: &Voice) -> Result<(), Failure> {
    fetches.give_back(&partitions)?;
    if !partitions.is_empty() {
        voice.say(ConsumerEvent::Lost(partitions));
    }
    Ok(())
}

fn answer_while_leaving(partitions: &[Partition], fetches: &mut Fetches) {
    if let Err(failed) = fetches.give_back(partitions) {
        tracing::debug!(%failed, "while leaving the group");
    }
}
