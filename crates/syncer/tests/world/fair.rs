//! A world in which everything works: what must come about does.

use std::collections::BTreeMap;

use cdc_machine::{Cause, Signal};
use cdc_syncer::{Input, Partition, TimerKind};

use super::{Outcome, PARTITIONS, World};

/// More turns than any run of these sizes takes.
const TURNS_MAX: usize = 20_000;

impl World {
    /// Until everything produced is durable and committed.
    pub(crate) fn catch_up(&mut self) {
        self.database.broken.clear();
        for _ in 0..TURNS_MAX {
            if self.is_stopped() {
                self.restart();
            }
            if !self.turn() && !self.assign_all() && !self.expire_waits() {
                // Nothing is left to do that the ledger's restored copy would not tell.
                let assigned = &self.assigned;
                self.disowned.retain(|(partition, epoch)| {
                    assigned.get(partition).is_some_and(|assigned| assigned.epoch == *epoch)
                });
                if self.disowned.is_empty() {
                    return self.check_caught_up();
                }
                assert!(self.expire(|kind| kind == TimerKind::LedgerCheck), "nobody asks the ledger");
            }
        }
        panic!("never caught up: {:?} {:?}", self.machine, self.pending);
    }

    /// From wherever it stands: a drain ends, with everything polled of what is ours written and committed.
    pub(crate) fn drain(&mut self) {
        self.step(Input::Signal(Signal::Drain));
        for _ in 0..TURNS_MAX {
            if self.is_stopped() {
                assert_eq!(self.stops.last(), Some(&Cause::Drained));
                return;
            }
            self.check_drained_before_leaving();
            // No row waits for a timer any more: only retries and the distance between commits do.
            let progress = self.turn()
                || self.expire(|kind| {
                    matches!(
                        kind,
                        TimerKind::WriteRetry(_)
                            | TimerKind::OutageRetry
                            | TimerKind::CommitRetry
                            | TimerKind::DeadLetterRetry
                            | TimerKind::CommitSpacing
                    )
                });
            assert!(progress, "a drain hangs: {:?} {:?}", self.machine, self.pending);
        }
        panic!("a drain never ends: {:?}", self.machine);
    }

    /// Answers one request, or brings records.
    fn turn(&mut self) -> bool {
        if self.answer(0, Outcome::Good) {
            return true;
        }
        if self.pending.join.is_some() {
            self.join(Outcome::Good);
        } else if self.pending.acquire.is_some() {
            self.acquire(Outcome::Good);
        } else if self.pending.moving.is_some() {
            self.move_offsets(Outcome::Good);
        } else if self.pending.check.is_some() {
            self.check_ledger(Outcome::Good);
        } else if !self.pending.writes.is_empty() {
            self.finish_write(0, Outcome::Good);
        } else if !self.pending.retries.is_empty() {
            self.finish_retry(0, Outcome::Good);
        } else if !self.pending.dead_letters.is_empty() {
            self.finish_dead_letter(0, Outcome::Good);
        } else if self.pending.commit.is_some() {
            self.finish_commit(Outcome::Good);
        } else if self.pending.leave.is_some() {
            self.leave();
        } else {
            return self.poll(u32::MAX);
        }
        true
    }

    fn assign_all(&mut self) -> bool {
        let missing = (0..PARTITIONS).any(|partition| !self.owned.contains(&Partition(partition)));
        if missing && self.is_member && self.pending.revoking.is_none() {
            self.assign(u8::MAX);
            return true;
        }
        false
    }

    /// Time passes, but no deadline does.
    fn expire_waits(&mut self) -> bool {
        self.expire(|kind| {
            !matches!(
                kind,
                TimerKind::Drain | TimerKind::Revocation | TimerKind::Pause | TimerKind::LedgerCheck
            )
        })
    }

    fn check_caught_up(&self) {
        for (partition, log) in (0u32..).map(Partition).zip(&self.logs) {
            let end = log.last().map_or(0, |last| last.offset + 1);
            assert!(self.ledger.get(&partition).copied().unwrap_or(0) >= end, "{:?}", self.machine);
            self.check_covered(partition, end);
        }
        assert_eq!(self.machine.buffered_records(), 0);
        assert_eq!(self.machine.parked_rows(), 0, "{:?}", self.database);
        assert!(self.database.parked.is_empty(), "{:?}", self.database);
        if self.is_faultless {
            let table: BTreeMap<u8, u16> =
                self.database.table.iter().map(|(key, (_, name))| (*key, *name)).collect();
            assert_eq!(table, self.source.names);
        }
    }

    fn check_drained_before_leaving(&self) {
        if self.pending.leave.is_some() {
            for (partition, assigned) in &self.assigned {
                let recorded = self.ledger.get(partition).copied().unwrap_or(0);
                let is_disowned = self.disowned.contains(&(*partition, assigned.epoch));
                assert!(
                    is_disowned || assigned.polled.keys().all(|offset| *offset < recorded),
                    "left before all is committed"
                );
            }
        }
    }
}
