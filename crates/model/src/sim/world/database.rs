//! Transactions: one statement after the other, with whatever comes in between.

use std::collections::BTreeSet;
use std::sync::Arc;

use cdc_machine::{Fault, Plant, planted};
use cdc_syncer::{Input, Reject, Rejected, RetryOutcome, WriteOutcome};

use super::World;
use super::syncer::postgres_fault;
use crate::invariants::{Known, Violation};
use crate::sim::kafka::Logged;
use crate::sim::message::{Kind, Message, partition_of};
use crate::sim::mongo::is_poison;
use crate::sim::postgres::{Place, Postgres, Stage, Step, Transaction, Work};
use crate::sim::schedule::How;

impl World {
    /// The next statement of one of the transactions.
    pub(super) fn transact(&mut self, arg: u16, how: How) {
        if arg & 0x80 != 0 || self.postgres.transactions.is_empty() {
            let unburied = self.unburied.pop();
            unburied.iter().for_each(|it| self.postgres.bury(it));
        }
        let count = self.postgres.transactions.len();
        let Some(at) = usize::from(arg).checked_rem(count) else { return };
        let (life, stage) = (self.postgres.transactions[at].life, self.postgres.transactions[at].stage);
        if let Some(commits) = self.postgres.transactions[at].orphan {
            return self.end_orphan(at, commits);
        }
        let Some(who) = self.syncer_of(life) else { return self.end_orphan(at, false) };
        if self.syncers[who].as_ref().is_some_and(|process| process.is_frozen) {
            return;
        }
        match (stage, how) {
            (Stage::Applied, How::Good | How::Unheard) => self.commit_transaction(at, how),
            (Stage::Applied, How::Late) => {
                let left = &mut self.postgres.transactions[at];
                left.orphan = Some(true);
                let failed = left.clone();
                self.answer_failed(&failed, Fault::Transient);
            }
            (_, How::Good) => self.next_statement(who, at, stage),
            (_, how) => {
                let failed = self.postgres.roll_back(at);
                let fault = postgres_fault(how, arg).unwrap_or(Fault::Transient);
                // What ends the service is rare.
                let is_spared = matches!(fault, Fault::Auth | Fault::Fatal) && arg & 0x30 != 0;
                let fault = if is_spared { Fault::RetryNow } else { fault };
                self.answer_failed(&failed, fault);
            }
        }
    }

    /// A process hears what became of one of its transactions, if it still runs.
    pub(super) fn answer(&mut self, which: usize) {
        let Some(at) = which.checked_rem(self.answers.len()) else { return };
        let who = self.syncer_of(self.answers[at].0);
        if let Some(who) = who
            && self.syncers[who].as_ref().is_some_and(|process| process.is_frozen)
        {
            return;
        }
        let (_, fact) = self.answers.swap_remove(at);
        if let Some(who) = who {
            self.tell_syncer(who, fact);
        }
    }

    fn next_statement(&mut self, who: usize, at: usize, stage: Stage) {
        let workers = self.options.syncer.pool_size;
        let Some(process) = self.syncers[who].as_ref() else { return };
        let begun = self.postgres.transactions[at].clone();
        let step = match stage {
            Stage::New => self.postgres.hold(at, &process.claims),
            Stage::Holding | Stage::Applied => self.postgres.apply(at, workers),
        };
        match step {
            Step::Done | Step::Waits => {}
            Step::Refused(partitions) => {
                let fact = match begun.work {
                    Work::Write { .. } => {
                        let result = WriteOutcome::Refused { partitions };
                        Input::BatchWritten { worker: begun.worker, id: begun.id, result }
                    }
                    Work::Retry { .. } => {
                        let result = RetryOutcome::Refused { partitions };
                        Input::ParkedRetried { worker: begun.worker, id: begun.id, result }
                    }
                };
                self.answers.push((begun.life, fact));
            }
            Step::Blocked => self.answer_failed(&begun, Fault::Blocked),
        }
    }

    fn commit_transaction(&mut self, at: usize, how: How) {
        let workers = self.options.syncer.pool_size;
        let committed = self.postgres.commit(at);
        self.on_commit(&committed);
        if how == How::Unheard {
            return self.answer_failed(&committed, Fault::Unreachable);
        }
        let parked = self.postgres.parked_after(&committed, workers);
        let (worker, id) = (committed.worker, committed.id);
        let fact = match &committed.work {
            Work::Write { .. } => {
                let reject = |index: &usize| Rejected {
                    index: *index,
                    reason: Reject::TypeConflict,
                    sqlstate: None,
                    detail: Arc::from("a value of another type"),
                };
                let rejected = committed.rejected.iter().map(reject).collect();
                Input::BatchWritten { worker, id, result: WriteOutcome::Written { rejected, parked } }
            }
            Work::Retry { .. } => {
                let is_changed = committed.is_changed;
                let result = RetryOutcome::Done { parked, is_changed, rejected: Vec::new() };
                Input::ParkedRetried { worker, id, result }
            }
        };
        self.answers.push((committed.life, fact));
    }

    fn answer_failed(&mut self, failed: &Transaction, fault: Fault) {
        let (worker, id) = (failed.worker, failed.id);
        let fact = match failed.work {
            Work::Write { .. } => {
                let is_blocked = fault == Fault::Blocked;
                let reason = if is_blocked { Reject::UniqueViolation } else { Reject::Database };
                let detail = Arc::from("a constraint");
                let result = WriteOutcome::Failed { fault, reason, sqlstate: None, detail };
                Input::BatchWritten { worker, id, result }
            }
            Work::Retry { .. } => Input::ParkedRetried { worker, id, result: RetryOutcome::Failed { fault } },
        };
        self.answers.push((failed.life, fact));
    }

    fn end_orphan(&mut self, at: usize, commits: bool) {
        if commits && self.postgres.transactions[at].stage == Stage::Applied {
            let committed = self.postgres.commit(at);
            self.on_commit(&committed);
        } else {
            self.postgres.roll_back(at);
        }
    }

    /// The process is gone: its transactions are rolled back sooner or later, or commit if their COMMIT was on the wire.
    pub(super) fn orphan_transactions(&mut self, life: u32, arg: u16) {
        let of_life =
            self.postgres.transactions.iter_mut().filter(|it| it.life == life && it.orphan.is_none());
        for (index, transaction) in of_life.enumerate() {
            transaction.orphan = Some(arg >> (index % 16) & 1 == 1);
        }
    }

    /// What a commit shows is looked at, row by row.
    fn on_commit(&mut self, committed: &Transaction) {
        for (place, message) in &committed.written {
            let checked = self.check_row(*place, message);
            self.fail(checked);
        }
        if planted(Plant::TombstoneApart) {
            self.unburied.push(committed.clone());
        }
        self.coverage.written += committed.written.len() as u64;
    }

    fn check_row(&mut self, place: Place, message: &Message) -> Result<(), Violation> {
        let rows = &mut self.oracles.rows;
        let of = (message.table, message.key);
        if message.kind == Kind::Delete {
            rows.written(place, of, message.token, Known { version: message.version, name: None })?;
        }
        match self.postgres.tables.rows[usize::from(place.0)][usize::from(place.1)] {
            Some(row) => {
                let known = Known { version: row.version, name: Some(row.name) };
                rows.written(place, of, if message.kind == Kind::Delete { 0 } else { message.token }, known)
            }
            None => Ok(()),
        }
    }

    /// The database is replaced by its copy.
    pub(super) fn restore_database(&mut self) {
        let gone = self.postgres.restore();
        self.unburied.clear();
        let versions: Vec<_> =
            Postgres::places().map(|place| (place, self.postgres.row_version(place))).collect();
        self.oracles.rows.restored(versions.into_iter());
        self.oracles.offsets.restored();
        for transaction in gone.iter().filter(|it| it.orphan.is_none()) {
            self.answer_failed(transaction, Fault::Unreachable);
        }
    }

    /// Everything is at rest: each row is what its document is.
    pub(super) fn check_rest(&mut self) {
        let given_up = self.oracles.offsets.given_up_records();
        // An update whose document was gone by then says nothing; the delete that follows does.
        let absent = self.oracles.offsets.records().filter(|message| message.kind == Kind::Absent);
        let lost: BTreeSet<u64> = given_up.chain(absent).map(|message| message.token).collect();
        for place in Postgres::places() {
            let row = self.postgres.tables.rows[usize::from(place.0)][usize::from(place.1)];
            let is_owed = |token: u64, name: Option<u16>| {
                let fits = !self.options.poisons || !name.is_some_and(is_poison);
                let is_given_up = self.oracles.delivery.is_excused(token) || lost.contains(&token);
                fits && !is_given_up && !self.marked.contains(&token)
            };
            let checked = self.oracles.rows.at_rest(place, row.map(|row| row.name), is_owed);
            self.fail(checked.map_err(|violation| self.with_history(place, violation)));
        }
    }

    /// What Kafka holds of the document, beside what is wrong with its row.
    fn with_history(&self, place: Place, mut violation: Violation) -> Violation {
        let log = &self.kafka.logs[partition_of(place.0, place.1)];
        let of_row = log.from(0).filter(|it| (it.message.table, it.message.key) == place);
        for Logged { offset, message } in of_row {
            let Message { kind, name, version, .. } = message;
            violation.what.push_str(&format!("; {offset}: {kind:?} {name} at {version:x}"));
        }
        let row = self.postgres.tables.rows[usize::from(place.0)][usize::from(place.1)];
        violation.what.push_str(&format!(
            "; the row is {row:x?}, its newest version {:x}",
            self.postgres.version(place)
        ));
        violation
    }
}
