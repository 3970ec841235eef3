//! The machine's orders, checked as they come.

use cdc_machine::{Cause, EffectId, Epoch, StateName};
use cdc_syncer::{
    Effect, FetchStart, HoldReason, OffsetCommit, OffsetPolicy, Partition, Row, StartOffset, WorkerId,
};

use super::{Assigned, Fate, Message, Retry, World, Write};

impl World {
    pub(crate) fn order(&mut self, effect: Effect<Message>) {
        match effect {
            Effect::JoinGroup { id } => {
                self.leave_group();
                assert_eq!(self.pending.join.replace(id), None);
            }
            Effect::LeaveGroup { id } => assert_eq!(self.pending.leave.replace(id), None),
            Effect::AcquirePartitions { id, partitions } => {
                assert!(!partitions.is_empty());
                for (partition, _) in &partitions {
                    assert!(self.owned.contains(partition), "a partition is acquired that is not ours");
                }
                assert!(self.pending.acquire.replace((id, partitions)).is_none());
            }
            Effect::MoveOffsets { id, gaps } => {
                for gap in &gaps {
                    let log = self.bounds(gap.partition);
                    assert!(self.owned.contains(&gap.partition));
                    assert!(self.config.offset_reset != OffsetPolicy::Stop);
                    assert!(gap.to <= log.end, "what is not there yet is not skipped");
                }
                assert!(!gaps.is_empty() && self.pending.moving.replace((id, gaps)).is_none());
            }
            Effect::CheckLedger { id, partitions } => {
                assert!(self.pending.check.replace((id, partitions)).is_none(), "one question at a time");
            }
            Effect::StartFetching { starts } => starts.into_iter().for_each(|start| self.start(start)),
            Effect::StopFetching { partitions } => {
                for partition in partitions {
                    assert!(self.owned.contains(&partition), "a partition is stopped that is not ours");
                    assert!(self.machine.holds().contains_key(&partition), "for no reason");
                    self.assigned.remove(&partition);
                }
            }
            Effect::Fetch { max_records, max_bytes } => {
                assert!(max_records > 0 && max_bytes > 0 && !self.is_paused);
                assert_eq!(self.pending.fetch.replace((max_records, max_bytes)), None, "one fetch at a time");
            }
            Effect::Pause => {
                self.is_paused = true;
                self.pending.fetch = None;
            }
            Effect::Resume => self.is_paused = false,
            Effect::ConfirmRevoked { id } => self.confirm(id),
            Effect::WriteBatch { worker, id, batch, parking } => {
                self.write(Write { worker, id, batch, parking });
            }
            Effect::RetryParked { worker, id, partitions, given_up } => {
                // Nothing that is parked here fails for a reason of its own.
                assert_eq!(given_up, []);
                self.retry(worker, id, partitions);
            }
            Effect::DeadLetter { id, row, .. } => {
                assert!(!self.must_trip, "a dead letter after the record that was one too many");
                assert_eq!(
                    self.fate_mut(&row).copied(),
                    Some(Fate::Rejected),
                    "a dead letter is a rejected row"
                );
                assert!(self.pending.dead_letters.iter().all(|(_, other)| *other != row));
                self.pending.dead_letters.push((id, row));
            }
            Effect::Skip { row, .. } => self.finish(&row),
            Effect::CommitOffsets { id, offsets } => {
                for commit in &offsets {
                    self.check_commit(commit);
                }
                assert!(self.pending.commit.replace((id, offsets)).is_none(), "one commit at a time");
            }
            Effect::SetTimer { timer, .. } => {
                self.pending.timers.retain(|set| set.kind != timer.kind);
                self.pending.timers.push(timer);
            }
            Effect::CancelTimer { timer } => {
                let before = self.pending.timers.len();
                self.pending.timers.retain(|set| *set != timer);
                assert!(self.pending.timers.len() < before, "a timer is cancelled that does not run");
            }
            Effect::Stop { cause } => {
                self.stops.push(cause);
                assert_eq!(self.machine.state(), StateName::Stopped);
                let at = self.machine.stopped_at().map(|(row, ..)| row.clone());
                assert_eq!(at.is_some(), cause == Cause::BadRecord);
                let fate = at.and_then(|row| self.fate_mut(&row).copied());
                assert!(fate.is_none_or(|fate| fate == Fate::Rejected), "a good row ends the service");
            }
            request => {
                let is_out = self.pending.plain.iter().any(|out| out.name() == request.name());
                assert!(!is_out, "{request} is asked twice");
                self.pending.plain.push(request);
            }
        }
    }

    /// The row is off the machine's hands, durably.
    pub(crate) fn finish(&mut self, row: &Row<Message>) {
        self.durable.insert((row.handle.partition, row.handle.offset));
        if let Some(fate) = self.fate_mut(row) {
            assert_ne!(*fate, Fate::Done, "a record is settled once in an assignment");
            *fate = Fate::Done;
        }
    }

    fn start(&mut self, FetchStart { partition, epoch, offset }: FetchStart) {
        assert!(self.owned.contains(&partition), "a partition is fetched that is not ours");
        let from = match (self.ledger.get(&partition), offset) {
            (None, StartOffset::Beginning) => 0,
            (Some(ledger), StartOffset::At(at)) => {
                assert!(at <= *ledger, "nothing is skipped");
                at
            }
            (ledger, offset) => panic!("{ledger:?} in the ledger, and the start is {offset:?}"),
        };
        let next = self.logs[partition.0 as usize].partition_point(|message| message.offset < from);
        self.assigned.insert(partition, Assigned { epoch, next, polled: Default::default() });
    }

    fn retry(&mut self, worker: WorkerId, id: EffectId, partitions: Vec<(Partition, Epoch)>) {
        assert!(!partitions.is_empty(), "a retry is of some partition");
        self.check_free(worker);
        for (partition, epoch) in &partitions {
            let is_read = self.assigned.get(partition).is_some_and(|assigned| assigned.epoch == *epoch);
            let held = self.machine.holds().get(partition);
            assert!(
                is_read || held.is_some_and(|held| held.reason == HoldReason::ParkedFull),
                "parked rows of an assignment that is gone are not tried"
            );
        }
        self.pending.retries.push(Retry { worker, id, partitions });
    }

    fn check_free(&self, worker: WorkerId) {
        assert!(
            self.pending.writes.iter().all(|write| write.worker != worker)
                && self.pending.retries.iter().all(|retry| retry.worker != worker),
            "one job in flight for each worker"
        );
    }

    fn write(&mut self, write: Write) {
        let worker = write.worker;
        self.check_free(worker);
        let rows = write.batch.rows();
        assert!(!rows.is_empty() && rows.len() <= self.config.buffer_size as usize);
        let bytes: u64 = rows.iter().map(|row| u64::from(row.bytes)).sum();
        assert!(rows.len() == 1 || bytes <= self.config.buffer_bytes);
        for row in rows {
            assert_eq!((row.partition.0, row.offset), (row.handle.partition, row.handle.offset));
            // Of one key, whatever came before is off the machine's hands or earlier in this very batch.
            let assigned =
                self.assigned.get_mut(&row.partition).filter(|assigned| assigned.epoch == row.epoch);
            let assigned = assigned.expect("rows of an assignment that is gone are not written");
            for (message, fate) in assigned.polled.range(..row.offset).map(|(_, polled)| polled) {
                assert!(
                    message.key != row.handle.key
                        || matches!(fate, Fate::Rejected | Fate::Done)
                        || *fate == Fate::Writing(worker),
                    "{message:?} is overtaken"
                );
            }
            let fate = self.fate_mut(row).expect("a row was polled");
            assert_eq!(*fate, Fate::Waiting, "a row is written by one batch at a time");
            *fate = Fate::Writing(worker);
        }
        self.workers_used.insert(worker);
        self.pending.writes.push(write);
    }

    /// Committed ≤ written without a gap: in this assignment, and in the log.
    fn check_commit(&self, commit: &OffsetCommit) {
        let offset = *commit.offset.position();
        let assigned = self.assigned.get(&commit.partition).filter(|assigned| assigned.epoch == commit.epoch);
        let assigned = assigned.expect("an offset is committed of an assignment that is gone");
        assert!(assigned.polled.range(..offset).all(|(_, (_, fate))| *fate == Fate::Done));
        if !self.disowned.contains(&(commit.partition, commit.epoch)) {
            self.check_covered(commit.partition, offset);
        }
    }

    /// Nothing below a recorded offset is missing.
    pub(crate) fn check_covered(&self, partition: Partition, offset: i64) {
        for message in self.logs[partition.0 as usize].iter().filter(|message| message.offset < offset) {
            assert!(self.durable.contains(&(partition.0, message.offset)), "{message:?} is lost");
        }
    }

    fn confirm(&mut self, id: EffectId) {
        let revoking = self.pending.revoking.take().expect("a revocation is confirmed once");
        assert_eq!(revoking.id, id);
        for partition in revoking.partitions {
            let recorded = self.ledger.get(&partition).copied().unwrap_or(0);
            if let Some(assigned) = self.assigned.remove(&partition) {
                let is_disowned = self.disowned.contains(&(partition, assigned.epoch));
                let is_recorded = is_disowned || assigned.polled.keys().all(|offset| *offset < recorded);
                assert!(is_recorded || revoking.is_overdue, "confirmed before all of it is committed");
            }
            self.owned.remove(&partition);
        }
    }
}
