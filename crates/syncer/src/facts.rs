use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use cdc_machine::{Backoff, EffectId, Epoch};

use crate::breakers::Breakers;
use crate::hold::Holds;
use crate::outage::Outage;
use crate::parked::Parked;
use crate::partitions::Partitions;
use crate::timers::Timers;
use crate::worker::Worker;
use crate::{Config, OffsetCommit, OffsetGap, Partition, Reject, Row, SqlState, WorkerId};

/// Everything that the Syncer knows besides what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Facts<R> {
    pub(crate) partitions: Partitions,
    pub(crate) workers: Vec<Worker<R>>,
    pub(crate) polling: Polling,
    /// The look at the ledger that is under way.
    pub(crate) acquisition: Option<Acquisition>,
    /// The question to the ledger that is under way.
    pub(crate) ledger_check: Option<LedgerCheck>,
    /// The commit that is under way.
    pub(crate) commit: Option<CommitInFlight>,
    pub(crate) dead_letters: DeadLetters<R>,
    pub(crate) breakers: Breakers,
    pub(crate) parked: Parked,
    pub(crate) outage: Outage,
    pub(crate) holds: Holds,
    /// Usually one at most: the group asks again only once it has its answer.
    pub(crate) revocations: Vec<Revocation>,
    pub(crate) timers: Timers,
    pub(crate) retries: RetriesUsed,
    pub(crate) ignored: Ignored,
    next_id: EffectId,
    next_epoch: Epoch,
}

/// How it stands with fetching. Variants exclude each other: a paused consumer owes no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Polling {
    /// Nothing asked for, nothing to wait for.
    Idle,
    /// One fetch is outstanding, which keeps the consumer polling.
    Fetching { asked: u32 },
    /// No room; the pause timer runs.
    Stalled,
    /// No room for long, or a drain: the partitions are paused.
    Paused,
}

/// Partitions on their way to being served.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Acquisition {
    pub(crate) id: EffectId,
    /// The gaps that are being recorded; none while the rows are being taken.
    pub(crate) gaps: Vec<OffsetGap>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LedgerCheck {
    pub(crate) id: EffectId,
    pub(crate) partitions: Vec<(Partition, Epoch)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CommitInFlight {
    pub(crate) id: EffectId,
    pub(crate) offsets: Vec<OffsetCommit>,
}

/// Records to be put aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DeadLetters<R> {
    pub(crate) waiting: VecDeque<BadRow<R>>,
    pub(crate) in_flight: Vec<(EffectId, BadRow<R>)>,
}

/// What is done with a bad row once it is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// It was read: its slot settles.
    Read,
    /// It was parked by this worker, and settled then: its entry is given up.
    Parked(WorkerId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BadRow<R> {
    pub(crate) origin: Origin,
    pub(crate) row: Row<R>,
    pub(crate) reason: Reject,
    pub(crate) sqlstate: Option<SqlState>,
    pub(crate) detail: Arc<str>,
    pub(crate) attempts: u32,
}

/// What the group wants back, by assignment: what it gives again meanwhile is not meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Revocation {
    pub(crate) id: EffectId,
    pub(crate) partitions: Vec<(Partition, Epoch)>,
}

/// Retries used since the last progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct RetriesUsed {
    pub(crate) database: Backoff,
    pub(crate) group: Backoff,
    pub(crate) acquire: Backoff,
    pub(crate) commit: Backoff,
    pub(crate) dead_letter: Backoff,
}

/// Inputs and records that changed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ignored {
    /// Answers to what is gone.
    pub(crate) stale: u64,
    /// Inputs that nothing asked for.
    pub(crate) unexpected: u64,
    /// Records of an assignment that is gone or going.
    pub(crate) records: u64,
}

impl<R: Clone> Facts<R> {
    pub(crate) fn new(config: &Config) -> Self {
        let workers = config.workers();
        Self {
            partitions: Partitions::default(),
            workers: (0..workers).map(|_| Worker::new()).collect(),
            polling: Polling::Idle,
            acquisition: None,
            ledger_check: None,
            commit: None,
            dead_letters: DeadLetters { waiting: VecDeque::new(), in_flight: Vec::new() },
            breakers: Breakers::default(),
            parked: Parked::default(),
            outage: Outage::default(),
            holds: Holds::default(),
            revocations: Vec::new(),
            timers: Timers::new(workers),
            retries: RetriesUsed::default(),
            ignored: Ignored::default(),
            next_id: EffectId::default(),
            next_epoch: Epoch::default(),
        }
    }

    pub(crate) const fn new_id(&mut self) -> EffectId {
        let id = self.next_id;
        self.next_id = EffectId(id.0 + 1);
        id
    }

    /// The number that the next request gets.
    pub(crate) const fn next_id(&self) -> EffectId {
        self.next_id
    }

    pub(crate) const fn new_epoch(&mut self) -> Epoch {
        let epoch = self.next_epoch;
        self.next_epoch = Epoch(epoch.0 + 1);
        epoch
    }

    pub(crate) fn bad_rows(&self) -> impl Iterator<Item = &BadRow<R>> {
        self.dead_letters.in_flight.iter().map(|(_, bad)| bad).chain(&self.dead_letters.waiting)
    }

    /// True where a parked row is on its way to the dead letters.
    pub(crate) fn is_put_aside(&self, row: &Row<R>) -> bool {
        self.bad_rows().any(|bad| {
            bad.origin != Origin::Read
                && (bad.row.partition, bad.row.epoch, bad.row.offset)
                    == (row.partition, row.epoch, row.offset)
        })
    }

    /// How many parked rows are.
    pub(crate) fn parked_put_aside(&self) -> usize {
        self.bad_rows().filter(|bad| bad.origin != Origin::Read).count()
    }

    /// Counts an input that changed nothing: late where it answers what once was, else unexpected.
    pub(crate) const fn ignore(&mut self, was_asked: bool) {
        if was_asked {
            self.ignored.stale += 1;
        } else {
            self.ignored.unexpected += 1;
        }
    }

    pub(crate) const fn ignore_reply(&mut self, id: EffectId) {
        self.ignore(id.0 < self.next_id.0);
    }

    /// Removes what waits for assignments that are gone. What is being written settles nothing any more.
    pub(crate) fn drop_stale_rows(&mut self) {
        let partitions = &self.partitions;
        for worker in &mut self.workers {
            worker.retain_waiting(|row| partitions.is_live(row));
        }
        self.dead_letters.waiting.retain(|bad| partitions.is_live(&bad.row));
    }
}
