//! A world of plain lists: partition logs, the ledger, the group's offsets, what is durable. It answers the
//! machine's orders in any order and with any outcome, and checks each order as it is given.

mod database;
pub(crate) mod drawn;
mod fair;
mod moves;
mod names;
mod orders;
mod plain;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use cdc_machine::{Cause, EffectId, Effects, Epoch, Machine, StateName, TimerId};
use cdc_syncer::{
    Batch, Config, Effect, Input, LogBounds, OffsetCommit, OffsetGap, OnTableError, Parking, Partition,
    Record, Row, StopAfter, Syncer, TimerKind, WorkerId,
};

use database::Database;
use names::Source;

pub(crate) use moves::{Move, Outcome};
pub(crate) use names::Naming;

/// Partitions of the topic.
pub(crate) const PARTITIONS: u32 = 3;

/// The largest record, in bytes.
pub(crate) const RECORD_BYTES_MAX: u32 = 12;

/// A record of a log. Equal keys have equal routes and stand in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) partition: u32,
    pub(crate) offset: i64,
    pub(crate) key: u8,
    pub(crate) bytes: u32,
    /// Rises over all messages.
    pub(crate) position: u64,
    /// The document's unique name; none where it is deleted.
    pub(crate) name: Option<u16>,
}

/// The hash of a key: that of an ObjectId, of those that one process makes one after the other.
pub(crate) fn route(key: u8) -> u64 {
    cdc_event::route(format!("{{\"$oid\":\"507f1f77bcf86cd7994390{key:02x}\"}}").as_bytes())
}

/// What became of a polled record, within one assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Polled, in the machine's hands.
    Waiting,
    Writing(WorkerId),
    /// Refused for what it is; the policy decides.
    Rejected,
    /// Written, put aside or given up.
    Done,
}

/// One assignment of one partition, as the world sees it.
#[derive(Clone, Debug)]
pub(crate) struct Assigned {
    pub(crate) epoch: Epoch,
    /// The next log index to poll.
    pub(crate) next: usize,
    pub(crate) polled: BTreeMap<i64, (Message, Fate)>,
}

/// A revocation that waits for its confirmation.
#[derive(Clone, Debug)]
pub(crate) struct Revoking {
    pub(crate) id: EffectId,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) is_overdue: bool,
}

/// Orders that are to be answered.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Those that need nothing of the world.
    pub(crate) plain: Vec<Effect<Message>>,
    pub(crate) join: Option<EffectId>,
    pub(crate) leave: Option<EffectId>,
    pub(crate) acquire: Option<(EffectId, Vec<(Partition, Epoch)>)>,
    pub(crate) moving: Option<(EffectId, Vec<OffsetGap>)>,
    pub(crate) check: Option<(EffectId, Vec<(Partition, Epoch)>)>,
    pub(crate) fetch: Option<(u32, u64)>,
    pub(crate) writes: Vec<Write>,
    pub(crate) retries: Vec<Retry>,
    pub(crate) dead_letters: Vec<(EffectId, Row<Message>)>,
    pub(crate) commit: Option<(EffectId, Vec<OffsetCommit>)>,
    pub(crate) timers: Vec<TimerId<TimerKind>>,
    pub(crate) revoking: Option<Revoking>,
}

/// The ledger, what is settled, and the tables.
pub(crate) type Copied = (BTreeMap<Partition, i64>, BTreeSet<(u32, i64)>, Database);

/// A retry of parked rows in flight.
#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) worker: WorkerId,
    pub(crate) id: EffectId,
    pub(crate) partitions: Vec<(Partition, Epoch)>,
}

/// A batch in flight.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) worker: WorkerId,
    pub(crate) id: EffectId,
    pub(crate) batch: Batch<Message>,
    pub(crate) parking: Parking,
}

pub(crate) struct World {
    pub(crate) machine: Syncer<Message>,
    pub(crate) config: Config,
    pub(crate) out: Effects<Effect<Message>>,
    pub(crate) pending: Pending,

    // What outlives the process.
    pub(crate) logs: Vec<Vec<Message>>,
    pub(crate) ledger: BTreeMap<Partition, i64>,
    pub(crate) group: BTreeMap<Partition, i64>,
    pub(crate) source: Source,
    pub(crate) database: Database,
    /// Whether every record can be written, so that the table equals the source in the end.
    pub(crate) is_faultless: bool,
    /// Written, parked, dead-lettered or skipped, ever.
    pub(crate) durable: BTreeSet<(u32, i64)>,
    /// The first offset that each log keeps.
    pub(crate) first: Vec<i64>,
    /// A copy of the database, to be restored: the ledger and the rows.
    pub(crate) backup: Option<Copied>,
    /// Assignments whose row in the ledger a restored copy has taken away.
    pub(crate) disowned: BTreeSet<(Partition, Epoch)>,

    // The consumer.
    pub(crate) is_member: bool,
    pub(crate) is_paused: bool,
    /// What the group counts as ours.
    pub(crate) owned: BTreeSet<Partition>,
    pub(crate) assigned: BTreeMap<Partition, Assigned>,
    pub(crate) revocations: u64,

    pub(crate) stops: Vec<Cause>,
    /// What this process has settled, in order: true for what goes to the dead letters.
    pub(crate) verdicts: Vec<bool>,
    /// By this list there are too many of those.
    pub(crate) must_trip: bool,
    /// Workers that have been given a batch.
    pub(crate) workers_used: BTreeSet<WorkerId>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let database = Database::new(config.pool_size.max(1));
        let mut world = Self {
            machine: Syncer::new(&config),
            config,
            out: Effects::new(),
            pending: Pending::default(),
            logs: vec![Vec::new(); PARTITIONS as usize],
            ledger: BTreeMap::new(),
            group: BTreeMap::new(),
            source: Source::default(),
            database,
            is_faultless: false,
            durable: BTreeSet::new(),
            first: vec![0; PARTITIONS as usize],
            backup: None,
            disowned: BTreeSet::new(),
            is_member: false,
            is_paused: false,
            owned: BTreeSet::new(),
            assigned: BTreeMap::new(),
            revocations: 0,
            stops: Vec::new(),
            verdicts: Vec::new(),
            must_trip: false,
            workers_used: BTreeSet::new(),
        };
        world.step(Input::Start);
        world
    }

    /// A world in which every record can be written, if not at once.
    pub(crate) fn faultless(config: Config) -> Self {
        Self { is_faultless: true, ..Self::new(config) }
    }

    /// One step of the machine, and everything that must hold after it.
    pub(crate) fn step(&mut self, input: Input<Message>) {
        let was_stopped = self.machine.state() == StateName::Stopped;
        self.machine.step(&self.config, input, &mut self.out);
        let mut out = std::mem::take(&mut self.out);
        assert!(!was_stopped || out.is_empty(), "a stopped machine ordered something");
        for effect in out.drain() {
            self.order(effect);
        }
        self.out = out;
        assert_eq!(self.machine.check_invariants(&self.config), Ok(()));
        assert_eq!(self.machine.unexpected_inputs(), 0, "the world only answers what was ordered");
        assert!(
            self.machine.buffered_bytes() <= self.config.max_buffered_bytes + u64::from(RECORD_BYTES_MAX),
            "bytes from poll to commit are bounded"
        );
        let has_tripped =
            was_stopped || self.stops.last() == Some(&Cause::TooManyBadRecords) && self.is_stopped();
        assert!(was_stopped || has_tripped == self.must_trip, "{:?}", self.verdicts);
        if self.machine.state() == StateName::Stopped {
            assert!(matches!(self.stops.last(), Some(cause) if !matches!(cause, Cause::Invariant(_))));
        }
    }

    /// The process ends; a new one begins with what is durable.
    pub(crate) fn restart(&mut self) {
        self.pending = Pending::default();
        self.leave_group();
        self.machine = Syncer::new(&self.config);
        self.disowned.clear();
        self.verdicts.clear();
        self.must_trip = false;
        self.step(Input::Start);
    }

    pub(crate) fn leave_group(&mut self) {
        self.is_member = false;
        self.is_paused = false;
        self.owned.clear();
        self.assigned.clear();
        self.pending.revoking = None;
        self.pending.fetch = None;
    }

    pub(crate) fn bounds(&self, partition: Partition) -> LogBounds {
        let at = partition.0 as usize;
        let first = self.first[at];
        LogBounds { first, end: self.logs[at].last().map_or(first, |last| last.offset + 1) }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.machine.state() == StateName::Stopped
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.machine.state() == StateName::Draining
    }

    /// Takes a running timer of this kind; its expiry is the next input.
    pub(crate) fn expire(&mut self, kind: impl Fn(TimerKind) -> bool) -> bool {
        let Some(at) = self.pending.timers.iter().position(|timer| kind(timer.kind)) else { return false };
        let timer = self.pending.timers.remove(at);
        if timer.kind == TimerKind::Revocation
            && let Some(revoking) = &mut self.pending.revoking
        {
            revoking.is_overdue = true;
        }
        self.step(Input::Timer(timer));
        true
    }

    /// What a fetch brings now: at most what it asked for, at least one record.
    pub(crate) fn poll(&mut self, at_most: u32) -> bool {
        let Some((max_records, max_bytes)) = self.pending.fetch else { return false };
        let mut records = Vec::new();
        let mut bytes = 0;
        for (partition, assigned) in &mut self.assigned {
            if self.is_paused || !self.owned.contains(partition) {
                continue;
            }
            let log = &self.logs[partition.0 as usize];
            while let Some(message) = log.get(assigned.next) {
                let is_too_much = bytes + u64::from(message.bytes) > max_bytes && !records.is_empty();
                if records.len() >= max_records.min(at_most.max(1)) as usize || is_too_much {
                    break;
                }
                assigned.next += 1;
                bytes += u64::from(message.bytes);
                // The machine accepts nothing more of what is being revoked.
                if !self.pending.revoking.as_ref().is_some_and(|r| r.partitions.contains(partition)) {
                    assigned.polled.insert(message.offset, (*message, Fate::Waiting));
                }
                records.push(Record {
                    partition: *partition,
                    epoch: assigned.epoch,
                    offset: message.offset,
                    route: route(message.key),
                    bytes: message.bytes,
                    handle: *message,
                });
            }
        }
        if records.is_empty() {
            return false;
        }
        self.pending.fetch = None;
        self.step(Input::Records { records });
        true
    }

    /// A row settles as the breaker sees it, where it ends the service.
    pub(crate) fn note(&mut self, row: &Row<Message>, is_bad: bool) {
        let stops = self.config.on_table_error == OnTableError::Stop;
        if !stops || self.must_trip || self.fate_mut(row).is_none() {
            return;
        }
        self.verdicts.push(is_bad);
        let StopAfter { share, window, at_least } = self.config.stop_after;
        let last = &self.verdicts[self.verdicts.len().saturating_sub(window as usize)..];
        let bad = last.iter().filter(|is_bad| **is_bad).count() as u64;
        let is_more = bad * u64::from(StopAfter::WHOLE) > last.len() as u64 * u64::from(share);
        self.must_trip = is_bad && bad >= u64::from(at_least) && is_more;
    }

    pub(crate) fn fate_mut(&mut self, row: &Row<Message>) -> Option<&mut Fate> {
        let assigned =
            self.assigned.get_mut(&row.partition).filter(|assigned| assigned.epoch == row.epoch)?;
        assigned.polled.get_mut(&row.offset).map(|(_, fate)| fate)
    }
}
