//! The database around a Syncer: who owns a partition, what stands in the table, and what a transaction comes to.

use std::sync::Arc;

use cdc_machine::{Dependency, Epoch, Fault, Plant, planted};
use cdc_model::invariants::Known;
use cdc_model::sim::message::{Kind, Message};
use cdc_model::sim::postgres::Work;
use cdc_syncer::{
    Acquired, CommitFailure, FailedBy, Input, LogBounds, OffsetCommit, OffsetGap, Partition, Reject,
    Rejected, Taken, WriteOutcome,
};

use super::super::harness::End;
use super::{LedgerRow, World};

impl World {
    pub(super) fn is_owner(&self, partition: Partition, epoch: Epoch) -> bool {
        self.ledger[partition.0 as usize].owner == (self.process.life, epoch)
    }

    /// Another member takes a partition and writes all of it, while this one does not know.
    pub(super) fn steal(&mut self, at: usize) {
        self.stolen |= 1 << at;
        let (recorded, first) = (self.ledger[at].next.unwrap_or(0), self.kafka.logs[at].first);
        let next = recorded.max(first);
        // What has expired is a gap that it records.
        let explained = self.offsets.given_up(at, recorded.min(first), first, first);
        self.fail(explained);
        let records: Vec<_> = self.kafka.logs[at].from(next).copied().collect();
        for record in &records {
            if record.message.is_poison {
                self.offsets.set_aside(at, record.offset);
                self.aside.insert(record.message.token);
            } else {
                self.put(record.message);
            }
        }
        self.ledger[at] = LedgerRow { owner: (0, Epoch(u64::MAX)), next: Some(self.kafka.logs[at].end) };
        self.recorded(at, self.kafka.logs[at].end);
    }

    /// A message's row, where there is no newer one.
    pub(super) fn put(&mut self, message: Message) {
        let place = (message.table, message.key);
        let name = (message.kind == Kind::Upsert).then_some(message.name);
        let known = Known { version: message.version, name };
        let is_newer = self.table.get(&place).is_none_or(|row| row.version < known.version);
        if is_newer || planted(Plant::NoFence) {
            self.table.insert(place, known);
            let written = self.rows.written(place, place, message.token, known);
            self.fail(written);
        }
    }

    /// Everything of a partition below an offset is on record as written.
    pub(super) fn recorded(&mut self, at: usize, next: i64) {
        let table = &self.table;
        let is_durable = |message: &Message| {
            let row = table.get(&(message.table, message.key));
            row.is_some_and(|row| row.version >= message.version) && !message.is_poison
        };
        let checked = self.offsets.recorded(at, next, is_durable);
        self.fail(checked);
    }

    pub(super) fn acquire(&mut self, end: End) {
        let Some((id, asked)) = self.process.acquire.take() else { return };
        let life = self.process.life;
        let mut partitions = Vec::new();
        for (partition, epoch) in asked.into_iter().filter(|_| !matches!(end, End::Failed(_))) {
            let at = partition.0 as usize;
            self.ledger[at].owner = (life, epoch);
            self.stolen &= !(1 << at);
            let LogBounds { first, end } =
                LogBounds { first: self.kafka.logs[at].first, end: self.kafka.logs[at].end };
            if self.ledger[at].next.is_none() {
                // Nothing was promised of what expired before the first commit.
                let born = self.offsets.given_up(at, 0, first, first);
                self.fail(born);
            }
            let (ledger, group) = (self.ledger[at].next, self.committed[at]);
            let log = LogBounds { first, end };
            partitions.push(Acquired {
                partition,
                epoch,
                ledger,
                group,
                log,
                end_seen: None,
                parked: Vec::new(),
            });
        }
        let failed = |fault| FailedBy { from: Dependency::Postgres, fault };
        let taken = Taken { partitions, held: Vec::new() };
        self.tell(Input::PartitionsAcquired { id, result: end.done().map(|()| taken).map_err(failed) });
    }

    pub(super) fn move_offsets(&mut self, end: End) {
        let Some((id, gaps)) = self.process.moving.take() else { return };
        let mut refused = Vec::new();
        for OffsetGap { partition, epoch, from, to, .. } in
            gaps.into_iter().filter(|_| !matches!(end, End::Failed(_)))
        {
            let at = partition.0 as usize;
            if self.is_owner(partition, epoch) {
                self.ledger[at].next = Some(to);
                let explained = self.offsets.given_up(at, from, to, self.kafka.logs[at].first);
                self.fail(explained);
            } else {
                refused.push(partition);
            }
        }
        self.tell(Input::OffsetsMoved { id, result: end.done().map(|()| refused) });
    }

    /// A transaction comes to its end in the database; what became of it is heard later.
    pub(super) fn transact(&mut self, which: usize, end: End) {
        let Some((transaction, None)) = self.transactions.get(which).cloned() else { return };
        let foreign = transaction
            .partitions()
            .into_iter()
            .filter(|(partition, epoch)| !self.is_owner(*partition, *epoch));
        let refused: Vec<Partition> = foreign.map(|(partition, _)| partition).collect();
        let (worker, id) = (transaction.worker, transaction.id);
        let Work::Write { batch, .. } = transaction.work else { return };
        let detail: Arc<str> = Arc::from("");
        let failed = |fault| {
            let reason = if fault == Fault::Blocked { Reject::UniqueViolation } else { Reject::Database };
            WriteOutcome::Failed { fault, reason, sqlstate: None, detail: Arc::clone(&detail) }
        };
        let result = match (end, refused.is_empty()) {
            (End::Failed(fault), _) => failed(fault),
            (End::Good, false) => WriteOutcome::Refused { partitions: refused },
            (End::Unheard, false) => failed(Fault::Unreachable),
            (_, true) => {
                let (bad, good): (Vec<_>, Vec<_>) =
                    batch.rows().iter().enumerate().partition(|(_, row)| row.handle.is_poison);
                good.into_iter().for_each(|(_, row)| self.put(row.handle));
                let rejected = |(index, _)| Rejected {
                    index,
                    reason: Reject::TypeConflict,
                    sqlstate: None,
                    detail: Arc::clone(&detail),
                };
                let rejected = bad.into_iter().map(rejected).collect();
                if end == End::Good {
                    WriteOutcome::Written { rejected, parked: Vec::new() }
                } else {
                    failed(Fault::Unreachable)
                }
            }
        };
        self.transactions[which].1 = Some(Input::BatchWritten { worker, id, result });
    }

    /// First the ledger, then Kafka.
    pub(super) fn commit(&mut self, end: End) {
        let Some((id, offsets)) = self.process.commit.take() else { return };
        let from =
            if end == End::Failed(Fault::Unreachable) { Dependency::Postgres } else { Dependency::Kafka };
        let mut refused = Vec::new();
        for OffsetCommit { partition, epoch, offset } in offsets.iter().filter(|_| from == Dependency::Kafka)
        {
            let (at, next) = (partition.0 as usize, *offset.position());
            if self.is_owner(*partition, *epoch) {
                self.ledger[at].next = Some(next);
                self.recorded(at, next);
                self.committed[at] = if end == End::Good { Some(next) } else { self.committed[at] };
            } else {
                refused.push(*partition);
            }
        }
        let result = match end.done() {
            Ok(()) if refused.is_empty() => Ok(()),
            Ok(()) => Err(CommitFailure { from: Dependency::Postgres, fault: Fault::Fenced, refused }),
            Err(fault) => Err(CommitFailure { from, fault, refused }),
        };
        self.tell(Input::OffsetsCommitted { id, result });
    }
}
