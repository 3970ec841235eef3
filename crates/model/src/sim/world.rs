//! The world: every process and every server in one thread, in virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use cdc_machine::{Cause, Effects, StateName};

use super::coverage::Coverage;
use super::faults::Options;
use super::group::{Group, MEMBERS};
use super::kafka::Kafka;
use super::message::{Message, PARTITIONS, Token};
use super::mongo::Mongo;
use super::postgres::{Postgres, Transaction};
use super::random::mix;
use super::schedule::{Act, How, Move};
use super::store::{LateSave, Life, Store};
use super::syncing::{self, Syncing};
use super::watching::{Order, Watching};
use crate::invariants::{Delivery, Offsets, Rows, Topics, Violation};

mod clients;
mod database;
mod fingerprint;
mod heal;
mod ledger;
mod producer;
mod record;
#[cfg(test)]
mod scenarios;
mod servers;
mod syncer;
mod watcher;

/// Processes with a Watcher: the one that works, and one that stands by or was replaced.
pub const WATCHERS: usize = 2;

/// What was injected of what loses something, so that a gap may say so.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct Losses {
    history: bool,
    record: bool,
    damage: bool,
}

/// What is told of what happened.
#[derive(Clone, Debug, Hash)]
pub struct Oracles {
    pub(super) delivery: Delivery,
    pub(super) topics: Topics,
    pub(super) rows: Rows,
    pub(super) offsets: Offsets<Message>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct World {
    /// What the schedule was drawn with.
    pub options: Options,
    pub(super) now: Duration,
    pub(super) mongo: Mongo,
    pub(super) kafka: Kafka,
    pub(super) store: Store,
    pub(super) late_saves: Vec<LateSave>,
    pub(super) postgres: Postgres,
    pub(super) group: Group,
    pub(super) syncers: [Option<Syncing>; MEMBERS],
    pub(super) watchers: [Option<Watching>; WATCHERS],
    pub(super) oracles: Oracles,
    lives: Life,
    pub(super) written: u32,
    losses: Losses,
    /// False once the store itself has lost a save: a crash may replay more then.
    is_store_true: bool,
    /// No fault any more.
    pub(super) is_well: bool,
    orders: Effects<Order>,
    syncer_orders: Effects<syncing::Order>,
    /// What transactions came to, on the way to the processes that began them.
    pub(super) answers: Vec<(Life, cdc_syncer::Input<Message>)>,
    revocations: u64,
    /// Planted: transactions whose tombstones are still to come.
    pub(super) unburied: Vec<Transaction>,
    /// Changes in whose place the dead letters have a marker.
    marked: BTreeSet<Token>,
    hash: u64,
    /// What was told and ordered, where anybody wants to read it.
    pub log: Option<Vec<String>>,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// What was seen.
    pub coverage: Coverage,
}

impl World {
    /// At the beginning: nothing has been written, and the processes are to be started.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mongo = Mongo::new(options.looks_up);
        Self {
            now: Duration::ZERO,
            mongo,
            kafka: Kafka::default(),
            store: Store::default(),
            late_saves: Vec::new(),
            postgres: Postgres::default(),
            group: Group::default(),
            syncers: [None, None],
            watchers: [None, None],
            oracles: Oracles {
                delivery: Delivery::default(),
                topics: Topics::default(),
                rows: Rows::default(),
                offsets: Offsets::new(PARTITIONS),
            },
            lives: 0,
            written: 0,
            losses: Losses::default(),
            is_store_true: true,
            is_well: false,
            orders: Effects::new(),
            syncer_orders: Effects::new(),
            answers: Vec::new(),
            revocations: 0,
            unburied: Vec::new(),
            marked: BTreeSet::new(),
            hash: options.seed,
            log: None,
            violation: None,
            coverage: Coverage::default(),
            options,
        }
    }

    /// The digest of all that has happened.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Writes of clients so far.
    #[must_use]
    pub const fn written(&self) -> u32 {
        self.written
    }

    fn note(&mut self, bits: u64) {
        self.hash = mix(self.hash ^ bits);
    }

    fn fail(&mut self, checked: Result<(), Violation>) {
        if let Err(violation) = checked
            && self.violation.is_none()
        {
            self.violation = Some(violation);
        }
    }

    /// True where the move would do something.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "each place takes the acts that are its own")]
    pub fn can(&self, act: Act, who: usize) -> bool {
        match act {
            Act::Write => who == 0 && self.written < self.options.writes,
            Act::Replicate => who == 0 && self.mongo.is_behind(),
            Act::LateSave => who == 0 && !self.late_saves.is_empty(),
            Act::LateAppend => who == 0 && !self.kafka.late.is_empty(),
            Act::Elect
            | Act::Lag
            | Act::Forget
            | Act::RollBackStore
            | Act::BackUp
            | Act::Shift
            | Act::Expire => who == 0,
            Act::Transact => who == 0 && !(self.postgres.transactions.is_empty() && self.unburied.is_empty()),
            Act::FlushStore | Act::DamageStore => who == 0 && self.has_one_holder(),
            Act::Answer => who == 0 && !self.answers.is_empty(),
            Act::Restore => who == 0 && self.postgres.has_copy(),
            act if act.is_of_a_syncer() => self.can_sync(act, who),
            _ => self.can_watch(act, who),
        }
    }

    /// Makes a move. One that is impossible does nothing.
    #[expect(clippy::wildcard_enum_match_arm, reason = "each place takes the acts that are its own")]
    pub fn make(&mut self, r#move: Move) {
        if self.violation.is_some() || !self.can(r#move.act, usize::from(r#move.who)) {
            return;
        }
        self.note(r#move.bits());
        if let Some(log) = &mut self.log {
            log.push(format!("- {move}"));
        }
        self.coverage.moves += 1;
        self.cover(r#move);
        let Move { act, who, arg, how } = r#move;
        match act {
            Act::Write => self.write(arg),
            Act::Replicate => self.replicate(usize::from(arg % 4) + 1),
            Act::LateSave => self.save_late(usize::from(arg)),
            Act::LateAppend => self.append_late(usize::from(arg)),
            Act::Elect => self.elect(),
            Act::Lag => self.mongo.lag = usize::from(arg % 8),
            Act::Forget => self.forget_history(usize::from(arg % 6)),
            Act::RollBackStore => self.roll_back_store(usize::from(arg)),
            Act::FlushStore => self.flush_store(),
            Act::DamageStore => self.damage_store(),
            Act::BackUp => self.postgres.back_up(),
            Act::Shift => self.group.shift(usize::from(arg)),
            Act::Expire => self.expire(usize::from(arg)),
            Act::Restore => self.restore_database(),
            Act::Transact => self.transact(arg, how),
            Act::Answer => self.answer(usize::from(arg)),
            act if act.is_of_a_syncer() => self.make_syncer_s(act, usize::from(who), arg, how),
            _ => self.make_watcher_s(act, usize::from(who), arg, how),
        }
    }

    /// Counts the state that a fault meets, or in which a request is answered.
    fn cover(&mut self, Move { act, who, arg, how }: Move) {
        if act.is_fault() {
            let state = self.struck(act, usize::from(who)).unwrap_or(StateName::Stopped);
            self.coverage.fault(act, state);
        } else if act.is_answer() {
            let is_of_transaction = act == Act::Transact;
            let state = if is_of_transaction {
                self.state_behind(usize::from(arg))
            } else {
                self.struck(act, usize::from(who))
            };
            state.into_iter().for_each(|state| self.coverage.answer(act, state, how == How::Good));
        }
    }

    /// The state of the process that a move is about: of what befalls a server, of the first one behind it.
    fn struck(&self, act: Act, who: usize) -> Option<StateName> {
        if matches!(act, Act::Shift | Act::Expire | Act::Restore) {
            return self.syncers[0].as_ref().map(|process| process.machine.state());
        }
        if act.is_of_a_syncer() {
            return self.syncers[who].as_ref().map(|process| process.machine.state());
        }
        self.watchers[who].as_ref().map(|process| process.machine.state())
    }

    /// The state of the process that has begun a transaction, if it still runs.
    fn state_behind(&self, which: usize) -> Option<StateName> {
        let at = which.checked_rem(self.postgres.transactions.len())?;
        let begun = &self.postgres.transactions[at];
        let who = self.syncer_of(begun.life).filter(|_| begun.orphan.is_none())?;
        self.syncers[who].as_ref().map(|process| process.machine.state())
    }

    fn new_life(&mut self) -> Life {
        self.lives += 1;
        self.lives
    }

    /// True for an end that only a person mends.
    const fn needs_a_person(cause: Cause) -> bool {
        matches!(cause, Cause::HistoryLost | Cause::TokenMissing | Cause::TokenDamaged)
    }
}
