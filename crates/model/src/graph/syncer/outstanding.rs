//! What a small machine has ordered, and waits for: its inputs are the answers.

use cdc_machine::EffectId;
use cdc_syncer::{Effect, Input, Parking, TimerKind};

use crate::graph::asked::{Running, take};

/// Requests that are not answered, and timers that run.
#[derive(Clone, Debug, Default)]
pub(super) struct Outstanding {
    pub(super) database: Option<EffectId>,
    pub(super) group: Option<EffectId>,
    pub(super) leaving: Option<EffectId>,
    pub(super) taking: Option<EffectId>,
    pub(super) moving: Option<EffectId>,
    pub(super) check: Option<EffectId>,
    pub(super) commit: Option<EffectId>,
    pub(super) retrying: Option<EffectId>,
    pub(super) writing: Option<(EffectId, Parking)>,
    pub(super) dead_letters: Vec<EffectId>,
    /// The records that were asked for.
    pub(super) fetch: Option<u32>,
    /// The group waits for an answer of the machine's.
    pub(super) is_revoking: bool,
    pub(super) timers: Running<TimerKind>,
}

impl Outstanding {
    pub(super) fn answered(&mut self, input: &Input<()>) {
        match input {
            Input::DatabaseConnected { id, .. } => take(&mut self.database, *id),
            Input::GroupJoined { id, result: Err(_) } if self.group == Some(*id) => self.lose_group(),
            Input::GroupJoined { id, .. } => take(&mut self.group, *id),
            Input::ConsumerFailed { .. } => self.lose_group(),
            Input::GroupLeft { id, .. } => take(&mut self.leaving, *id),
            Input::PartitionsAcquired { id, .. } => take(&mut self.taking, *id),
            Input::OffsetsMoved { id, .. } => take(&mut self.moving, *id),
            Input::LedgerChecked { id, .. } => take(&mut self.check, *id),
            Input::OffsetsCommitted { id, .. } => take(&mut self.commit, *id),
            Input::ParkedRetried { id, .. } => take(&mut self.retrying, *id),
            Input::BatchWritten { id, .. } => drop(self.writing.take_if(|(asked, _)| asked == id)),
            Input::DeadLettered { id, .. } => self.dead_letters.retain(|asked| asked != id),
            Input::Records { .. } => self.fetch = None,
            Input::Revoking { .. } => self.is_revoking = true,
            Input::Timer(timer) => self.timers.end(*timer),
            Input::Start | Input::Assigned { .. } | Input::Lost { .. } | Input::Signal(_) => {}
        }
    }

    fn lose_group(&mut self) {
        (self.group, self.fetch, self.is_revoking) = (None, None, false);
    }

    pub(super) fn ordered(&mut self, effect: &Effect<()>) {
        match effect {
            Effect::ConnectDatabase { id } => self.database = Some(*id),
            Effect::JoinGroup { id } => self.group = Some(*id),
            Effect::LeaveGroup { id } => self.leaving = Some(*id),
            Effect::AcquirePartitions { id, .. } => self.taking = Some(*id),
            Effect::MoveOffsets { id, .. } => self.moving = Some(*id),
            Effect::CheckLedger { id, .. } => self.check = Some(*id),
            Effect::CommitOffsets { id, .. } => self.commit = Some(*id),
            Effect::RetryParked { id, .. } => self.retrying = Some(*id),
            Effect::WriteBatch { id, parking, .. } => self.writing = Some((*id, *parking)),
            Effect::DeadLetter { id, .. } => self.dead_letters.push(*id),
            Effect::Fetch { max_records, .. } => self.fetch = Some(*max_records),
            Effect::Pause => self.fetch = None,
            Effect::ConfirmRevoked { .. } => self.is_revoking = false,
            Effect::SetTimer { timer, .. } => self.timers.set(*timer),
            Effect::CancelTimer { timer } => self.timers.end(*timer),
            Effect::StartFetching { .. }
            | Effect::StopFetching { .. }
            | Effect::Resume
            | Effect::Skip { .. }
            | Effect::Stop { .. } => {}
        }
    }
}
