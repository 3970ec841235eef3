//! What the world may do next. A move that is impossible does nothing.

use cdc_machine::{Dependency, EffectId, Epoch, Fault, Signal};
use cdc_syncer::{
    Acquired, CommitFailure, FailedBy, Hold, HoldReason, Input, LedgerCheck, OffsetGap, Partition, Taken,
    TimerKind, Topic,
};

use super::names::Naming;
use super::{PARTITIONS, Revoking, World};

/// How a request ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Good,
    /// The batch is written without one of its rows.
    Rejected(u8),
    /// Somebody else owns a partition now.
    Refused(u8),
    /// It fails, and may have been carried out all the same.
    Bad(Fault, bool),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    /// A record with this key; the gap before its offset; its size.
    Produce(u8, u8, u32),
    Rename(Naming),
    /// A request that needs nothing of the world is answered.
    Answer(u8, Outcome),
    Join(Outcome),
    Leave,
    ConsumerFails(Fault),
    Assign(u8),
    Revoke(u8),
    Lose(u8),
    Acquire(Outcome),
    Behind(Outcome),
    CheckLedger(Outcome),
    /// A partition's table cannot be written any more, because of a lock or for another reason.
    Break(u8, bool),
    /// It can again.
    Mend(u8),
    /// So many of a log's oldest records expire.
    Expire(u8, u8),
    Backup,
    Restore,
    Poll(u32),
    Write(u8, Outcome),
    Retry(u8, Outcome),
    DeadLetter(u8, Outcome),
    Commit(Outcome),
    Timer(u8),
    Drain,
    Abort,
    /// Of the batches in flight, those of these bits are committed.
    Crash(u8),
}

impl World {
    pub(crate) fn make(&mut self, r#move: Move) {
        if self.is_stopped() {
            self.restart();
        }
        match r#move {
            Move::Produce(key, gap, bytes) => self.produce(key, gap, bytes),
            Move::Rename(naming) => self.rename(naming),
            Move::Answer(which, outcome) => drop(self.answer(which, outcome)),
            Move::Join(outcome) => self.join(outcome),
            Move::Leave => self.leave(),
            Move::ConsumerFails(fault) => self.consumer_fails(fault),
            Move::Assign(mask) => self.assign(mask),
            Move::Revoke(mask) => self.revoke(mask),
            Move::Lose(mask) => self.lose(mask),
            Move::Acquire(outcome) => self.acquire(outcome),
            Move::Behind(outcome) => self.move_offsets(outcome),
            Move::CheckLedger(outcome) => self.check_ledger(outcome),
            Move::Break(partition, is_locked) => {
                let reason = if is_locked { HoldReason::Locked } else { HoldReason::Unwritable };
                self.database.broken.insert(Partition(u32::from(partition) % PARTITIONS), reason);
            }
            Move::Mend(partition) => {
                self.database.broken.remove(&Partition(u32::from(partition) % PARTITIONS));
            }
            Move::Expire(partition, count) => self.expire_records(partition, count),
            Move::Backup => {
                self.backup = Some((self.ledger.clone(), self.durable.clone(), self.database.clone()));
            }
            Move::Restore => self.restore(),
            Move::Poll(at_most) => drop(self.poll(at_most)),
            Move::Write(which, outcome) => self.finish_write(which, outcome),
            Move::Retry(which, outcome) => self.finish_retry(which, outcome),
            Move::DeadLetter(which, outcome) => self.finish_dead_letter(which, outcome),
            Move::Commit(outcome) => self.finish_commit(outcome),
            Move::Timer(which) => self.expire_any(which),
            Move::Drain => self.step(Input::Signal(Signal::Drain)),
            Move::Abort => self.step(Input::Signal(Signal::Abort)),
            Move::Crash(mask) => {
                let writes = std::mem::take(&mut self.pending.writes);
                for (_, write) in (0..8).zip(&writes).filter(|(bit, _)| mask & (1 << bit) != 0) {
                    self.write_unheard(write);
                }
                self.restart();
            }
        }
    }

    pub(crate) fn join(&mut self, outcome: Outcome) {
        let Some(id) = self.pending.join.take() else { return };
        if let Outcome::Bad(fault, _) = outcome {
            self.leave_group();
            return self.step(Input::GroupJoined { id, result: Err(fault) });
        }
        self.is_member = true;
        self.step(Input::GroupJoined { id, result: Ok(()) });
    }

    pub(crate) fn leave(&mut self) {
        let Some(id) = self.pending.leave.take() else { return };
        self.leave_group();
        self.step(Input::GroupLeft { id, result: () });
    }

    fn consumer_fails(&mut self, fault: Fault) {
        if self.is_member {
            self.leave_group();
            self.step(Input::ConsumerFailed { fault });
        }
    }

    pub(crate) fn assign(&mut self, mask: u8) {
        if !self.is_member || self.pending.revoking.is_some() {
            return;
        }
        let partitions: Vec<_> = chosen(mask).filter(|partition| !self.owned.contains(partition)).collect();
        if !partitions.is_empty() {
            self.owned.extend(&partitions);
            let of_one_topic = partitions.into_iter().map(|partition| (partition, Topic(0))).collect();
            self.step(Input::Assigned { partitions: of_one_topic });
        }
    }

    fn revoke(&mut self, mask: u8) {
        let partitions: Vec<_> = chosen(mask).filter(|partition| self.owned.contains(partition)).collect();
        if self.pending.revoking.is_some() || partitions.is_empty() {
            return;
        }
        self.revocations += 1;
        let id = EffectId(self.revocations);
        self.pending.revoking = Some(Revoking { id, partitions: partitions.clone(), is_overdue: false });
        self.step(Input::Revoking { id, partitions });
    }

    fn lose(&mut self, mask: u8) {
        let partitions: Vec<_> = chosen(mask).filter(|partition| self.owned.contains(partition)).collect();
        if partitions.is_empty() || self.pending.revoking.is_some() {
            return;
        }
        for partition in &partitions {
            self.owned.remove(partition);
            self.assigned.remove(partition);
        }
        self.step(Input::Lost { partitions });
    }

    pub(crate) fn acquire(&mut self, outcome: Outcome) {
        let Some((id, asked)) = self.pending.acquire.take() else { return };
        if !matches!(outcome, Outcome::Bad(_, false)) {
            self.database.owners.extend(asked.iter().map(|(partition, epoch)| (*partition, Some(*epoch))));
        }
        let granted = |(partition, epoch): &(Partition, _)| Acquired {
            partition: *partition,
            epoch: *epoch,
            ledger: self.ledger.get(partition).copied(),
            group: self.group.get(partition).copied(),
            log: self.bounds(*partition),
            end_seen: None,
            parked: self.database.parked_of(*partition),
        };
        let held = self.database.held(asked.iter().copied());
        let is_sound = |(partition, _): &&(Partition, _)| !self.database.broken.contains_key(partition);
        let input = match outcome {
            Outcome::Bad(fault, _) => {
                Input::PartitionsAcquired { id, result: Err(FailedBy { from: Dependency::Postgres, fault }) }
            }
            Outcome::Rejected(_) => {
                let partitions = asked.iter().skip(1).filter(is_sound).map(granted).collect();
                let held = held.into_iter().filter(|held| held.partition != asked[0].0).collect();
                Input::PartitionsAcquired { id, result: Ok(Taken { partitions, held }) }
            }
            Outcome::Good | Outcome::Refused(_) => {
                let partitions = asked.iter().filter(is_sound).map(granted).collect();
                Input::PartitionsAcquired { id, result: Ok(Taken { partitions, held }) }
            }
        };
        self.step(input);
    }

    pub(crate) fn move_offsets(&mut self, outcome: Outcome) {
        let Some((id, gaps)) = self.pending.moving.take() else { return };
        let is_carried_out = !matches!(outcome, Outcome::Bad(_, false));
        let is_refused = |world: &Self, gap: &OffsetGap| world.disowned.contains(&(gap.partition, gap.epoch));
        let refused = gaps.iter().filter(|gap| is_refused(self, gap)).map(|gap| gap.partition).collect();
        for gap in gaps.iter().filter(|_| is_carried_out) {
            if !is_refused(self, gap) {
                self.ledger.insert(gap.partition, gap.to);
                // What lies before it is given up, and that is on record.
                let log = &self.logs[gap.partition.0 as usize];
                let skipped = log.iter().filter(|message| message.offset < gap.to);
                self.durable.extend(skipped.map(|message| (message.partition, message.offset)));
            }
        }
        self.step(match outcome {
            Outcome::Bad(fault, _) => Input::OffsetsMoved { id, result: Err(fault) },
            Outcome::Good | Outcome::Rejected(_) | Outcome::Refused(_) => {
                Input::OffsetsMoved { id, result: Ok(refused) }
            }
        });
    }

    pub(crate) fn check_ledger(&mut self, outcome: Outcome) {
        let Some((id, asked)) = self.pending.check.take() else { return };
        if let Outcome::Bad(fault, _) = outcome {
            return self.step(Input::LedgerChecked { id, result: Err(fault) });
        }
        let (refused, ours): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|held| self.disowned.contains(held));
        let held = self.database.held(ours.into_iter());
        self.void(&held);
        for (partition, epoch) in &refused {
            self.disown(*partition, *epoch);
        }
        let refused = refused.into_iter().map(|(partition, _)| partition).collect();
        self.step(Input::LedgerChecked { id, result: Ok(LedgerCheck { refused, held }) });
    }

    /// Records expire whether or not they have been read. A consumer that was about to read them dies of it.
    fn expire_records(&mut self, partition: u8, count: u8) {
        let partition = u32::from(partition) % PARTITIONS;
        let log = &mut self.logs[partition as usize];
        let count = usize::from(count).min(log.len());
        let Some(last) = log.drain(..count).next_back() else { return };
        self.first[partition as usize] = last.offset + 1;
        let mut is_overtaken = false;
        if let Some(assigned) = self.assigned.get_mut(&Partition(partition)) {
            is_overtaken = assigned.next < count;
            assigned.next = assigned.next.saturating_sub(count);
        }
        if is_overtaken {
            self.consumer_fails(Fault::HistoryLost);
        }
    }

    /// The database is replaced by its copy, under a Syncer that runs.
    fn restore(&mut self) {
        let Some((ledger, durable, database)) = self.backup.clone() else { return };
        (self.ledger, self.durable, self.database) = (ledger, durable, database);
        // Whoever had a partition then has it no more.
        self.database.owners.clear();
        self.disowned.extend(self.assigned.iter().map(|(partition, assigned)| (*partition, assigned.epoch)));
        // What is being taken at this moment is taken in the copy.
        let moving = self.pending.moving.iter().flat_map(|(_, gaps)| gaps);
        self.disowned.extend(moving.map(|gap| (gap.partition, gap.epoch)));
    }

    pub(crate) fn finish_dead_letter(&mut self, which: u8, outcome: Outcome) {
        if self.pending.dead_letters.is_empty() {
            return;
        }
        let at = usize::from(which) % self.pending.dead_letters.len();
        let (id, row) = self.pending.dead_letters.remove(at);
        if let Outcome::Bad(fault, _) = outcome {
            return self.step(Input::DeadLettered { id, result: Err(fault) });
        }
        self.finish(&row);
        self.step(Input::DeadLettered { id, result: Ok(()) });
    }

    pub(crate) fn finish_commit(&mut self, outcome: Outcome) {
        let Some((id, offsets)) = self.pending.commit.take() else { return };
        let lost = offsets.iter().find(|commit| self.disowned.contains(&(commit.partition, commit.epoch)));
        let outcome = if lost.is_some() { Outcome::Refused(0) } else { outcome };
        let refused = match outcome {
            Outcome::Refused(_) if lost.is_some() => lost.cloned(),
            Outcome::Refused(which) => Some(offsets[usize::from(which) % offsets.len()].clone()),
            Outcome::Good | Outcome::Rejected(_) | Outcome::Bad(..) => None,
        };
        let is_refused = |partition| refused.as_ref().is_some_and(|commit| commit.partition == partition);
        let is_carried_out = !matches!(outcome, Outcome::Bad(_, false));
        for commit in &offsets {
            // Offsets of an assignment that is gone are no longer recorded by the ledger's fence.
            let is_ours =
                self.assigned.get(&commit.partition).is_some_and(|assigned| assigned.epoch == commit.epoch);
            let is_disowned = self.disowned.contains(&(commit.partition, commit.epoch));
            if is_carried_out && is_ours && !is_disowned && !is_refused(commit.partition) {
                let offset = *commit.offset.position();
                self.check_covered(commit.partition, offset);
                self.ledger.insert(commit.partition, offset);
                if matches!(outcome, Outcome::Good | Outcome::Rejected(_)) {
                    self.group.insert(commit.partition, offset);
                }
            }
        }
        if let Some(commit) = &refused {
            self.disown(commit.partition, commit.epoch);
        }
        self.step(match outcome {
            Outcome::Good | Outcome::Rejected(_) => Input::OffsetsCommitted { id, result: Ok(()) },
            Outcome::Refused(_) => Input::OffsetsCommitted {
                id,
                result: Err(CommitFailure {
                    from: Dependency::Postgres,
                    fault: Fault::Fenced,
                    refused: refused.map(|commit| commit.partition).into_iter().collect(),
                }),
            },
            Outcome::Bad(fault, _) => Input::OffsetsCommitted {
                id,
                result: Err(CommitFailure { from: Dependency::Kafka, fault, refused: Vec::new() }),
            },
        });
    }

    /// The ledger's row has another owner: what was polled of this assignment is void. The group may still
    /// count the partition as ours, and a later assignment is no matter of this refusal.
    pub(crate) fn disown(&mut self, partition: Partition, epoch: Epoch) {
        if self.assigned.get(&partition).is_some_and(|assigned| assigned.epoch == epoch) {
            self.assigned.remove(&partition);
        }
        self.disowned.remove(&(partition, epoch));
        if self.database.owners.get(&partition) == Some(&Some(epoch)) {
            self.database.owners.insert(partition, None);
        }
    }

    /// Nothing comes of what was polled of these.
    pub(crate) fn void(&mut self, holds: &[Hold]) {
        for Hold { partition, epoch, .. } in holds {
            if self.assigned.get(partition).is_some_and(|assigned| assigned.epoch == *epoch) {
                self.assigned.remove(partition);
            }
        }
    }

    fn expire_any(&mut self, which: u8) {
        if let Some(timer) = self.pending.timers.get(usize::from(which)).copied() {
            self.expire(|kind: TimerKind| kind == timer.kind);
        }
    }
}

fn chosen(mask: u8) -> impl Iterator<Item = Partition> {
    (0..PARTITIONS).filter(move |partition| mask & (1 << partition) != 0).map(Partition)
}
