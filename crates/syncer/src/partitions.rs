use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cdc_machine::{Epoch, SeqNo};

use crate::window::Window;
use crate::{OffsetGap, Partition, Row, Topic};

/// The partitions that the group has given us, each with its present assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Partitions {
    assigned: BTreeMap<Partition, Assignment>,
    /// Which topic each partition is of that was ever ours.
    topics: BTreeMap<Partition, Topic>,
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

/// What became of a polled record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Opened(SeqNo),
    /// Of an assignment that is gone or going.
    Stale,
    /// Not above the offsets before it.
    OutOfOrder,
}

impl Partitions {
    /// Enters an assignment, in place of any before it.
    pub(crate) fn assign(&mut self, partition: Partition, epoch: Epoch) {
        self.assigned.insert(partition, Assignment { epoch, stage: Stage::Waiting });
    }

    /// Notes which topic the partition is of.
    pub(crate) fn enter(&mut self, partition: Partition, topic: Topic) {
        self.topics.insert(partition, topic);
    }

    pub(crate) fn topic(&self, partition: Partition) -> Option<Topic> {
        self.topics.get(&partition).copied()
    }

    /// The assigned partitions of a topic, with their assignments.
    pub(crate) fn of_topic(&self, topic: Topic) -> impl Iterator<Item = (Partition, Epoch)> {
        let is_of = move |partition: &Partition| self.topic(*partition) == Some(topic);
        let of = self.assigned.iter().filter(move |(partition, _)| is_of(partition));
        of.map(|(partition, assignment)| (*partition, assignment.epoch))
    }

    /// From now on the assignment accepts nothing more.
    pub(crate) fn revoke(&mut self, partition: Partition, epoch: Epoch, window: Window) {
        self.assigned.insert(partition, Assignment { epoch, stage: Stage::Revoking(window) });
    }

    /// Enters an assignment whose table cannot be written, in place of any before it.
    pub(crate) fn hold(&mut self, partition: Partition, epoch: Epoch) {
        self.assigned.insert(partition, Assignment { epoch, stage: Stage::Held });
    }

    pub(crate) fn remove(&mut self, partition: Partition) -> Option<Assignment> {
        self.assigned.remove(&partition)
    }

    /// The assignment, unless it is another one by now.
    pub(crate) fn get_mut(&mut self, partition: Partition, epoch: Epoch) -> Option<&mut Assignment> {
        self.assigned.get_mut(&partition).filter(|assignment| assignment.epoch == epoch)
    }

    /// The present assignment, whichever it is.
    pub(crate) fn current_mut(&mut self, partition: Partition) -> Option<&mut Assignment> {
        self.assigned.get_mut(&partition)
    }

    pub(crate) fn get(&self, partition: Partition) -> Option<&Assignment> {
        self.assigned.get(&partition)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Partition, &Assignment)> {
        self.assigned.iter().map(|(partition, assignment)| (*partition, assignment))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Partition, &mut Assignment)> {
        self.assigned.iter_mut().map(|(partition, assignment)| (*partition, assignment))
    }

    pub(crate) fn clear(&mut self) {
        self.assigned.clear();
    }

    /// Forgets the assignments that have read nothing.
    pub(crate) fn clear_unserved(&mut self) {
        self.assigned.retain(|_, assignment| assignment.window().is_some());
    }

    pub(crate) fn open(&mut self, partition: Partition, epoch: Epoch, offset: i64, bytes: u32) -> Admission {
        match self.get_mut(partition, epoch) {
            Some(Assignment { stage: Stage::Serving(window), .. }) => {
                window.open(offset, bytes).map_or(Admission::OutOfOrder, Admission::Opened)
            }
            Some(_) | None => Admission::Stale,
        }
    }

    /// Settles a row's slot; false where the assignment is gone.
    pub(crate) fn settle<R>(&mut self, row: &Row<R>) -> bool {
        match self.get_mut(row.partition, row.epoch) {
            Some(Assignment { stage: Stage::Serving(window) | Stage::Revoking(window), .. }) => {
                window.settle(row.seq) == cdc_machine::Settlement::Settled
            }
            Some(_) | None => false,
        }
    }

    /// True while the row's assignment lasts.
    pub(crate) fn is_live<R>(&self, row: &Row<R>) -> bool {
        self.assigned.get(&row.partition).is_some_and(|assignment| {
            let is_ours = assignment.window().is_some() || matches!(assignment.stage, Stage::Full);
            assignment.epoch == row.epoch && is_ours
        })
    }

    pub(crate) fn windows(&self) -> impl Iterator<Item = &Window> {
        self.assigned.values().filter_map(Assignment::window)
    }

    pub(crate) fn is_serving_any(&self) -> bool {
        self.assigned.values().any(|assignment| matches!(assignment.stage, Stage::Serving(_)))
    }

    /// True where a partition is not being given back.
    pub(crate) fn is_keeping_any(&self) -> bool {
        self.assigned.values().any(|assignment| !matches!(assignment.stage, Stage::Revoking(_)))
    }

    /// Those whose row in the ledger is to be taken; they count as asked for from now on.
    pub(crate) fn ask_waiting(&mut self) -> Vec<(Partition, Epoch)> {
        let mut asked = Vec::new();
        for (partition, assignment) in self.iter_mut() {
            if matches!(assignment.stage, Stage::Waiting) {
                assignment.stage = Stage::Acquiring;
                asked.push((partition, assignment.epoch));
            }
        }
        asked
    }

    pub(crate) fn is_any_waiting(&self) -> bool {
        self.assigned.values().any(|assignment| matches!(assignment.stage, Stage::Waiting))
    }

    /// Whatever was asked for and not granted is to be asked for again. True where there was any.
    pub(crate) fn unask(&mut self) -> bool {
        self.unask_except(&[])
    }

    /// The same, but for those whose gaps are to be recorded first.
    pub(crate) fn unask_except(&mut self, gaps: &[OffsetGap]) -> bool {
        let mut any = false;
        for (partition, assignment) in &mut self.assigned {
            if !matches!(assignment.stage, Stage::Acquiring | Stage::Moving) {
                continue;
            }
            let is_moving =
                gaps.iter().any(|gap| gap.partition == *partition && gap.epoch == assignment.epoch);
            assignment.stage = if is_moving { Stage::Moving } else { Stage::Waiting };
            any |= !is_moving;
        }
        any
    }

    /// Records from poll to offset commit.
    pub(crate) fn records(&self) -> u64 {
        self.windows().map(Window::records).sum()
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.windows().map(Window::bytes).sum()
    }

    /// Records that are neither written nor settled otherwise.
    pub(crate) fn unsettled(&self) -> u64 {
        self.windows().map(Window::unsettled).sum()
    }
}

impl Assignment {
    pub(crate) const fn window(&self) -> Option<&Window> {
        match &self.stage {
            Stage::Serving(window) | Stage::Revoking(window) => Some(window),
            Stage::Waiting | Stage::Acquiring | Stage::Moving | Stage::Held | Stage::Full => None,
        }
    }
}
