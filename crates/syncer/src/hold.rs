//! Partitions of topics that cannot be written as a whole. They stop being read, everything else goes on, and they are
//! looked at again from time to time. A table is, as part of taking the partition's row in the ledger: before a record is
//! read. Where too many records were bad, a few are tried (`breakers`); where too many rows are parked, these are, until
//! they are fewer.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Cause, Epoch};

use crate::partitions::{Assignment, Partitions, Stage};
use crate::state::State;
use crate::turn::Turn;
use crate::{Effect, OnTableError, Partition, TimerKind, Topic};

/// How long until what a person has to mend is looked at again.
const LOOK_WAIT: Duration = Duration::from_secs(30);

/// How long until a table is looked at again where only another session's lock is in the way.
const LOCKED_WAIT: Duration = Duration::from_secs(3);

/// Why a topic cannot be written: a closed list, the label of the metric.
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
    /// So many of the topic's last records are bad that to go on would empty it into the dead letters.
    TooManyBadRecords,
    /// As many of the topic's rows are parked as may be.
    ParkedFull,
    /// The role lacks a privilege on it, or on something that it needs.
    NoPrivilege,
}

impl HoldReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Locked,
        Self::NotFenced,
        Self::Claimed,
        Self::TableMissing,
        Self::TableDropped,
        Self::TableReplaced,
        Self::TableEmptied,
        Self::Unwritable,
        Self::NameTooLong,
        Self::TooManyBadRecords,
        Self::ParkedFull,
        Self::NoPrivilege,
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
            Self::TooManyBadRecords => "too_many_bad_records",
            Self::ParkedFull => "parked_full",
            Self::NoPrivilege => "no_privilege",
        }
    }

    /// True where time alone mends it: no policy ends the service for it.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Locked)
    }

    /// Why the service ends, where that is the policy.
    const fn cause(self) -> Cause {
        match self {
            Self::TooManyBadRecords => Cause::TooManyBadRecords,
            Self::ParkedFull => Cause::ParkedFull,
            Self::Locked
            | Self::NotFenced
            | Self::Claimed
            | Self::TableMissing
            | Self::TableDropped
            | Self::TableReplaced
            | Self::TableEmptied
            | Self::Unwritable
            | Self::NameTooLong
            | Self::NoPrivilege => Cause::TableUnwritable,
        }
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
    /// The topics of which too many rows were parked when they were looked at last, with what is said of that.
    full: BTreeMap<Topic, Arc<str>>,
}

impl Holds {
    pub(crate) const fn entries(&self) -> &BTreeMap<Partition, Held> {
        &self.entries
    }

    pub(crate) fn is_any_full(&self) -> bool {
        !self.full.is_empty()
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
            partitions
                .get(partition)
                .is_some_and(|assignment| matches!(assignment.stage, Stage::Held | Stage::Full))
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
                return Err(reason.cause());
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
            Stage::Serving(_) | Stage::Full if state.has_consumer() => {
                let epoch = self.facts.new_epoch();
                self.facts.partitions.hold(partition, epoch);
                true
            }
            Stage::Serving(_) | Stage::Full | Stage::Revoking(_) => {
                self.facts.partitions.remove(partition);
                false
            }
            Stage::Waiting | Stage::Moving | Stage::Held => false,
        }
    }

    /// All partitions of a topic. Those that wait or move may get to being served: it shows again then.
    pub(crate) fn hold_topic(
        &mut self,
        state: State,
        topic: Topic,
        reason: HoldReason,
        detail: &Arc<str>,
    ) -> Result<(), Cause> {
        let partitions = self.facts.partitions.of_topic(topic);
        let hold = |(partition, epoch)| Hold { partition, epoch, reason, detail: Arc::clone(detail) };
        let holds = partitions.map(hold).collect();
        self.hold(state, holds)
    }

    /// Too many of the topic's rows are parked. Its partitions' rows in the ledger are taken anew at once, so that the
    /// parked rows are tried again while nothing is read.
    pub(crate) fn hold_full(&mut self, state: State, topic: Topic, why: &str) -> Result<(), Cause> {
        let rows = self.facts.parked.rows_of(topic, &self.facts.partitions);
        let detail: Arc<str> = Arc::from(format!(
            "{rows} rows are parked, as many as parked.max_rows allows; the last one: {why}. Each entry of cdc.parked \
             waits for other rows, and its constraint_name says of which constraint: correct the rows in the way, drop \
             the constraint, or raise parked.max_rows"
        ));
        self.facts.holds.full.insert(topic, Arc::clone(&detail));
        self.hold_topic(state, topic, HoldReason::ParkedFull, &detail)?;
        self.take_anew(topic);
        Ok(())
    }

    fn take_anew(&mut self, topic: Topic) {
        let held: Vec<(Partition, Epoch)> = self.facts.partitions.of_topic(topic).collect();
        for (partition, epoch) in held {
            if let Some(assignment @ Assignment { stage: Stage::Held, .. }) =
                self.facts.partitions.get_mut(partition, epoch)
            {
                assignment.stage = Stage::Waiting;
            }
        }
    }

    /// True where too many rows of the partition's topic were parked, and still are: it is not read yet.
    pub(crate) fn is_kept_full(&mut self, partition: Partition, epoch: Epoch) -> bool {
        let Some(topic) = self.facts.partitions.topic(partition) else { return false };
        if !self.is_full(topic) {
            self.facts.holds.full.remove(&topic);
        }
        let Some(detail) = self.facts.holds.full.get(&topic) else { return false };
        let held = Held { reason: HoldReason::ParkedFull, detail: Arc::clone(detail) };
        self.facts.holds.entries.insert(partition, held);
        if let Some(assignment) = self.facts.partitions.get_mut(partition, epoch) {
            assignment.stage = Stage::Full;
        }
        true
    }

    /// True where as many of the topic's rows are parked as may be.
    pub(crate) fn is_full(&self, topic: Topic) -> bool {
        self.facts.parked.rows_of(topic, &self.facts.partitions) >= self.config.max_parked_rows
    }

    /// What waited for this timer is looked at again.
    pub(crate) fn on_look_due(&mut self, timer: TimerKind) {
        let full = self.facts.holds.full.keys();
        let freed: Vec<Topic> = full.copied().filter(|topic| !self.is_full(*topic)).collect();
        for partition in self.facts.holds.waiting_for(timer, &self.facts.partitions) {
            let is_freed = self.facts.partitions.topic(partition).is_some_and(|topic| freed.contains(&topic));
            if let Some(Assignment { stage: Stage::Full, .. }) = self.facts.partitions.get(partition)
                && !is_freed
            {
                continue;
            }
            if let Some(Assignment { stage, .. }) = self.facts.partitions.current_mut(partition) {
                *stage = Stage::Waiting;
            }
        }
        self.facts.holds.full.retain(|topic, _| !freed.contains(topic));
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
