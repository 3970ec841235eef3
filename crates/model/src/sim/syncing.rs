//! A process with a Syncer in it: what the machine has asked, and what its clients hold.

use std::time::Duration;

use cdc_machine::{EffectId, Epoch, StateName};
use cdc_syncer::{
    CommitFailure, Config, Effect, FetchStart, Input, LedgerCheck, OffsetCommit, OffsetGap, Partition,
    RetryOutcome, Row, StartOffset, Syncer, TimerKind, WriteOutcome,
};

use super::message::{Message, PARTITIONS};
use super::postgres::{Claims, Transaction, Work};
use super::store::Life;
use super::timers::Alarms;

/// An order of the Syncer's.
pub type Order = Effect<Message>;

/// A revocation that waits for its confirmation.
#[derive(Clone, Debug, Hash)]
pub struct Revoking {
    /// Its number.
    pub id: EffectId,
    /// What the group wants back.
    pub set: u8,
    /// Its deadline is over.
    pub is_overdue: bool,
}

/// What an order asks of the world, beyond the process.
#[derive(Debug)]
pub enum Asks {
    /// A transaction begins.
    Begin(Box<Transaction>),
    /// The group may have these back.
    Confirm(Revoking),
    /// A record is given up by policy.
    Skip(Row<Message>),
}

/// The process.
#[derive(Clone, Debug, Hash)]
pub struct Syncing {
    /// Which process this is, for ever.
    pub life: Life,
    /// It hears nothing and does nothing.
    pub is_frozen: bool,
    /// The machine.
    pub machine: Syncer<Message>,
    /// Its timers.
    pub alarms: Alarms<TimerKind>,
    /// The database.
    pub connect: Option<EffectId>,
    /// The group.
    pub join: Option<EffectId>,
    /// The same, on the way out.
    pub leave: Option<EffectId>,
    /// Rows of the ledger.
    pub acquire: Option<(EffectId, Vec<(Partition, Epoch)>)>,
    /// Gaps.
    pub moving: Option<(EffectId, Vec<OffsetGap>)>,
    /// A question to the ledger.
    pub check: Option<(EffectId, Vec<(Partition, Epoch)>)>,
    /// A fetch.
    pub fetch: Option<(u32, u64)>,
    /// Dead letters.
    pub dead_letters: Vec<(EffectId, Row<Message>)>,
    /// A commit.
    pub commit: Option<(EffectId, Vec<OffsetCommit>)>,
    /// Nothing is fetched.
    pub is_paused: bool,
    /// Where each partition is read next, for which assignment.
    pub fetching: [Option<(Epoch, StartOffset)>; PARTITIONS],
    /// Behind the last record of each partition that the machine got under its present assignment.
    pub polled: [i64; PARTITIONS],
    /// Partitions that it was told are somebody else's, since it began to fetch them: what it has read of them is the
    /// next owner's to write.
    pub refused: [bool; PARTITIONS],
    /// What it knows of the partitions that it has taken.
    pub claims: Claims,
    /// What the group wants back.
    pub revoking: Option<Revoking>,
    /// When a shutdown that was asked for has to be over.
    pub deadline: Option<Duration>,
}

impl Syncing {
    /// A process that waits for its start.
    #[must_use]
    pub fn new(life: Life, config: &Config) -> Self {
        Self {
            life,
            is_frozen: false,
            machine: Syncer::new(config),
            alarms: Alarms::new(),
            connect: None,
            join: None,
            leave: None,
            acquire: None,
            moving: None,
            check: None,
            fetch: None,
            dead_letters: Vec::new(),
            commit: None,
            is_paused: false,
            fetching: [None; PARTITIONS],
            polled: [0; PARTITIONS],
            refused: [false; PARTITIONS],
            claims: [None; PARTITIONS],
            revoking: None,
            deadline: None,
        }
    }

    /// True once it has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.machine.state() == StateName::Stopped
    }

    /// Learns what a reply says of partitions that are not its own any more.
    pub fn hear(&mut self, fact: &Input<Message>) {
        let refused = if let Input::BatchWritten { result: WriteOutcome::Refused { partitions }, .. }
        | Input::ParkedRetried { result: RetryOutcome::Refused { partitions }, .. } = fact
        {
            partitions
        } else if let Input::OffsetsCommitted { result: Err(CommitFailure { refused, .. }), .. }
        | Input::LedgerChecked { result: Ok(LedgerCheck { refused, .. }), .. } = fact
        {
            refused
        } else {
            return;
        };
        refused.iter().for_each(|it| self.refused[it.0 as usize] = true);
    }

    /// The consumer is gone.
    pub fn close_consumer(&mut self) {
        self.fetching = [None; PARTITIONS];
        (self.revoking, self.fetch, self.is_paused) = (None, None, false);
    }

    /// Takes an order; what it asks of others comes back.
    pub fn carry_out(&mut self, order: Order, now: Duration) -> Option<Asks> {
        let life = self.life;
        match order {
            Effect::ConnectDatabase { id } => self.connect = Some(id),
            Effect::JoinGroup { id } => self.join = Some(id),
            Effect::LeaveGroup { id } => self.leave = Some(id),
            Effect::AcquirePartitions { id, partitions } => self.acquire = Some((id, partitions)),
            Effect::MoveOffsets { id, gaps } => self.moving = Some((id, gaps)),
            Effect::CheckLedger { id, partitions } => self.check = Some((id, partitions)),
            Effect::WriteBatch { worker, id, batch, parking } => {
                let work = Work::Write { batch, parking };
                return Some(Asks::Begin(Box::new(Transaction::new(life, worker, id, work))));
            }
            Effect::RetryParked { worker, id, partitions, given_up } => {
                let work = Work::Retry { partitions, given_up };
                return Some(Asks::Begin(Box::new(Transaction::new(life, worker, id, work))));
            }
            Effect::DeadLetter { id, row, .. } => self.dead_letters.push((id, row)),
            Effect::CommitOffsets { id, offsets } => self.commit = Some((id, offsets)),
            Effect::StartFetching { starts } => {
                for FetchStart { partition, epoch, offset } in starts {
                    self.fetching[partition.0 as usize] = Some((epoch, offset));
                    self.polled[partition.0 as usize] = 0;
                    self.refused[partition.0 as usize] = false;
                }
            }
            Effect::StopFetching { partitions } => {
                partitions.iter().for_each(|it| self.fetching[it.0 as usize] = None);
            }
            Effect::Fetch { max_records, max_bytes } => self.fetch = Some((max_records, max_bytes)),
            Effect::Pause => self.is_paused = true,
            Effect::Resume => self.is_paused = false,
            Effect::ConfirmRevoked { id } => {
                return self.revoking.take_if(|revoking| revoking.id == id).map(Asks::Confirm);
            }
            Effect::Skip { row, .. } => return Some(Asks::Skip(row)),
            Effect::SetTimer { timer, after } => self.alarms.set(timer, now + after),
            Effect::CancelTimer { timer } => self.alarms.cancel(timer),
            Effect::Stop { cause: _ } => {}
        }
        None
    }
}
