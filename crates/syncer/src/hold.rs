//! Partitions of topics that cannot be written as a whole. They stop being read, everything else goes on, and they are
//! looked at again from time to time. A table is, as part of taking the partition's row in the ledger: before a record is
//! read. Where too many records were bad, a few are tried (`breakers`); where too many rows are parked, these are, until
//! they are fewer.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Cause, Epoch, ensure};

use crate::context::{Context, Timers};
use crate::parked::Parked;
use crate::partitions::{Assignment, Partitions, Stage};
use crate::{Config, Effect, Held, Hold, HoldReason, OnTableError, Partition, TimerKind, Topic};

/// How long until what a person has to mend is looked at again.
const LOOK_WAIT: Duration = Duration::from_secs(30);

/// How long until a table is looked at again where only another session's lock is in the way.
const LOCKED_WAIT: Duration = Duration::from_secs(3);

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

    /// Nothing of these was written. Drops what was read of them and has them fetched no longer.
    pub(crate) fn hold<R>(
        &mut self,
        holds: Vec<Hold>,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let mut stopped = Vec::new();
        for Hold { partition, epoch, reason, detail } in holds {
            if !partitions.hold(partition, epoch) {
                continue;
            }
            if self.entries.insert(partition, Held { reason, detail }).is_none() {
                stopped.push(partition);
            }
            if cx.config.on_table_error == OnTableError::Stop && !reason.is_passing() {
                return Err(reason.cause());
            }
        }
        if !stopped.is_empty() {
            cx.order(Effect::StopFetching { partitions: stopped });
        }
        Ok(())
    }

    /// All partitions of a topic. Those that wait or move may get to being served: it shows again then.
    pub(crate) fn hold_topic<R>(
        &mut self,
        topic: Topic,
        reason: HoldReason,
        detail: &Arc<str>,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let hold = |(partition, epoch)| Hold { partition, epoch, reason, detail: Arc::clone(detail) };
        let holds = of_topic(topic, partitions).into_iter().map(hold).collect();
        self.hold(holds, partitions, cx)
    }

    /// Too many of the topic's rows are parked. Its partitions' rows in the ledger are taken anew at once, so that the
    /// parked rows are tried again while nothing is read.
    pub(crate) fn hold_full<R>(
        &mut self,
        topic: Topic,
        why: &str,
        parked: &Parked,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let rows = parked.rows_of(topic, partitions);
        let detail: Arc<str> = Arc::from(format!(
            "{rows} rows are parked, as many as parked.max_rows allows; the last one: {why}. Each entry of cdc.parked \
             waits for other rows, and its constraint_name says of which constraint: correct the rows in the way, drop \
             the constraint, or raise parked.max_rows"
        ));
        self.full.insert(topic, Arc::clone(&detail));
        self.hold_topic(topic, HoldReason::ParkedFull, &detail, partitions, cx)?;
        for (partition, epoch) in of_topic(topic, partitions) {
            if partitions.is_at(Stage::Held, partition, epoch) {
                partitions.set_stage(partition, epoch, Stage::Waiting);
            }
        }
        Ok(())
    }

    /// True where too many rows of the partition's topic were parked, and still are: it is not read yet.
    pub(crate) fn keep_full(
        &mut self,
        partition: Partition,
        epoch: Epoch,
        parked: &Parked,
        partitions: &mut Partitions,
        config: &Config,
    ) -> bool {
        let Some(topic) = partitions.topic(partition) else { return false };
        if !parked.is_full(topic, partitions, config) {
            self.full.remove(&topic);
        }
        let Some(detail) = self.full.get(&topic) else { return false };
        let held = Held { reason: HoldReason::ParkedFull, detail: Arc::clone(detail) };
        self.entries.insert(partition, held);
        partitions.set_stage(partition, epoch, Stage::Full);
        true
    }

    /// What waited for this timer is looked at again.
    pub(crate) fn on_look_due(
        &mut self,
        timer: TimerKind,
        parked: &Parked,
        partitions: &mut Partitions,
        config: &Config,
    ) {
        let full = self.full.keys().copied();
        let freed: Vec<Topic> = full.filter(|topic| !parked.is_full(*topic, partitions, config)).collect();
        for (partition, epoch) in self.waiting_for(timer, partitions) {
            let is_freed = partitions.topic(partition).is_some_and(|topic| freed.contains(&topic));
            if is_freed || !partitions.is_at(Stage::Full, partition, epoch) {
                partitions.set_stage(partition, epoch, Stage::Waiting);
            }
        }
        self.full.retain(|topic, _| !freed.contains(topic));
    }

    /// Forgets those that are served again or gone, and sees that a timer runs exactly while tables wait to be looked at
    /// again.
    pub(crate) fn time_looks<R>(&mut self, partitions: &Partitions, cx: &mut Context<'_, R>) {
        let is_unread = |assignment: &Assignment| assignment.window().is_none();
        self.entries.retain(|partition, _| partitions.get(*partition).is_some_and(is_unread));
        for (timer, wait) in [(TimerKind::HeldTable, LOOK_WAIT), (TimerKind::LockedTable, LOCKED_WAIT)] {
            cx.run_timer_while(!self.waiting_for(timer, partitions).is_empty(), timer, wait);
        }
    }

    /// A held partition has its reason and the timer that ends its wait, and no timer runs for nothing.
    pub(crate) fn check(&self, partitions: &Partitions, timers: &Timers) -> Result<(), &'static str> {
        for timer in [TimerKind::HeldTable, TimerKind::LockedTable] {
            let is_waiting = !self.waiting_for(timer, partitions).is_empty();
            ensure(is_waiting == timers.is_running(timer), "a table is looked at again in time")?;
        }
        for (partition, assignment) in partitions.iter() {
            let is_held = self.entries.contains_key(&partition);
            ensure(!assignment.is_held() || is_held, "a held partition has its reason")?;
            ensure(assignment.window().is_none() || !is_held, "a partition that is read is not held")?;
        }
        Ok(())
    }

    pub(crate) fn situation(&self) -> [u64; 2] {
        let reasons = self.entries.values().map(|held| 1 + held.reason as u64);
        [reasons.sum(), u64::from(!self.full.is_empty())]
    }

    /// Those that wait for this timer.
    fn waiting_for(&self, timer: TimerKind, partitions: &Partitions) -> Vec<(Partition, Epoch)> {
        let of_timer = self.entries.iter().filter(|(_, held)| timer_of(held.reason) == timer);
        let waiting = of_timer.filter_map(|(partition, _)| {
            let assignment = partitions.get(*partition).filter(|assignment| assignment.is_held())?;
            Some((*partition, assignment.epoch))
        });
        waiting.collect()
    }
}

/// The assigned partitions of a topic, with their assignments.
fn of_topic(topic: Topic, partitions: &Partitions) -> Vec<(Partition, Epoch)> {
    let of = partitions.iter().filter(|(partition, _)| partitions.topic(*partition) == Some(topic));
    of.map(|(partition, assignment)| (partition, assignment.epoch)).collect()
}

const fn timer_of(reason: HoldReason) -> TimerKind {
    if reason.is_passing() { TimerKind::LockedTable } else { TimerKind::HeldTable }
}
