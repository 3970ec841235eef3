//! What may come to a small machine, in each situation: late and doubled ones among them. Replies are made of samples of
//! what they carry, so that a request is answered as soon as it is in the machine's table.

use std::sync::Arc;

use cdc_machine::{Dependency, EffectId, Epoch, Fault, Sampled, SeqNo, Signal};
use cdc_syncer::{
    Acquired, CommitFailure, Config, FailedBy, Hold, HoldReason, Input, LedgerCheck, LogBounds,
    OnUniqueViolation, ParkedRows, Partition, Record, Reject, Rejected, RejectedParked, RetryOutcome, Row,
    Taken, TimerKind, WriteOutcome,
};

use super::{PARTITION, Small, TOPIC, WORKER};

/// An assignment that never was.
pub(super) const GONE: Epoch = Epoch(u64::MAX);

/// What any neighbour may say.
const FAULTS: [Fault; 5] = [Fault::Transient, Fault::Unreachable, Fault::Fenced, Fault::Auth, Fault::Fatal];

/// One that a person has to mend, and one that time does.
const HELD_FOR: [HoldReason; 2] = [HoldReason::Unwritable, HoldReason::Locked];

/// A log that has moved on behind the ledger's offset.
pub(super) const MOVED_ON: LogBounds = LogBounds { first: 5, end: 9 };

/// A small machine under its policies: the world that the samples are of.
pub(super) struct Situation<'a> {
    pub(super) small: &'a Small,
    pub(super) config: &'a Config,
}

impl Situation<'_> {
    pub(super) fn inputs(&self) -> Vec<Input<()>> {
        let outstanding = &self.small.outstanding;
        let mut inputs = vec![Input::Start, Input::Signal(Signal::Drain), Input::Signal(Signal::Abort)];
        inputs.extend(TimerKind::all(WORKER.0).map(|kind| Input::Timer(outstanding.timers.expiry(kind))));
        for request in outstanding.requests.oldest() {
            request.replies(self, |reply| inputs.push(reply));
        }
        Input::unasked(self, |request, reply| {
            if !outstanding.requests.is_out(request) {
                inputs.push(reply);
            }
        });
        self.push_group_events(&mut inputs);
        self.push_records(&mut inputs);
        inputs
    }

    fn push_group_events(&self, inputs: &mut Vec<Input<()>>) {
        inputs.extend(FAULTS.map(|fault| Input::ConsumerFailed { fault }));
        // The group gives a partition to whom it does not count as its owner, and asks one answer at a time.
        if self.small.machine.assignment(PARTITION).is_none() {
            inputs.push(Input::Assigned { partitions: vec![(PARTITION, TOPIC)] });
        }
        if !self.small.outstanding.is_revoking {
            inputs.push(Input::Revoking { id: EffectId(0), partitions: vec![PARTITION] });
        }
        inputs.push(Input::Lost { partitions: vec![PARTITION] });
    }

    fn push_records(&self, inputs: &mut Vec<Input<()>>) {
        let record =
            |epoch, offset| Record { partition: PARTITION, epoch, offset, route: 0, bytes: 1, handle: () };
        inputs.push(Input::Records { records: vec![record(GONE, 0)] });
        let Some(asked) = self.small.outstanding.fetch else { return };
        let Some((epoch, next)) = self.small.machine.assignment(PARTITION) else { return };
        let records: Vec<_> = (next..next + i64::from(asked)).map(|at| record(epoch, at)).collect();
        inputs.push(Input::Records { records: records[..1].to_vec() });
        inputs.push(Input::Records { records });
    }

    /// With its table out of order.
    fn out_of_order(&self, reason: HoldReason) -> Vec<Hold> {
        vec![Hold { partition: PARTITION, epoch: self.epoch(), reason, detail: Arc::from("") }]
    }

    /// The present assignment's.
    fn epoch(&self) -> Epoch {
        self.small.machine.assignment(PARTITION).map_or(GONE, |(epoch, _)| epoch)
    }
}

impl Sampled<Situation<'_>> for Fault {
    fn samples(_: &Situation<'_>) -> Vec<Self> {
        FAULTS.to_vec()
    }
}

impl Sampled<Situation<'_>> for Partition {
    fn samples(_: &Situation<'_>) -> Vec<Self> {
        vec![PARTITION]
    }
}

impl Sampled<Situation<'_>> for Taken {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let acquired = |log, parked| {
            let (partition, epoch) = (PARTITION, situation.epoch());
            let row =
                Acquired { partition, epoch, ledger: Some(0), group: None, log, end_seen: None, parked };
            Self { partitions: vec![row], held: Vec::new() }
        };
        let log = LogBounds { first: 0, end: 1 };
        let mut samples = vec![acquired(log, Vec::new()), acquired(MOVED_ON, Vec::new())];
        samples.push(Self { partitions: Vec::new(), held: Vec::new() });
        let held = |reason| Self { partitions: Vec::new(), held: situation.out_of_order(reason) };
        samples.extend(HELD_FOR.map(held));
        if situation.config.on_unique_violation == OnUniqueViolation::Park {
            samples.push(acquired(log, vec![(WORKER, 1)]));
        }
        samples
    }
}

impl Sampled<Situation<'_>> for FailedBy {
    fn samples(_: &Situation<'_>) -> Vec<Self> {
        FAULTS.map(|fault| Self { from: Dependency::Postgres, fault }).to_vec()
    }
}

impl Sampled<Situation<'_>> for LedgerCheck {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let held = situation.out_of_order(HoldReason::Unwritable);
        vec![
            Self::default(),
            Self { refused: vec![PARTITION], held: Vec::new() },
            Self { refused: Vec::new(), held },
        ]
    }
}

impl Sampled<Situation<'_>> for CommitFailure {
    fn samples(_: &Situation<'_>) -> Vec<Self> {
        let by_kafka = |fault| Self { from: Dependency::Kafka, fault, refused: Vec::new() };
        let refused = vec![PARTITION];
        let refused = Self { from: Dependency::Postgres, fault: Fault::Fenced, refused };
        FAULTS.map(by_kafka).into_iter().chain([refused]).collect()
    }
}

const fn parked(rows: u64) -> ParkedRows {
    ParkedRows { partition: PARTITION, rows }
}

impl Sampled<Situation<'_>> for WriteOutcome {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let detail: Arc<str> = Arc::from("");
        let rejected =
            Rejected { index: 0, reason: Reject::TypeConflict, sqlstate: None, detail: Arc::clone(&detail) };
        let written = |rejected, parked| Self::Written { rejected, parked };
        let mut samples = vec![written(Vec::new(), Vec::new()), written(vec![rejected], Vec::new())];
        if situation.small.outstanding.may_park() {
            samples.push(written(Vec::new(), vec![parked(1)]));
        }
        samples.push(Self::Refused { partitions: vec![PARTITION] });
        samples.push(Self::Held { holds: situation.out_of_order(HoldReason::Unwritable) });
        let unwritten =
            [Fault::Transient, Fault::Unreachable, Fault::RetryNow, Fault::Poison, Fault::Blocked];
        samples.extend(unwritten.into_iter().chain([Fault::Auth, Fault::Fatal]).map(|fault| {
            let reason = if fault == Fault::Blocked { Reject::UniqueViolation } else { Reject::Database };
            Self::Failed { fault, reason, sqlstate: None, detail: Arc::clone(&detail) }
        }));
        samples
    }
}

impl Sampled<Situation<'_>> for RetryOutcome<()> {
    fn samples(situation: &Situation<'_>) -> Vec<Self> {
        let (partition, epoch) = (PARTITION, situation.epoch());
        let row = Row { partition, epoch, seq: SeqNo(0), offset: 0, route: 0, bytes: 0, handle: () };
        let (reason, detail) = (Reject::CheckViolation, Arc::from(""));
        let rejected = RejectedParked { row, reason, sqlstate: None, detail, attempts: 1 };
        let done =
            |rows, is_changed, rejected| Self::Done { parked: vec![parked(rows)], is_changed, rejected };
        let failed = [Fault::Transient, Fault::Unreachable, Fault::RetryNow, Fault::Auth, Fault::Fatal];
        [
            done(0, true, Vec::new()),
            done(1, false, Vec::new()),
            done(1, false, vec![rejected]),
            Self::Refused { partitions: vec![PARTITION] },
            Self::Held { holds: situation.out_of_order(HoldReason::Unwritable) },
        ]
        .into_iter()
        .chain(failed.map(|fault| Self::Failed { fault }))
        .collect()
    }
}
