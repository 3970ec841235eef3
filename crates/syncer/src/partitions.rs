//! The partitions that the group has given us: each assignment is an epoch of its own, with a window of what was read
//! under it. Somebody else's claim ends it; where the group still counts the partition as ours, another one begins.

mod window;

use alloc::collections::BTreeMap;
use core::mem;

use cdc_machine::{Cause, Epoch, Plant, SeqNo, planted};

pub(crate) use self::window::Window;
use crate::{Partition, Record, Row, Topic};

/// The partitions, each with its present assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Partitions {
    assigned: BTreeMap<Partition, Assignment>,
    /// Which topic each partition is of that was ever ours.
    topics: BTreeMap<Partition, Topic>,
    next_epoch: Epoch,
    /// Whether a consumer belongs to us or is about to: its assignments count. Not so from a drain on.
    is_member: bool,
    /// Whether rows may be waiting for assignments that are gone.
    has_lost: bool,
    /// How many records and rows were dropped because their assignment was gone or going.
    stale_records: u64,
}

/// One assignment of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Assignment {
    pub(crate) epoch: Epoch,
    pub(crate) stage: Stage,
}

/// How far an assignment has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Its row in the ledger is to be taken.
    Waiting,
    /// Its row in the ledger has been asked for.
    Acquiring,
    /// Its gap is being recorded.
    Moving,
    /// It cannot be written: nothing is read until it is looked at again.
    Held,
    /// Its row in the ledger is ours and nothing is read, since too many of its topic's rows are parked: these are
    /// tried again.
    Full,
    /// Its records are read.
    Serving(Window),
    /// The group wants it back: nothing more is read, what was read is settled.
    Revoking(Window),
}

/// What is in hand, over all assignments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InHand {
    /// Records from poll to offset commit.
    pub(crate) records: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Records that are neither written nor settled otherwise.
    pub(crate) unsettled: u64,
}

impl Partitions {
    /// The group is being joined: what it gives from now on is ours.
    pub(crate) const fn join(&mut self) {
        self.is_member = true;
    }

    pub(crate) const fn is_member(&self) -> bool {
        self.is_member
    }

    /// A new assignment, in place of any before it.
    pub(crate) fn assign(&mut self, partition: Partition, topic: Topic) {
        self.topics.insert(partition, topic);
        self.begin(partition, Stage::Waiting);
    }

    /// Ends the partition's assignment; false where there is none.
    pub(crate) fn lose(&mut self, partition: Partition) -> bool {
        let is_lost = self.assigned.remove(&partition).is_some();
        self.has_lost |= is_lost;
        is_lost
    }

    /// The consumer is dead, and with it every assignment.
    pub(crate) fn lose_all(&mut self) {
        self.assigned.clear();
        self.is_member = false;
        self.has_lost = true;
    }

    /// Takes nothing on from now on, and forgets the assignments that have read nothing.
    pub(crate) fn begin_draining(&mut self) {
        self.is_member = false;
        self.assigned.retain(|_, assignment| assignment.window().is_some());
    }

    /// From now on the assignment accepts nothing more. Returns it where there is something to settle.
    pub(crate) fn revoke(&mut self, partition: Partition) -> Option<(Partition, Epoch)> {
        let Assignment { epoch, stage } = self.assigned.remove(&partition)?;
        let (Stage::Serving(window) | Stage::Revoking(window)) = stage else { return None };
        let stage = Stage::Revoking(window);
        self.assigned.insert(partition, Assignment { epoch, stage });
        Some((partition, epoch))
    }

    /// Somebody else owns the partition's row in the ledger. Drops what was read of this assignment; true where there
    /// was any. Where the group still counts the partition as ours, its row is taken again.
    pub(crate) fn drop_assignment(&mut self, partition: Partition, epoch: Epoch) -> bool {
        let Some(assignment) = self.current(partition, epoch) else { return false };
        match assignment.stage {
            Stage::Waiting | Stage::Acquiring | Stage::Moving | Stage::Held => return false,
            Stage::Serving(_) | Stage::Full if self.is_member => self.begin(partition, Stage::Waiting),
            Stage::Serving(_) | Stage::Full | Stage::Revoking(_) => drop(self.lose(partition)),
        }
        true
    }

    /// It cannot be written. A new assignment, so that rows of the old one that are still in somebody's hands settle
    /// nothing. One that is on its way back to the group just ends: its next owner looks for itself.
    pub(crate) fn hold(&mut self, partition: Partition, epoch: Epoch) -> bool {
        let is_member = self.is_member;
        let Some(assignment) = self.get_mut(partition, epoch) else { return false };
        match assignment.stage {
            Stage::Acquiring => assignment.stage = Stage::Held,
            Stage::Serving(_) | Stage::Full if is_member => self.begin(partition, Stage::Held),
            Stage::Serving(_) | Stage::Full | Stage::Revoking(_) => {
                self.lose(partition);
                return false;
            }
            Stage::Waiting | Stage::Moving | Stage::Held => return false,
        }
        true
    }

    /// The assignment is at another stage now, unless it is another assignment by now.
    pub(crate) fn set_stage(&mut self, partition: Partition, epoch: Epoch, stage: Stage) {
        if let Some(assignment) = self.get_mut(partition, epoch) {
            assignment.stage = stage;
        }
    }

    pub(crate) fn is_at(&self, stage: Stage, partition: Partition, epoch: Epoch) -> bool {
        self.get(partition) == Some(&Assignment { epoch, stage })
    }

    /// True once after assignments have gone: rows that wait for them are of no use any more.
    pub(crate) const fn take_losses(&mut self) -> bool {
        mem::replace(&mut self.has_lost, false)
    }

    pub(crate) fn topic(&self, partition: Partition) -> Option<Topic> {
        self.topics.get(&partition).copied()
    }

    /// The present assignment, whichever it is.
    pub(crate) fn get(&self, partition: Partition) -> Option<&Assignment> {
        self.assigned.get(&partition)
    }

    /// The same, where it is this one.
    pub(crate) fn current(&self, partition: Partition, epoch: Epoch) -> Option<&Assignment> {
        self.get(partition).filter(|assignment| assignment.epoch == epoch)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Partition, &mut Assignment)> {
        self.assigned.iter_mut().map(|(partition, assignment)| (*partition, assignment))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Partition, &Assignment)> {
        self.assigned.iter().map(|(partition, assignment)| (*partition, assignment))
    }

    /// True while the row's assignment lasts.
    pub(crate) fn is_live<R>(&self, row: &Row<R>) -> bool {
        self.current(row.partition, row.epoch).is_some_and(|assignment| {
            assignment.window().is_some() || matches!(assignment.stage, Stage::Full)
        })
    }

    /// The polled record's slot; `None` where its assignment is gone or going.
    pub(crate) fn open<R>(&mut self, record: &Record<R>) -> Result<Option<SeqNo>, Cause> {
        let assignment = self.get_mut(record.partition, record.epoch);
        let Some(Assignment { stage: Stage::Serving(window), .. }) = assignment else {
            self.stale_records += 1;
            return Ok(None);
        };
        let seq = window.open(record.offset, record.bytes);
        if planted(Plant::CommitBeforeWrite) {
            seq.map(|seq| window.settle(seq));
        }
        seq.map(Some).ok_or(Cause::Invariant("a partition's offsets rise within an assignment"))
    }

    pub(crate) fn window_mut(&mut self, partition: Partition, epoch: Epoch) -> Option<&mut Window> {
        let present = self.get(partition).filter(|_| planted(Plant::OldAssignment));
        let epoch = present.map_or(epoch, |assignment| assignment.epoch);
        let stage = &mut self.get_mut(partition, epoch)?.stage;
        if let Stage::Serving(window) | Stage::Revoking(window) = stage { Some(window) } else { None }
    }

    pub(crate) fn in_hand(&self) -> InHand {
        let mut sum = InHand::default();
        for window in self.assigned.values().filter_map(Assignment::window) {
            sum.records += window.records();
            sum.bytes += window.bytes();
            sum.unsettled += window.unsettled();
        }
        sum
    }

    /// These were of assignments that are gone or going.
    pub(crate) const fn ignore_records(&mut self, records: u64) {
        self.stale_records += records;
    }

    pub(crate) const fn stale_records(&self) -> u64 {
        self.stale_records
    }

    fn begin(&mut self, partition: Partition, stage: Stage) {
        let epoch = self.next_epoch;
        self.next_epoch = Epoch(epoch.0 + 1);
        self.has_lost |= self.assigned.insert(partition, Assignment { epoch, stage }).is_some();
    }

    fn get_mut(&mut self, partition: Partition, epoch: Epoch) -> Option<&mut Assignment> {
        self.assigned.get_mut(&partition).filter(|assignment| assignment.epoch == epoch)
    }
}

impl Assignment {
    pub(crate) const fn window(&self) -> Option<&Window> {
        if let Stage::Serving(window) | Stage::Revoking(window) = &self.stage { Some(window) } else { None }
    }

    pub(crate) fn situation(&self) -> [u64; 4] {
        let stage = match self.stage {
            Stage::Waiting => 1,
            Stage::Acquiring => 2,
            Stage::Serving(_) => 3,
            Stage::Revoking(_) => 4,
            Stage::Moving => 5,
            Stage::Held => 6,
            Stage::Full => 7,
        };
        let Some(window) = self.window() else { return [stage, 0, 0, 0] };
        [stage, window.records(), window.unsettled(), u64::from(window.unsaved().is_some())]
    }

    /// True where its row in the ledger is ours, and nobody wants it back.
    pub(crate) const fn is_served(&self) -> bool {
        matches!(self.stage, Stage::Serving(_) | Stage::Full)
    }

    /// True while it waits to be looked at again.
    pub(crate) const fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Held | Stage::Full)
    }
}
