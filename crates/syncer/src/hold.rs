//! Partitions whose table cannot be written as a whole. They stop being read, everything else goes on, and their
//! table is looked at again from time to time, as part of taking their rows in the ledger: before a record is read.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Cause, Epoch};

use crate::partitions::{Assignment, Partitions, Stage};
use crate::state::State;
use crate::turn::Turn;
use crate::{Effect, OnTableError, Partition, TimerKind};

/// How long until a table that a person has to mend is looked at again.
const LOOK_WAIT: Duration = Duration::from_secs(30);

/// How long until a table is looked at again where only another session's lock is in the way.
const LOCKED_WAIT: Duration = Duration::from_secs(3);

/// Why a table cannot be written: a closed list, the label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HoldReason {
    /// It has no column for the position yet, and another session's lock keeps it from being added.
    Locked,
    /// It has no column for the position, and somebody else has to add it.
    NotFenced,
    /// It is claimed for another collection or by another consumer group.
    Claimed,
    /// It is not there, and may not be made.
    TableMissing,
    /// It was there, and is gone.
    TableDropped,
    /// Another table has its name now.
    TableReplaced,
    /// It is unlogged, and a crash of the server has emptied it.
    TableEmptied,
    /// Its shape does not allow it.
    Unwritable,
    /// The name is longer than PostgreSQL keeps.
    NameTooLong,
}

impl HoldReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Locked,
        Self::NotFenced,
        Self::Claimed,
        Self::TableMissing,
        Self::TableDropped,
        Self::TableReplaced,
        Self::TableEmptied,
        Self::Unwritable,
        Self::NameTooLong,
    ];

    /// The label in logs, metrics and on the status page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::NotFenced => "not_fenced",
            Self::Claimed => "claimed",
            Self::TableMissing => "table_missing",
            Self::TableDropped => "table_dropped",
            Self::TableReplaced => "table_replaced",
            Self::TableEmptied => "table_emptied",
            Self::Unwritable => "unwritable",
            Self::NameTooLong => "name_too_long",
        }
    }

    /// True where time alone mends it.
    pub(crate) const fn is_passing(self) -> bool {
        matches!(self, Self::Locked)
    }

    const fn timer(self) -> TimerKind {
        if self.is_passing() { TimerKind::LockedTable } else { TimerKind::HeldTable }
    }
}

/// A partition whose table cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Which partition.
    pub partition: Partition,
    /// The assignment.
    pub epoch: Epoch,
    /// Why.
    pub reason: HoldReason,
    /// The table, what is wrong with it and the way out, for people.
    pub detail: Arc<str>,
}

/// Why a partition is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Why.
    pub reason: HoldReason,
    /// The table, what is wrong with it and the way out, for people.
    pub detail: Arc<str>,
}

/// The partitions that are held, those included whose table is being looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Holds {
    entries: BTreeMap<Partition, Held>,
}

impl Holds {
    pub(crate) const fn entries(&self) -> &BTreeMap<Partition, Held> {
        &self.entries
    }

    /// Forgets those that are served again or gone.
    fn prune(&mut self, partitions: &Partitions) {
        self.entries.retain(|partition, _| {
            partitions.get(*partition).is_some_and(|assignment| assignment.window().is_none())
        });
    }

    /// Those that wait for this timer.
    fn waiting_for(&self, timer: TimerKind, partitions: &Partitions) -> Vec<Partition> {
        let waits = |partition| {
            partitions.get(partition).is_some_and(|assignment| matches!(assignment.stage, Stage::Held))
        };
        let of_timer = self.entries.iter().filter(|(_, held)| held.reason.timer() == timer);
        of_timer.map(|(partition, _)| *partition).filter(|partition| waits(*partition)).collect()
    }
}

impl<R: Clone> Turn<'_, R> {
    /// Nothing of these was written. Drops what was read of them and has them fetched no longer.
    pub(crate) fn hold(&mut self, state: State, holds: Vec<Hold>) -> Result<(), Cause> {
        let mut stopped = Vec::new();
        for Hold { partition, epoch, reason, detail } in holds {
            if !self.is_held_from_now_on(state, partition, epoch) {
                continue;
            }
            let is_new = self.facts.holds.entries.insert(partition, Held { reason, detail }).is_none();
            if is_new {
                stopped.push(partition);
            }
            if self.config.on_table_error == OnTableError::Stop && !reason.is_passing() {
                return Err(Cause::TableUnwritable);
            }
        }
        self.facts.drop_stale_rows();
        if !stopped.is_empty() {
            self.out.push(Effect::StopFetching { partitions: stopped });
        }
        Ok(())
    }

    /// A new assignment, so that rows of the old one that are still in somebody's hands settle nothing. One that is
    /// on its way back to the group just ends: its next owner looks for itself.
    fn is_held_from_now_on(&mut self, state: State, partition: Partition, epoch: Epoch) -> bool {
        let Some(assignment) = self.facts.partitions.get_mut(partition, epoch) else { return false };
        match assignment.stage {
            Stage::Acquiring => {
                assignment.stage = Stage::Held;
                true
            }
            Stage::Serving(_) if state.has_consumer() => {
                let epoch = self.facts.new_epoch();
                self.facts.partitions.hold(partition, epoch);
                true
            }
            Stage::Serving(_) | Stage::Revoking(_) => {
                self.facts.partitions.remove(partition);
                false
            }
            Stage::Waiting | Stage::Moving | Stage::Held => false,
        }
    }

    /// The tables that waited for this timer are looked at again.
    pub(crate) fn on_look_due(&mut self, timer: TimerKind) {
        for partition in self.facts.holds.waiting_for(timer, &self.facts.partitions) {
            if let Some(Assignment { stage, .. }) = self.facts.partitions.current_mut(partition) {
                *stage = Stage::Waiting;
            }
        }
    }

    /// Sees that a timer runs exactly while tables wait to be looked at again.
    pub(crate) fn time_holds(&mut self) {
        self.facts.holds.prune(&self.facts.partitions);
        for (timer, wait) in [(TimerKind::HeldTable, LOOK_WAIT), (TimerKind::LockedTable, LOCKED_WAIT)] {
            if self.facts.holds.waiting_for(timer, &self.facts.partitions).is_empty() {
                self.cancel_timer(timer);
            } else if !self.facts.timers.is_running(timer) {
                self.set_timer(timer, wait);
            }
        }
    }
}
