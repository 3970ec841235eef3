//! A world of plain lists: partition logs, the ledger, the group's offsets, what is durable. It answers the
//! machine's orders in any order and with any outcome, and checks each order as it is given.

mod fair;
mod moves;
mod orders;

use std::collections::{BTreeMap, BTreeSet};

use cdc_machine::{Cause, EffectId, Effects, Epoch, Machine, StateName, TimerId};
use cdc_syncer::{
    Batch, Config, Effect, Input, OffsetCommit, Partition, Record, Row, Syncer, TimerKind, WorkerId,
};

pub use moves::{Move, Outcome};

/// Partitions of the topic.
pub const PARTITIONS: u32 = 3;

/// The largest record, in bytes.
pub const RECORD_BYTES_MAX: u32 = 12;

/// A record of a log. Equal keys have equal routes and stand in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub partition: u32,
    pub offset: i64,
    pub key: u8,
    pub bytes: u32,
}

/// What became of a polled record, within one assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
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
pub struct Assigned {
    pub epoch: Epoch,
    /// The next log index to poll.
    pub next: usize,
    pub polled: BTreeMap<i64, (Message, Fate)>,
}

/// A revocation that waits for its confirmation.
#[derive(Clone, Debug)]
pub struct Revoking {
    pub id: EffectId,
    pub partitions: Vec<Partition>,
    pub is_overdue: bool,
}

/// Orders that are to be answered.
#[derive(Debug, Default)]
pub struct Pending {
    pub connect: Option<EffectId>,
    pub join: Option<EffectId>,
    pub leave: Option<EffectId>,
    pub acquire: Option<(EffectId, Vec<(Partition, Epoch)>)>,
    pub fetch: Option<(u32, u64)>,
    pub writes: Vec<(WorkerId, EffectId, Batch<Message>)>,
    pub dead_letters: Vec<(EffectId, Row<Message>)>,
    pub commit: Option<(EffectId, Vec<OffsetCommit>)>,
    pub timers: Vec<TimerId<TimerKind>>,
    pub revoking: Option<Revoking>,
}

pub struct World {
    pub machine: Syncer<Message>,
    pub config: Config,
    pub out: Effects<Effect<Message>>,
    pub pending: Pending,

    // What outlives the process.
    pub logs: Vec<Vec<Message>>,
    pub ledger: BTreeMap<Partition, i64>,
    pub group: BTreeMap<Partition, i64>,
    /// Written, dead-lettered or skipped, ever.
    pub durable: BTreeSet<(u32, i64)>,

    // The consumer.
    pub is_member: bool,
    pub is_paused: bool,
    /// What the group counts as ours.
    pub owned: BTreeSet<Partition>,
    pub assigned: BTreeMap<Partition, Assigned>,
    pub revocations: u64,

    pub stops: Vec<Cause>,
    /// Workers that have been given a batch.
    pub workers_used: BTreeSet<WorkerId>,
}

impl World {
    pub fn new(config: Config) -> Self {
        let mut world = Self {
            machine: Syncer::new(&config),
            config,
            out: Effects::new(),
            pending: Pending::default(),
            logs: vec![Vec::new(); PARTITIONS as usize],
            ledger: BTreeMap::new(),
            group: BTreeMap::new(),
            durable: BTreeSet::new(),
            is_member: false,
            is_paused: false,
            owned: BTreeSet::new(),
            assigned: BTreeMap::new(),
            revocations: 0,
            stops: Vec::new(),
            workers_used: BTreeSet::new(),
        };
        world.step(Input::Start);
        world
    }

    /// One step of the machine, and everything that must hold after it.
    pub fn step(&mut self, input: Input<Message>) {
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
        if self.machine.state() == StateName::Stopped {
            assert!(matches!(self.stops.last(), Some(cause) if !matches!(cause, Cause::Invariant(_))));
        }
    }

    /// The process ends; a new one begins with what is durable.
    pub fn restart(&mut self) {
        self.pending = Pending::default();
        self.leave_group();
        self.machine = Syncer::new(&self.config);
        self.step(Input::Start);
    }

    pub fn leave_group(&mut self) {
        self.is_member = false;
        self.is_paused = false;
        self.owned.clear();
        self.assigned.clear();
        self.pending.revoking = None;
        self.pending.fetch = None;
    }

    pub fn is_stopped(&self) -> bool {
        self.machine.state() == StateName::Stopped
    }

    pub fn is_draining(&self) -> bool {
        self.machine.state() == StateName::Draining
    }

    /// Takes a running timer of this kind; its expiry is the next input.
    pub fn expire(&mut self, kind: impl Fn(TimerKind) -> bool) -> bool {
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
    pub fn poll(&mut self, at_most: u32) -> bool {
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
                    route: u64::from(message.key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32,
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

    pub fn fate_mut(&mut self, row: &Row<Message>) -> Option<&mut Fate> {
        let assigned =
            self.assigned.get_mut(&row.partition).filter(|assigned| assigned.epoch == row.epoch)?;
        assigned.polled.get_mut(&row.offset).map(|(_, fate)| fate)
    }
}
