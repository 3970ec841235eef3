//! What the ledger and the group answer: who owns a partition, and how far it is written.

use cdc_machine::{Dependency, Fault};
use cdc_syncer::{
    Acquired, CommitFailure, FailedBy, Input, LedgerCheck, LogBounds, OffsetCommit, OffsetGap, Partition,
    Taken, WorkerId,
};

use super::World;
use super::syncer::postgres_fault;
use crate::sim::message::Message;
use crate::sim::postgres::{Claim, Postgres};
use crate::sim::schedule::How;

impl World {
    pub(super) fn acquire(&mut self, who: usize, how: How, arg: u16) {
        let workers = self.options.syncer.pool_size;
        let Some(process) = self.syncers[who].as_mut() else { return };
        let Some((id, asked)) = process.acquire.take() else { return };
        let is_carried_out = matches!(how, How::Good | How::Unheard | How::Late);
        let mut partitions = Vec::new();
        for (partition, epoch) in asked {
            let at = partition.0 as usize;
            if is_carried_out {
                let row = &mut self.postgres.ledger[at];
                let first = self.kafka.logs[at].first;
                if row.next.is_none() {
                    // Nothing was promised of what expired before the first commit.
                    let born = self.oracles.offsets.given_up(at, 0, first, first);
                    if self.violation.is_none() {
                        self.violation = born.err();
                    }
                }
                row.epoch += 1;
                row.owner = (process.life, epoch);
            }
            let ledger = self.postgres.ledger[at].next;
            if how == How::Good {
                process.claims[at] = Some(Claim { epoch, floor: ledger, server: self.postgres.server });
            }
            let log = &self.kafka.logs[at];
            let parked = (0..workers).map(WorkerId);
            let parked = parked.map(|worker| (worker, self.postgres.parked_rows(worker, partition, workers)));
            partitions.push(Acquired {
                partition,
                epoch,
                ledger,
                group: self.group.committed[at],
                log: LogBounds { first: log.first, end: log.end },
                end_seen: None,
                parked: parked.filter(|(_, rows)| *rows > 0).collect(),
            });
        }
        let failed = |fault| Err(FailedBy { from: Dependency::Postgres, fault });
        let result = postgres_fault(how, arg).map_or(Ok(Taken { partitions, held: Vec::new() }), failed);
        self.tell_syncer(who, Input::PartitionsAcquired { id, result });
    }

    pub(super) fn move_offsets(&mut self, who: usize, how: How) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        let Some((id, gaps)) = process.moving.take() else { return };
        let life = process.life;
        let mut refused = Vec::new();
        for OffsetGap { partition, epoch, from, to, .. } in gaps {
            let at = partition.0 as usize;
            if !matches!(how, How::Good | How::Unheard) {
                continue;
            }
            if !self.postgres.is_owner(at, (life, epoch), &process.claims) {
                refused.push(partition);
                continue;
            }
            self.postgres.ledger[at].next = Some(to);
            process.claims[at].iter_mut().for_each(|claim| claim.floor = Some(to));
            let explained = self.oracles.offsets.given_up(at, from, to, self.kafka.logs[at].first);
            if self.violation.is_none() {
                self.violation = explained.err();
            }
        }
        let result = if how == How::Good { Ok(refused) } else { Err(Fault::Transient) };
        self.tell_syncer(who, Input::OffsetsMoved { id, result });
    }

    pub(super) fn check_ledger(&mut self, who: usize, how: How) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        let Some((id, asked)) = process.check.take() else { return };
        let is_foreign = |(partition, epoch): &(Partition, _)| {
            let at = partition.0 as usize;
            !self.postgres.is_owner(at, (process.life, *epoch), &process.claims)
        };
        let refused = asked.iter().filter(|it| is_foreign(it)).map(|(partition, _)| *partition).collect();
        let result = match how {
            How::Good => Ok(LedgerCheck { refused, held: Vec::new() }),
            How::Failed | How::Unheard | How::Late | How::Away | How::Oddly => Err(Fault::Unreachable),
        };
        self.tell_syncer(who, Input::LedgerChecked { id, result });
    }

    /// First the ledger, then Kafka.
    pub(super) fn commit(&mut self, who: usize, how: How, arg: u16) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        let Some((id, offsets)) = process.commit.take() else { return };
        let life = process.life;
        let fails = |from, fault, refused| Err(CommitFailure { from, fault, refused });
        let mut refused = Vec::new();
        let reaches_ledger = matches!(how, How::Good | How::Unheard) || (how == How::Failed && arg & 1 == 1);
        let mut recorded = Vec::new();
        for OffsetCommit { partition, epoch, offset } in offsets.iter().filter(|_| reaches_ledger) {
            let at = partition.0 as usize;
            if self.postgres.is_owner(at, (life, *epoch), &process.claims) {
                self.postgres.ledger[at].next = Some(*offset.position());
                process.claims[at].iter_mut().for_each(|claim| claim.floor = Some(*offset.position()));
                recorded.push((at, *offset.position()));
            } else {
                refused.push(*partition);
            }
        }
        let is_member = |(at, _): &(usize, i64)| self.group.owns(who, *at);
        let is_fenced = !recorded.iter().all(is_member);
        for (at, offset) in &recorded {
            self.check_recorded(*at, *offset);
            if matches!(how, How::Good | How::Unheard) && !is_fenced {
                self.group.committed[*at] = Some(*offset);
            }
        }
        let result = match how {
            How::Good if !refused.is_empty() => fails(Dependency::Postgres, Fault::Fenced, refused),
            How::Good if is_fenced => fails(Dependency::Kafka, Fault::Fenced, refused),
            How::Good => Ok(()),
            How::Failed if reaches_ledger => fails(Dependency::Kafka, Fault::Transient, refused),
            How::Failed | How::Unheard | How::Late | How::Oddly => {
                fails(Dependency::Postgres, Fault::Transient, Vec::new())
            }
            How::Away => fails(Dependency::Postgres, Fault::Unreachable, Vec::new()),
        };
        self.tell_syncer(who, Input::OffsetsCommitted { id, result });
    }

    /// Everything below an offset is on record as written.
    fn check_recorded(&mut self, partition: usize, next: i64) {
        let postgres = &self.postgres;
        let is_durable = |message: &Message| !message.has_row() || is_written(postgres, message);
        let checked = self.oracles.offsets.recorded(partition, next, is_durable);
        self.fail(checked);
    }
}

/// True where a message's row, or a newer one, is committed or parked.
fn is_written(postgres: &Postgres, message: &Message) -> bool {
    postgres.version((message.table, message.key)) >= message.version && !message.is_poison
}
