//! The world around one Syncer, as plain as it can be: four logs, a group, a ledger and a table of versions, and another
//! member that takes partitions over. It answers what is outstanding in any order and with any fault, and tells the shared
//! invariants what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use cdc_machine::{Effects, Epoch, Fault, Machine as _};
use cdc_model::invariants::{Invariant, Known, Offsets, Rows, Violation, demand};
use cdc_model::sim::group::each;
use cdc_model::sim::kafka::Kafka;
use cdc_model::sim::message::{Kind, Message, PARTITIONS, PARTS, Token, partition_of, route};
use cdc_model::sim::postgres::Transaction;
use cdc_model::sim::syncing::{Asks, Revoking, Syncing};
use cdc_syncer::{Config, Input, Partition, Record, Row, StartOffset, Topic};

use super::harness::{digest, of_itself};

mod database;
mod moves;

/// Who owns a partition in the ledger, and how far it is written.
#[derive(Clone, Copy, Debug, Default)]
struct LedgerRow {
    owner: (u32, Epoch),
    next: Option<i64>,
}

/// All of it.
#[derive(Clone)]
pub(crate) struct World {
    config: Config,
    process: Syncing,
    kafka: Kafka,
    position: Token,
    is_member: bool,
    /// What the group counts as ours, a bit for each partition.
    owned: u8,
    /// What another member has taken.
    stolen: u8,
    revocations: u64,
    committed: [Option<i64>; PARTITIONS],
    ledger: [LedgerRow; PARTITIONS],
    table: BTreeMap<(u8, u8), Known>,
    /// Transactions, and what they came to where that is still to be heard.
    transactions: Vec<(Transaction, Option<Input<Message>>)>,
    aside: BTreeSet<Token>,
    rows: Rows,
    offsets: Offsets<Message>,
    trace: u64,
    violation: Option<Violation>,
}

fn number(partition: usize) -> Partition {
    Partition(u32::try_from(partition).unwrap_or(0))
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("World").field(&self.config).finish()
    }
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            process: Syncing::new(0, &config),
            config,
            kafka: Kafka::default(),
            position: 0,
            is_member: false,
            owned: 0,
            stolen: 0,
            revocations: 0,
            committed: [None; PARTITIONS],
            ledger: [LedgerRow::default(); PARTITIONS],
            table: BTreeMap::new(),
            transactions: Vec::new(),
            aside: BTreeSet::new(),
            rows: Rows::default(),
            offsets: Offsets::new(PARTITIONS),
            trace: 0,
            violation: None,
        }
    }

    fn fail(&mut self, checked: Result<(), Violation>) {
        self.violation = self.violation.take().or(checked.err());
    }

    /// A change of a document: each fourth one deletes it, and some no table takes.
    fn produce(&mut self, table: u8, key: u8, is_poison: bool) {
        self.position += 1;
        let (token, kind) =
            (self.position, if self.position.is_multiple_of(4) { Kind::Delete } else { Kind::Upsert });
        let name = u16::try_from(token).unwrap_or(u16::MAX);
        let message = Message { kind, table, key, name, is_poison, token, version: token };
        let partition = partition_of(table, key);
        let offset = self.kafka.append(partition, message);
        self.offsets.appended(partition, offset, message);
        self.rows.happened((table, key), token, (kind == Kind::Upsert).then_some(name));
    }

    /// One step of the machine, what it orders, and what has to hold then.
    fn tell(&mut self, fact: Input<Message>) {
        self.process.hear(&fact);
        let mut orders = Effects::new();
        self.process.machine.step(&self.config, fact, &mut orders);
        for order in orders.drain() {
            self.trace = digest(self.trace, &order);
            match self.process.carry_out(order, Duration::ZERO) {
                Some(Asks::Begin(transaction)) => self.transactions.push((*transaction, None)),
                Some(Asks::Confirm(revoking)) => self.confirm(&revoking),
                Some(Asks::Skip(row)) => self.put_aside(&row),
                None => {}
            }
        }
        let checked = self.check();
        self.fail(checked);
        if self.process.is_stopped() {
            self.close();
        }
    }

    fn check(&self) -> Result<(), Violation> {
        let (machine, bytes) = (&self.process.machine, self.process.machine.buffered_bytes());
        demand(bytes <= self.config.max_buffered_bytes + 1, Invariant::MemoryBound, || {
            format!("{bytes} bytes are buffered")
        })?;
        of_itself(machine.check_invariants(&self.config), machine.cause(), machine.unexpected_inputs())
    }

    /// The consumer is gone.
    fn close(&mut self) {
        self.process.close_consumer();
        (self.is_member, self.owned) = (false, 0);
    }

    fn put_aside(&mut self, row: &Row<Message>) {
        self.offsets.set_aside(row.partition.0 as usize, row.offset);
        self.aside.insert(row.handle.token);
    }

    fn assign(&mut self, set: u8) {
        self.owned |= set;
        self.stolen &= !set;
        each(set).for_each(|at| self.process.fetching[at] = None);
        let topic = |at: usize| Topic(u32::try_from(at / PARTS).unwrap_or(0));
        self.tell(Input::Assigned { partitions: each(set).map(|at| (number(at), topic(at))).collect() });
    }

    fn confirm(&mut self, revoking: &Revoking) {
        for at in each(revoking.set) {
            let is_ours =
                self.process.fetching[at].is_some_and(|(epoch, _)| self.is_owner(number(at), epoch));
            let recorded = self.ledger[at].next.unwrap_or(0);
            let polled = self.process.polled[at];
            let may_go = revoking.is_overdue || !is_ours || self.process.refused[at] || recorded >= polled;
            let what = || format!("partition {at} is given back with {polled} read and {recorded} recorded");
            self.fail(demand(may_go, Invariant::Handover, what));
            self.process.fetching[at] = None;
        }
        self.owned &= !revoking.set;
    }

    fn poll(&mut self, at_most: u8) {
        let Some((max_records, max_bytes)) = self.process.fetch.filter(|_| !self.process.is_paused) else {
            return;
        };
        let at_most = u64::from(at_most).min(max_records.into()).min(max_bytes) as usize;
        let (mut records, mut born) = (Vec::new(), Ok(()));
        for at in 0..PARTITIONS {
            let (Some((epoch, start)), log) = (self.process.fetching[at], &self.kafka.logs[at]) else {
                continue;
            };
            let mut next = match start {
                StartOffset::At(offset) => offset,
                StartOffset::Beginning => {
                    // Nothing was promised of what expired before anybody read.
                    born = born.and(self.offsets.given_up(at, 0, log.first, log.first));
                    log.first
                }
            };
            if next < log.first {
                return self.lose_consumer(Fault::HistoryLost);
            }
            for logged in log.from(next).take(at_most - records.len()) {
                next = logged.offset + 1;
                let (partition, offset, handle) = (number(at), logged.offset, logged.message);
                records.push(Record { partition, epoch, offset, route: route(handle.key), bytes: 1, handle });
            }
            self.process.fetching[at] = Some((epoch, StartOffset::At(next)));
            let is_kept = self.process.revoking.as_ref().is_none_or(|revoking| revoking.set & (1 << at) == 0);
            if is_kept && records.last().is_some_and(|last| last.partition == number(at)) {
                self.process.polled[at] = self.process.polled[at].max(next);
            }
        }
        self.fail(born);
        if !records.is_empty() {
            self.process.fetch = None;
            self.tell(Input::Records { records });
        }
    }

    fn lose_consumer(&mut self, fault: Fault) {
        self.close();
        self.tell(Input::ConsumerFailed { fault });
    }
}
