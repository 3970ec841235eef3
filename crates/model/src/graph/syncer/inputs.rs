//! What may come to a small machine, in each situation.

use std::sync::Arc;

use cdc_machine::{Dependency, EffectId, Epoch, Fault, SeqNo, Signal};
use cdc_syncer::{
    Acquired, CommitFailure, Config, FailedBy, Hold, HoldReason, Input, LedgerCheck, LogBounds,
    OnUniqueViolation, ParkedRows, Parking, Record, Reject, Rejected, RejectedParked, RetryOutcome, Row,
    Taken, TimerKind, WorkerId, WriteOutcome,
};

use super::outstanding::Outstanding;
use super::{PARTITION, Small, TOPIC, WORKER};
use crate::graph::asked::id_of;

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

impl Small {
    /// Late and doubled ones among them.
    pub(super) fn plausible_inputs(&self, config: &Config) -> Vec<Input<()>> {
        let mut inputs = vec![Input::Start, Input::Signal(Signal::Drain), Input::Signal(Signal::Abort)];
        self.push_timers(&mut inputs);
        self.push_connection_replies(&mut inputs);
        self.push_group_events(&mut inputs);
        if config.on_unique_violation == OnUniqueViolation::Park {
            self.push_acquired_parked(&mut inputs);
        }
        self.push_records(&mut inputs);
        self.push_write_replies(&mut inputs);
        self.push_retry_replies(&mut inputs);
        self.push_dead_letter_replies(&mut inputs);
        let id = id_of(self.outstanding.commit);
        inputs.push(Input::OffsetsCommitted { id, result: Ok(()) });
        for fault in [Fault::Transient, Fault::Fenced, Fault::Auth, Fault::Fatal] {
            inputs.push(Input::OffsetsCommitted {
                id,
                result: Err(CommitFailure { from: Dependency::Kafka, fault, refused: Vec::new() }),
            });
        }
        let from = Dependency::Postgres;
        inputs.push(Input::OffsetsCommitted {
            id,
            result: Err(CommitFailure { from, fault: Fault::Fenced, refused: vec![PARTITION] }),
        });
        inputs
    }

    fn push_timers(&self, inputs: &mut Vec<Input<()>>) {
        let timers = &self.outstanding.timers;
        inputs.extend(TimerKind::all(WORKER.0).map(|kind| Input::Timer(timers.expiry(kind))));
    }

    fn push_connection_replies(&self, inputs: &mut Vec<Input<()>>) {
        let (database, group) = (id_of(self.outstanding.database), id_of(self.outstanding.group));
        inputs.push(Input::DatabaseConnected { id: database, result: Ok(()) });
        inputs.push(Input::GroupJoined { id: group, result: Ok(()) });
        inputs.push(Input::GroupLeft { id: id_of(self.outstanding.leaving), result: () });
        for fault in FAULTS {
            inputs.push(Input::DatabaseConnected { id: database, result: Err(fault) });
            inputs.push(Input::GroupJoined { id: group, result: Err(fault) });
            inputs.push(Input::ConsumerFailed { fault });
        }
    }

    fn push_group_events(&self, inputs: &mut Vec<Input<()>>) {
        // The group gives a partition to whom it does not count as its owner, and asks one answer at a time.
        if self.machine.assignment(PARTITION).is_none() {
            inputs.push(Input::Assigned { partitions: vec![(PARTITION, TOPIC)] });
        }
        if !self.outstanding.is_revoking {
            inputs.push(Input::Revoking { id: EffectId(0), partitions: vec![PARTITION] });
        }
        inputs.push(Input::Lost { partitions: vec![PARTITION] });
        let Outstanding { taking, moving, check, .. } = self.outstanding;
        let (taking, moving) = (id_of(taking), id_of(moving));
        let row = self.acquired(Vec::new());
        let mut push_acquired = |partitions, held| {
            inputs.push(Input::PartitionsAcquired { id: taking, result: Ok(Taken { partitions, held }) });
        };
        push_acquired(vec![row.clone()], Vec::new());
        push_acquired(vec![Acquired { log: MOVED_ON, ..row }], Vec::new());
        push_acquired(Vec::new(), Vec::new());
        for reason in HELD_FOR {
            push_acquired(Vec::new(), self.out_of_order(reason));
        }
        let from = Dependency::Postgres;
        for fault in FAULTS {
            let result = Err(FailedBy { from, fault });
            inputs.push(Input::PartitionsAcquired { id: taking, result });
            inputs.push(Input::OffsetsMoved { id: moving, result: Err(fault) });
        }
        inputs.push(Input::OffsetsMoved { id: moving, result: Ok(Vec::new()) });
        inputs.push(Input::OffsetsMoved { id: moving, result: Ok(vec![PARTITION]) });
        let id = id_of(check);
        inputs.push(Input::LedgerChecked {
            id,
            result: Ok(LedgerCheck { refused: Vec::new(), held: Vec::new() }),
        });
        inputs.push(Input::LedgerChecked {
            id,
            result: Ok(LedgerCheck { refused: vec![PARTITION], held: Vec::new() }),
        });
        inputs.push(Input::LedgerChecked {
            id,
            result: Ok(LedgerCheck { refused: Vec::new(), held: self.out_of_order(HoldReason::Unwritable) }),
        });
        let unanswered = FAULTS.into_iter().chain([Fault::Unreachable]);
        inputs.extend(unanswered.map(|fault| Input::LedgerChecked { id, result: Err(fault) }));
    }

    /// With its one row parked.
    fn push_acquired_parked(&self, inputs: &mut Vec<Input<()>>) {
        if let Some(id) = self.outstanding.taking {
            let partitions = vec![self.acquired(vec![(WORKER, 1)])];
            inputs.push(Input::PartitionsAcquired { id, result: Ok(Taken { partitions, held: Vec::new() }) });
        }
    }

    /// With its table out of order.
    fn out_of_order(&self, reason: HoldReason) -> Vec<Hold> {
        let epoch = self.epoch();
        vec![Hold { partition: PARTITION, epoch, reason, detail: Arc::from("") }]
    }

    /// The present assignment's.
    fn epoch(&self) -> Epoch {
        self.machine.assignment(PARTITION).map_or(GONE, |(epoch, _)| epoch)
    }

    fn acquired(&self, parked: Vec<(WorkerId, u64)>) -> Acquired {
        let epoch = self.epoch();
        let log = LogBounds { first: 0, end: 1 };
        Acquired { partition: PARTITION, epoch, ledger: Some(0), group: None, log, end_seen: None, parked }
    }

    fn push_records(&self, inputs: &mut Vec<Input<()>>) {
        let record =
            |epoch, offset| Record { partition: PARTITION, epoch, offset, route: 0, bytes: 1, handle: () };
        inputs.push(Input::Records { records: vec![record(GONE, 0)] });
        let Some(asked) = self.outstanding.fetch else { return };
        let Some((epoch, next)) = self.machine.assignment(PARTITION) else { return };
        let records: Vec<_> = (next..next + i64::from(asked)).map(|at| record(epoch, at)).collect();
        inputs.push(Input::Records { records: records[..1].to_vec() });
        inputs.push(Input::Records { records });
    }

    fn push_write_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = id_of(self.outstanding.writing.map(|(id, _)| id));
        let mut push = |outcome| {
            inputs.push(Input::BatchWritten { worker: WORKER, id, result: outcome });
        };
        let detail: Arc<str> = Arc::from("");
        let rejected =
            Rejected { index: 0, reason: Reject::TypeConflict, sqlstate: None, detail: Arc::clone(&detail) };
        push(WriteOutcome::Written { rejected: Vec::new(), parked: Vec::new() });
        push(WriteOutcome::Written { rejected: vec![rejected], parked: Vec::new() });
        if self.outstanding.writing.is_some_and(|(_, parking)| parking == Parking::Park) {
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

    fn push_retry_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = id_of(self.outstanding.retrying);
        let mut push = |outcome| inputs.push(Input::ParkedRetried { worker: WORKER, id, result: outcome });
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
        let epoch = self.epoch();
        let row =
            Row { partition: PARTITION, epoch, seq: SeqNo(0), offset: 0, route: 0, bytes: 0, handle: () };
        let (reason, detail) = (Reject::CheckViolation, Arc::from(""));
        vec![RejectedParked { row, reason, sqlstate: None, detail, attempts: 1 }]
    }

    fn push_dead_letter_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = id_of(self.outstanding.dead_letters.first().copied());
        inputs.push(Input::DeadLettered { id, result: Ok(()) });
        inputs.extend(
            [Fault::Transient, Fault::Auth, Fault::Fatal]
                .map(|fault| Input::DeadLettered { id, result: Err(fault) }),
        );
    }
}
