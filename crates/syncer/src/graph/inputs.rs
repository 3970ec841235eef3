//! What may come to a small machine, in each situation.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use cdc_machine::{Dependency, EffectId, Epoch, Fault, SeqNo, TimerId};

use super::{NOBODY, PARTITION, Small, TOPIC, WORKER, kinds};
use crate::facts::Polling;
use crate::state::{Connecting, Draining, Group, State};
use crate::worker::{Worker, Writer};
use crate::{
    Acquired, Hold, HoldReason, Input, LogBounds, ParkedRows, Record, Reject, Rejected, RejectedParked,
    RetryOutcome, Row, WorkerId, WriteOutcome,
};

/// An assignment that never was.
pub(super) const GONE: Epoch = Epoch(u64::MAX);

const FAULTS: [Fault; 4] = [Fault::Transient, Fault::Fenced, Fault::Auth, Fault::Fatal];

/// One that a person has to mend, and one that time does.
const HELD_FOR: [HoldReason; 2] = [HoldReason::Unwritable, HoldReason::Locked];

/// A log that has moved on behind the ledger's offset.
pub(super) const MOVED_ON: LogBounds = LogBounds { first: 5, end: 9 };

const fn parked(rows: u64) -> ParkedRows {
    ParkedRows { partition: PARTITION, rows }
}

/// True where the answer may tell of a parked row.
const fn writes_parking(worker: &Worker<()>) -> bool {
    matches!(&worker.writer, Writer::Writing { piece, .. } if piece.parks)
}

impl Small {
    pub(super) fn push_timers(&self, inputs: &mut Vec<Input<()>>) {
        for kind in kinds() {
            let late = TimerId { kind, generation: u64::MAX };
            inputs.push(Input::Timer(self.facts.timers.running(kind).unwrap_or(late)));
        }
    }

    pub(super) fn push_connection_replies(&self, inputs: &mut Vec<Input<()>>) {
        let (mut database, mut group, mut leaving) = (NOBODY, NOBODY, NOBODY);
        match self.state {
            State::Connecting(Connecting::Database { id }) => database = id,
            State::Connecting(Connecting::Group { id }) => group = id,
            State::Draining(Draining { group: Group::Leaving { id }, .. }) => leaving = id,
            State::Connecting(Connecting::NotStarted | Connecting::DatabaseDue | Connecting::GroupDue)
            | State::Streaming
            | State::AwaitingAck
            | State::SavingToken
            | State::Draining(Draining { group: Group::Outside | Group::Member, .. })
            | State::Stopped(_) => {}
        }
        inputs.push(Input::DatabaseReady { id: database });
        inputs.push(Input::Joined { id: group });
        inputs.push(Input::Left { id: leaving });
        for fault in FAULTS {
            inputs.push(Input::DatabaseFailed { id: database, fault });
            inputs.push(Input::JoinFailed { id: group, fault });
            inputs.push(Input::ConsumerFailed { fault });
        }
    }

    pub(super) fn push_group_events(&self, inputs: &mut Vec<Input<()>>) {
        // The group gives a partition to whom it does not count as its owner, and asks one answer at a time.
        if self.assignment().is_none() {
            inputs.push(Input::Assigned { partitions: vec![(PARTITION, TOPIC)] });
        }
        if self.facts.revocations.is_empty() {
            inputs.push(Input::Revoking { id: EffectId(0), partitions: vec![PARTITION] });
        }
        inputs.push(Input::Lost { partitions: vec![PARTITION] });
        let (id, taking, moving) = match &self.facts.acquisition {
            None => (NOBODY, NOBODY, NOBODY),
            Some(acquisition) if acquisition.gaps.is_empty() => (acquisition.id, acquisition.id, NOBODY),
            Some(acquisition) => (acquisition.id, NOBODY, acquisition.id),
        };
        let row = self.acquired(Vec::new());
        let mut push_acquired =
            |partitions, held| inputs.push(Input::Acquired { id: taking, partitions, held });
        push_acquired(vec![row.clone()], Vec::new());
        push_acquired(vec![Acquired { log: MOVED_ON, ..row }], Vec::new());
        push_acquired(Vec::new(), Vec::new());
        for reason in HELD_FOR {
            push_acquired(Vec::new(), self.out_of_order(reason));
        }
        inputs.extend(FAULTS.map(|fault| Input::AcquireFailed { id, from: Dependency::Postgres, fault }));
        inputs.push(Input::OffsetsMoved { id: moving, refused: Vec::new() });
        inputs.push(Input::OffsetsMoved { id: moving, refused: vec![PARTITION] });
        let id = self.facts.ledger_check.as_ref().map_or(NOBODY, |check| check.id);
        inputs.push(Input::LedgerChecked { id, refused: Vec::new(), held: Vec::new() });
        inputs.push(Input::LedgerChecked { id, refused: vec![PARTITION], held: Vec::new() });
        inputs.push(Input::LedgerChecked {
            id,
            refused: Vec::new(),
            held: self.out_of_order(HoldReason::Unwritable),
        });
        let unanswered = FAULTS.into_iter().chain([Fault::Unreachable]);
        inputs.extend(unanswered.map(|fault| Input::LedgerCheckFailed { id, fault }));
    }

    /// With its one row parked.
    pub(super) fn push_acquired_parked(&self, inputs: &mut Vec<Input<()>>) {
        if let Some(acquisition) = self.facts.acquisition.as_ref().filter(|it| it.gaps.is_empty()) {
            let partitions = vec![self.acquired(vec![(WORKER, 1)])];
            inputs.push(Input::Acquired { id: acquisition.id, partitions, held: Vec::new() });
        }
    }

    /// With its table out of order.
    fn out_of_order(&self, reason: HoldReason) -> Vec<Hold> {
        let epoch = self.assignment().map_or(GONE, |assignment| assignment.epoch);
        vec![Hold { partition: PARTITION, epoch, reason, detail: Arc::from("") }]
    }

    fn acquired(&self, parked: Vec<(WorkerId, u64)>) -> Acquired {
        let epoch = self.assignment().map_or(GONE, |assignment| assignment.epoch);
        let log = LogBounds { first: 0, end: 1 };
        Acquired { partition: PARTITION, epoch, ledger: Some(0), group: None, log, end_seen: None, parked }
    }

    pub(super) fn push_records(&self, inputs: &mut Vec<Input<()>>) {
        let record =
            |epoch, offset| Record { partition: PARTITION, epoch, offset, route: 0, bytes: 1, handle: () };
        inputs.push(Input::Records { records: vec![record(GONE, 0)] });
        let Polling::Fetching { asked } = self.facts.polling else { return };
        let Some(assignment) = self.assignment() else { return };
        let next = assignment.window().map_or(0, |window| window.next_offset());
        let records: Vec<_> =
            (next..next + i64::from(asked)).map(|at| record(assignment.epoch, at)).collect();
        inputs.push(Input::Records { records: records[..1].to_vec() });
        inputs.push(Input::Records { records });
    }

    pub(super) fn push_write_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = self.facts.workers.iter().find_map(|worker| match worker.writer {
            Writer::Writing { id, .. } => Some(id),
            Writer::Idle | Writer::BackingOff(_) | Writer::OutOfReach(_) | Writer::Retrying { .. } => None,
        });
        let mut push = |outcome| {
            inputs.push(Input::BatchDone { worker: WORKER, id: id.unwrap_or(NOBODY), outcome });
        };
        let detail: Arc<str> = Arc::from("");
        let rejected =
            Rejected { index: 0, reason: Reject::TypeConflict, sqlstate: None, detail: Arc::clone(&detail) };
        push(WriteOutcome::Written { rejected: Vec::new(), parked: Vec::new() });
        push(WriteOutcome::Written { rejected: vec![rejected], parked: Vec::new() });
        if self.facts.workers.iter().any(writes_parking) {
            push(WriteOutcome::Written { rejected: Vec::new(), parked: vec![parked(1)] });
        }
        push(WriteOutcome::Refused { partitions: vec![PARTITION] });
        push(WriteOutcome::Held { holds: self.out_of_order(HoldReason::Unwritable) });
        let unwritten = [Fault::Transient, Fault::Unreachable, Fault::RetryNow, Fault::Poison, Fault::Auth];
        for fault in unwritten.into_iter().chain([Fault::Fatal]) {
            let detail = Arc::clone(&detail);
            push(WriteOutcome::Failed { fault, reason: Reject::Database, sqlstate: None, detail });
        }
        let reason = Reject::UniqueViolation;
        push(WriteOutcome::Failed { fault: Fault::Blocked, reason, sqlstate: None, detail });
    }

    pub(super) fn push_retry_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = self.facts.workers.iter().find_map(|worker| match worker.writer {
            Writer::Retrying { id, .. } => Some(id),
            Writer::Idle | Writer::BackingOff(_) | Writer::OutOfReach(_) | Writer::Writing { .. } => None,
        });
        let mut push =
            |outcome| inputs.push(Input::ParkedRetried { worker: WORKER, id: id.unwrap_or(NOBODY), outcome });
        let done = |rows, is_changed, rejected| RetryOutcome::Done {
            parked: vec![parked(rows)],
            is_changed,
            rejected,
        };
        push(done(0, true, Vec::new()));
        push(done(1, false, Vec::new()));
        push(done(1, false, self.rejected_parked()));
        push(RetryOutcome::Refused { partitions: vec![PARTITION] });
        push(RetryOutcome::Held { holds: self.out_of_order(HoldReason::Unwritable) });
        for fault in [Fault::Transient, Fault::Unreachable, Fault::RetryNow, Fault::Auth, Fault::Fatal] {
            push(RetryOutcome::Failed { fault });
        }
    }

    fn rejected_parked(&self) -> Vec<RejectedParked<()>> {
        let epoch = self.assignment().map_or(GONE, |assignment| assignment.epoch);
        let row =
            Row { partition: PARTITION, epoch, seq: SeqNo(0), offset: 0, route: 0, bytes: 0, handle: () };
        let (reason, detail) = (Reject::CheckViolation, Arc::from(""));
        vec![RejectedParked { row, reason, sqlstate: None, detail, attempts: 1 }]
    }

    pub(super) fn push_dead_letter_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = self.facts.dead_letters.in_flight.first().map_or(NOBODY, |(id, _)| *id);
        inputs.push(Input::DeadLettered { id });
        inputs.extend(
            [Fault::Transient, Fault::Auth, Fault::Fatal].map(|fault| Input::DeadLetterFailed { id, fault }),
        );
    }
}
