//! Rows and deletes that wait in `cdc.parked` for other rows: how many, whose they are, and when they are tried again.
//!
//! Only this process writes the entries of a partition while it holds it, and only the worker that a key
//! routes to writes that key's. So the counts are exact: read when the partition is acquired, and told anew
//! by every write that may have changed them.

mod retries;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use cdc_machine::{Epoch, ensure};

use self::retries::{Phase, Retries};
use crate::context::{Context, Timers};
use crate::partitions::{Assignment, Partitions};
use crate::{Config, ParkedRows, Partition, Row, TimerKind, Topic, WorkerId};

/// The parked rows of the partitions in hand. All of it is empty while nothing is parked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Parked {
    entries: BTreeMap<(WorkerId, Partition), Entry>,
    retries: Retries,
    /// Those whose dead letters are durable, until a retry has removed them.
    given_up: Vec<GivenUp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    epoch: Epoch,
    rows: u64,
}

/// A parked row by the record that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct GivenUp {
    worker: WorkerId,
    partition: Partition,
    epoch: Epoch,
    offset: i64,
}

/// What one retry is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Retried {
    pub(crate) partitions: Vec<(Partition, Epoch)>,
    /// Those that are to be removed.
    pub(crate) given_up: Vec<(Partition, i64)>,
}

impl Parked {
    pub(crate) fn rows(&self) -> u64 {
        self.entries.values().map(|entry| entry.rows).sum()
    }

    /// Those of one topic.
    pub(crate) fn rows_of(&self, topic: Topic, partitions: &Partitions) -> u64 {
        let is_of = |partition: &Partition| partitions.topic(*partition) == Some(topic);
        let entries = self.entries.iter().filter(|((_, partition), _)| is_of(partition));
        entries.map(|(_, entry)| entry.rows).sum()
    }

    /// True where as many of the topic's rows are parked as may be.
    pub(crate) fn is_full(&self, topic: Topic, partitions: &Partitions, config: &Config) -> bool {
        self.rows_of(topic, partitions) >= config.max_parked_rows
    }

    /// Takes over how many there are now; true where that is more than before.
    pub(crate) fn set(&mut self, worker: WorkerId, partition: Partition, epoch: Epoch, rows: u64) -> bool {
        let key = (worker, partition);
        let before =
            self.entries.get(&key).filter(|entry| entry.epoch == epoch).map_or(0, |entry| entry.rows);
        if rows == 0 {
            self.entries.remove(&key);
        } else {
            self.entries.insert(key, Entry { epoch, rows });
        }
        rows > before
    }

    /// Rows were written: takes over what that says of their partitions. What waits for an old value of theirs need not
    /// wait for long.
    pub(crate) fn on_written<R>(
        &mut self,
        worker: WorkerId,
        rows: &[Row<R>],
        parked: &[ParkedRows],
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) {
        let mut is_more = false;
        for ParkedRows { partition, rows: count } in parked {
            let row = rows.iter().find(|row| row.partition == *partition);
            if let Some(row) = row.filter(|row| partitions.is_live(row)) {
                is_more |= self.set(worker, *partition, row.epoch, *count);
            }
        }
        if is_more {
            self.retries.start_over(worker);
        }
        self.retries.wake_all(cx);
    }

    /// True where one of these rows may have a parked version, or a rival of one.
    pub(crate) fn concerns<R>(&self, worker: WorkerId, rows: &[Row<R>]) -> bool {
        self.of(worker).any(|(partition, _)| rows.iter().any(|row| row.partition == partition))
    }

    /// A parked row is durable elsewhere, or given up by policy: the next retry removes it.
    pub(crate) fn give_up<R>(
        &mut self,
        worker: WorkerId,
        row: &Row<R>,
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) {
        if partitions.is_live(row) {
            self.given_up.push(GivenUp::of(worker, row));
            self.retries.wake(worker, cx);
        }
    }

    pub(crate) fn is_given_up<R>(&self, worker: WorkerId, row: &Row<R>) -> bool {
        self.given_up.contains(&GivenUp::of(worker, row))
    }

    /// Forgets those of assignments that are gone, and sees that a retry is in view exactly for the workers with parked
    /// rows in served partitions. A drain leaves them to the partitions' next owner.
    pub(crate) fn time_retries<R>(
        &mut self,
        is_draining: bool,
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) {
        if self.entries.is_empty() && self.retries.is_empty() {
            return;
        }
        let entries = &mut self.entries;
        entries.retain(|(_, partition), entry| partitions.current(*partition, entry.epoch).is_some());
        self.given_up.retain(|it| {
            entries.get(&(it.worker, it.partition)).is_some_and(|entry| entry.epoch == it.epoch)
        });
        for worker in cx.config.worker_ids() {
            let is_wanted = !is_draining && self.served(worker, partitions).next().is_some();
            self.retries.want(worker, is_wanted, cx);
        }
    }

    pub(crate) const fn retries(&mut self) -> &mut Retries {
        &mut self.retries
    }

    /// True where a retry waits for PostgreSQL.
    pub(crate) fn is_any_out_of_reach(&self) -> bool {
        self.retries.is_any_out_of_reach()
    }

    /// The worker's next retry, if it is due: its writer is idle.
    pub(crate) fn begin_retry(&mut self, worker: WorkerId, partitions: &Partitions) -> Option<Retried> {
        if !self.is_retry_due(worker) {
            return None;
        }
        self.retries.begin(worker);
        let partitions: Vec<_> = self.served(worker, partitions).collect();
        let is_asked = |it: &&GivenUp| it.worker == worker && partitions.contains(&(it.partition, it.epoch));
        let given_up = self.given_up.iter().filter(is_asked).map(|it| (it.partition, it.offset)).collect();
        Some(Retried { partitions, given_up })
    }

    pub(crate) fn is_retry_due(&self, worker: WorkerId) -> bool {
        self.retries.phase(worker) == Some(Phase::Due)
    }

    /// A retry went through.
    pub(crate) fn on_retried<R>(
        &mut self,
        worker: WorkerId,
        asked: &Retried,
        parked: &[ParkedRows],
        is_changed: bool,
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) {
        self.given_up.retain(|it| {
            it.worker != worker
                || !asked.given_up.contains(&(it.partition, it.offset))
                || !asked.partitions.contains(&(it.partition, it.epoch))
        });
        for ParkedRows { partition, rows } in parked {
            let asked = asked.partitions.iter().find(|(asked, _)| asked == partition);
            if let Some((_, epoch)) =
                asked.filter(|(_, epoch)| partitions.current(*partition, *epoch).is_some())
            {
                self.set(worker, *partition, *epoch, *rows);
            }
        }
        if is_changed {
            self.retries.wake_all(cx);
        }
        self.retry_again(worker, is_changed, partitions, cx);
    }

    /// Times the next retry, unless there was no more need of this one.
    pub(crate) fn retry_again<R>(
        &mut self,
        worker: WorkerId,
        is_changed: bool,
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) {
        if self.served(worker, partitions).next().is_none() {
            self.retries.end(worker, cx);
        } else {
            self.retries.again(worker, is_changed, cx);
        }
    }

    /// A worker with parked rows in a served partition has its retry in view, and no other worker has.
    pub(crate) fn check(
        &self,
        worker: WorkerId,
        is_draining: bool,
        partitions: &Partitions,
        timers: &Timers,
    ) -> Result<(), &'static str> {
        let phase = self.retries.phase(worker);
        let is_wanted = !is_draining && self.served(worker, partitions).next().is_some();
        ensure(phase.is_some() == is_wanted, "parked rows have their retry in view")?;
        ensure(
            matches!(phase, Some(Phase::Soon | Phase::Later))
                == timers.is_running(TimerKind::ParkedRetry(worker)),
            "a retry that waits has its timer",
        )?;
        ensure(
            !self.is_any_out_of_reach() || timers.is_running(TimerKind::OutageRetry),
            "what waits for PostgreSQL is tried again in time",
        )
    }

    pub(crate) fn situation(&self, worker: WorkerId, partitions: &Partitions) -> [u64; 4] {
        let phase = self.retries.phase(worker).map_or(0, |phase| 1 + phase as u64);
        let is_live = |(key, entry): &(&(WorkerId, Partition), &Entry)| {
            partitions.current(key.1, entry.epoch).is_some()
        };
        let live = self.entries.iter().filter(is_live).count() as u64;
        [phase, self.rows(), live, self.given_up.len() as u64]
    }

    fn of(&self, worker: WorkerId) -> impl Iterator<Item = (Partition, Epoch)> {
        let all = (worker, Partition(0))..=(worker, Partition(u32::MAX));
        self.entries.range(all).map(|((_, partition), entry)| (*partition, entry.epoch))
    }

    /// The worker's partitions with parked rows that are served.
    fn served(&self, worker: WorkerId, partitions: &Partitions) -> impl Iterator<Item = (Partition, Epoch)> {
        self.of(worker).filter(|(partition, epoch)| {
            partitions.current(*partition, *epoch).is_some_and(Assignment::is_served)
        })
    }
}

impl GivenUp {
    const fn of<R>(worker: WorkerId, row: &Row<R>) -> Self {
        Self { worker, partition: row.partition, epoch: row.epoch, offset: row.offset }
    }
}
