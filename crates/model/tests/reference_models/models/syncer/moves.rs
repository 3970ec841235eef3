//! What may happen to a Syncer next, drawn from what is outstanding.

use std::time::Duration;

use cdc_machine::{Cause, EffectId, Fault, Retry, Signal, StateName};
use cdc_model::invariants::{Invariant, Violation, demand};
use cdc_model::sim::group::each;
use cdc_model::sim::message::{KEYS, PARTITIONS, TABLES};
use cdc_model::sim::syncing::{Revoking, Syncing};
use cdc_syncer::{Config, Input, LedgerCheck, Retries, TimerKind};
use proptest::prelude::*;

use super::super::harness::{End, Model};
use super::{World, number};

const DATABASE: &[Fault] =
    &[Fault::Transient, Fault::Unreachable, Fault::RetryNow, Fault::Auth, Fault::Unfit, Fault::Fatal];
const BROKER: &[Fault] = &[Fault::Transient, Fault::Unreachable, Fault::Fenced, Fault::Auth, Fault::Fatal];
const WRITE: &[Fault] = &[
    Fault::Transient,
    Fault::Unreachable,
    Fault::RetryNow,
    Fault::Blocked,
    Fault::Poison,
    Fault::TooLarge,
    Fault::Auth,
    Fault::Fatal,
];

/// Partitions, all of them.
const ALL: u8 = (1 << PARTITIONS) - 1;

/// Records that a log may hold before some expire.
const LOG_MAX: usize = 12;

/// Rounds in which a world in good health has to come to rest; some dozens do.
const ROUNDS_MAX: u32 = 2_000;

/// What may happen next. A move that is impossible changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// A change of this document; no table takes it, or one does.
    Produce(u8, u8, bool),
    /// A partition's oldest record expires.
    Expire(usize),
    Start,
    Connect(End),
    Join(End),
    Leave,
    /// The group gives these partitions.
    Assign(u8),
    /// It wants these back.
    Revoke(u8),
    /// It has taken these.
    Lose(u8),
    /// Another member has taken one, and this one has not heard of it.
    Steal(usize),
    ConsumerFails(Fault),
    Acquire(End),
    RecordGaps(End),
    CheckLedger(End),
    Poll(u8),
    /// A transaction comes to its end.
    Transact(usize, End),
    /// What became of one is heard.
    Hear(usize),
    DeadLetter(usize, End),
    Commit(End),
    Fire(TimerKind),
    Drain,
    Abort,
    /// The process dies; its transactions are committed, or not.
    Crash(bool),
}

impl Move {
    /// True for what happens in a world in good health.
    const fn is_well(self) -> bool {
        match self {
            Self::Connect(end)
            | Self::Join(end)
            | Self::Acquire(end)
            | Self::RecordGaps(end)
            | Self::CheckLedger(end)
            | Self::Transact(_, end)
            | Self::DeadLetter(_, end)
            | Self::Commit(end) => matches!(end, End::Good),
            Self::Start | Self::Leave | Self::Assign(_) | Self::Poll(_) | Self::Hear(_) => true,
            Self::Fire(kind) => !matches!(kind, TimerKind::Drain),
            Self::Produce(..)
            | Self::Expire(_)
            | Self::Revoke(_)
            | Self::Lose(_)
            | Self::Steal(_)
            | Self::ConsumerFails(_)
            | Self::Drain
            | Self::Abort
            | Self::Crash(_) => false,
        }
    }
}

/// A request's ends, each fault among them.
fn ends(
    moves: &mut Vec<(u32, Move)>,
    is_asked: bool,
    weight: u32,
    faults: &[Fault],
    make: impl Fn(End) -> Move,
) {
    if is_asked {
        moves.extend([(weight, make(End::Good)), (1, make(End::Unheard))]);
        moves.extend(faults.iter().map(|fault| (1, make(End::Failed(*fault)))));
    }
}

impl Model for World {
    type Move = Move;

    fn drawn(to_the_letter: bool) -> BoxedStrategy<Self> {
        let retries = || (0..4_u32).prop_map(Retry::times);
        let limits = (1..5_u32, 0..5_u32, 1..4_u32, prop_oneof![Just(2_u64), Just(8), Just(100)]);
        (limits, (retries(), retries(), retries()), any::<bool>())
            .prop_map(move |((size, channel, workers, bytes), (kafka, connect, write), lingers)| {
                Self::new(Config {
                    buffer_size: if to_the_letter { 1 } else { size },
                    buffer_bytes: bytes,
                    max_buffered_bytes: bytes,
                    channel_buffer: if to_the_letter { 0 } else { channel },
                    pool_size: if to_the_letter { 1 } else { workers },
                    max_fetch_records: size,
                    linger: if lingers { Duration::from_millis(5) } else { Duration::ZERO },
                    on_unique_violation: cdc_syncer::OnUniqueViolation::DeadLetter,
                    retries: Retries { kafka, postgres_connect: connect, postgres_write: write },
                    ..Config::default()
                })
            })
            .boxed()
    }

    fn possible(&self) -> Vec<(u32, Move)> {
        let mut moves = Vec::new();
        for (table, key) in (0..TABLES as u8).flat_map(|table| (0..KEYS as u8).map(move |key| (table, key))) {
            moves.push((2, Move::Produce(table, key, false)));
        }
        moves.push((1, Move::Produce(0, 0, true)));
        let process = &self.process;
        if process.life == 0 || process.is_stopped() {
            moves.push((60, Move::Start));
            return moves;
        }
        let it = &mut moves;
        ends(it, process.connect.is_some(), 60, DATABASE, Move::Connect);
        ends(it, process.join.is_some(), 60, BROKER, Move::Join);
        ends(it, process.acquire.is_some(), 40, DATABASE, Move::Acquire);
        ends(it, process.moving.is_some(), 40, DATABASE, Move::RecordGaps);
        ends(it, process.check.is_some(), 8, DATABASE, Move::CheckLedger);
        ends(it, process.commit.is_some(), 24, BROKER, Move::Commit);
        for at in 0..process.dead_letters.len() {
            ends(it, true, 12, BROKER, |end| Move::DeadLetter(at, end));
        }
        for (at, (_, result)) in self.transactions.iter().enumerate() {
            ends(it, result.is_none(), 24, WRITE, |end| Move::Transact(at, end));
            it.extend(result.iter().map(|_| (16, Move::Hear(at))));
        }
        let mut also = |is_so: bool, weight, it| moves.extend(is_so.then_some((weight, it)));
        also(process.leave.is_some(), 12, Move::Leave);
        also(process.fetch.is_some() && !process.is_paused, 16, Move::Poll(1));
        also(process.fetch.is_some() && !process.is_paused, 32, Move::Poll(4));
        let (is_settled, missing) = (process.revoking.is_none(), ALL & !self.owned);
        also(self.is_member && is_settled && missing != 0, 40, Move::Assign(missing));
        for at in 0..PARTITIONS {
            let (set, is_owned) = (1 << at, self.owned & (1 << at) != 0);
            also(self.is_member && is_settled && !is_owned, 8, Move::Assign(set));
            also(is_settled && is_owned, 1, Move::Revoke(set));
            also(is_settled && is_owned, 1, Move::Lose(set));
            also(is_owned && self.stolen & set == 0, 1, Move::Steal(at));
            also(self.kafka.logs[at].from(0).count() > LOG_MAX, 2, Move::Expire(at));
        }
        also(is_settled && self.owned != 0, 1, Move::Revoke(self.owned));
        also(self.is_member, 1, Move::ConsumerFails(Fault::Transient));
        also(self.is_member, 1, Move::ConsumerFails(Fault::Fenced));
        also(process.deadline.is_none(), 1, Move::Drain);
        also(process.deadline.is_some(), 1, Move::Abort);
        also(true, 1, Move::Crash(false));
        also(true, 1, Move::Crash(true));
        moves.extend(process.alarms.kinds().map(|kind| (4, Move::Fire(kind))));
        moves
    }

    fn make(&mut self, r#move: Move) {
        if self.violation.is_some() {
            return;
        }
        match r#move {
            Move::Produce(table, key, is_poison) => self.produce(table, key, is_poison),
            Move::Expire(at) => self.kafka.logs[at].expire(1),
            Move::Start => self.start(),
            Move::Connect(end) => {
                if let Some(id) = self.process.connect.take() {
                    self.tell(Input::DatabaseConnected { id, result: end.done() });
                }
            }
            Move::Join(end) => {
                if let Some(id) = self.process.join.take() {
                    self.close();
                    self.is_member = end == End::Good;
                    self.tell(Input::GroupJoined { id, result: end.done() });
                }
            }
            Move::Leave => {
                if let Some(id) = self.process.leave.take() {
                    self.close();
                    self.tell(Input::GroupLeft { id, result: () });
                }
            }
            Move::Assign(set) if self.is_member && self.process.revoking.is_none() => {
                self.assign(set & !self.owned);
            }
            Move::Revoke(set) => {
                self.revocations += 1;
                let id = EffectId(self.revocations);
                self.process.revoking = Some(Revoking { id, set, is_overdue: false });
                self.tell(Input::Revoking { id, partitions: each(set).map(number).collect() });
            }
            Move::Lose(set) => {
                self.owned &= !set;
                each(set).for_each(|at| self.process.fetching[at] = None);
                self.tell(Input::Lost { partitions: each(set).map(number).collect() });
            }
            Move::Steal(at) => self.steal(at),
            Move::ConsumerFails(fault) => self.lose_consumer(fault),
            Move::Acquire(end) => self.acquire(end),
            Move::RecordGaps(end) => self.move_offsets(end),
            Move::CheckLedger(end) => self.check_ledger(end),
            Move::Poll(at_most) => self.poll(at_most),
            Move::Transact(which, end) => self.transact(which, end),
            Move::Hear(which) => self.hear(which),
            Move::DeadLetter(which, end) => self.dead_letter(which, end),
            Move::Commit(end) => self.commit(end),
            Move::Fire(kind) => self.fire(kind),
            Move::Drain => {
                self.process.deadline = Some(self.config.drain_timeout);
                self.tell(Input::Signal(Signal::Drain));
            }
            Move::Abort => self.tell(Input::Signal(Signal::Abort)),
            Move::Crash(commits) => {
                let unheard = if commits { self.transactions.len() } else { 0 };
                (0..unheard).for_each(|at| self.transact(at, End::Unheard));
                self.start();
            }
            Move::Assign(_) => {}
        }
    }

    fn rest(&mut self) {
        self.go_on(Self::is_at_rest, Invariant::Progress);
        for (table, key) in (0..TABLES as u8).flat_map(|table| (0..KEYS as u8).map(move |key| (table, key))) {
            let row = self.table.get(&(table, key)).and_then(|row| row.name);
            let given_up = self.offsets.given_up_records().map(|message| message.token);
            let excused: Vec<_> = given_up.chain(self.aside.iter().copied()).collect();
            let at_rest = self.rows.at_rest((table, key), row, |token, _| !excused.contains(&token));
            self.fail(at_rest);
        }
        self.make(Move::Drain);
        self.go_on(|world| world.process.is_stopped(), Invariant::ShutdownBound);
        let cause = self.process.machine.cause();
        let what = || format!("a drain ends with {cause:?}");
        self.fail(demand(cause == Some(Cause::Drained), Invariant::ShutdownBound, what));
    }

    fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    fn trace(&self) -> u64 {
        self.trace
    }
}

impl World {
    fn start(&mut self) {
        self.close();
        self.transactions.clear();
        self.process = Syncing::new(self.process.life + 1, &self.config);
        self.tell(Input::Start);
    }

    fn check_ledger(&mut self, end: End) {
        let Some((id, asked)) = self.process.check.take() else { return };
        let foreign = asked.into_iter().filter(|(partition, epoch)| !self.is_owner(*partition, *epoch));
        let refused = foreign.map(|(partition, _)| partition).collect();
        let result = end.done().map(|()| LedgerCheck { refused, held: Vec::new() });
        self.tell(Input::LedgerChecked { id, result });
    }

    fn hear(&mut self, which: usize) {
        if self.transactions.get(which).is_some_and(|(_, result)| result.is_some()) {
            let (_, result) = self.transactions.remove(which);
            result.into_iter().for_each(|fact| self.tell(fact));
        }
    }

    fn dead_letter(&mut self, which: usize, end: End) {
        if which >= self.process.dead_letters.len() {
            return;
        }
        let (id, row) = self.process.dead_letters.remove(which);
        if !matches!(end, End::Failed(_)) {
            self.put_aside(&row);
        }
        self.tell(Input::DeadLettered { id, result: end.done() });
    }

    fn fire(&mut self, kind: TimerKind) {
        let Some(timer) = self.process.alarms.end(kind) else { return };
        if kind == TimerKind::Revocation {
            self.process.revoking.iter_mut().for_each(|revoking| revoking.is_overdue = true);
        }
        self.tell(Input::Timer(timer));
        let has_ended = kind != TimerKind::Drain || self.process.is_stopped();
        self.fail(demand(has_ended, Invariant::ShutdownBound, || "it outlives its drain".to_owned()));
    }

    /// Everything owed is answered well, the group gives back what it took, and every timer runs out, until `is_over`.
    fn go_on(&mut self, is_over: fn(&Self) -> bool, or_else: Invariant) {
        for _ in 0..ROUNDS_MAX {
            if is_over(self) || self.violation.is_some() {
                return;
            }
            if self.stolen & self.owned != 0 && self.process.revoking.is_none() {
                self.make(Move::Lose(self.stolen & self.owned));
            }
            let well = self.possible().into_iter().map(|(_, it)| it).filter(|it| it.is_well());
            well.collect::<Vec<_>>().into_iter().for_each(|it| self.make(it));
        }
        let (machine, ledger) = (&self.process.machine, &self.ledger);
        let what = format!("{machine:?} does not get on, the ledger is {ledger:?}");
        self.fail(Err(Violation { invariant: or_else, what }));
    }

    fn is_at_rest(&self) -> bool {
        let is_working = self.process.life > 0
            && !matches!(self.process.machine.state(), StateName::Draining | StateName::Stopped)
            && self.process.deadline.is_none()
            && self.transactions.is_empty()
            && self.owned == ALL;
        let mut logs = self.ledger.iter().zip(&self.kafka.logs);
        is_working && logs.all(|(row, log)| log.from(row.next.unwrap_or(log.first)).next().is_none())
    }
}
