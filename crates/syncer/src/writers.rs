//! The workers: which rows wait for which, and when a batch leaves.
//!
//! A full batch leaves as soon as its writer is free. One that is not full leaves when
//! its writer becomes free, or, where the writer is idle, when its oldest row has lingered: with natural
//! batching nothing waits longer than `linger` for a free writer, so `flush_interval` is kept by itself.
//! Where `linger` is not below `flush_interval` a batch leaves when it is full or `flush_interval` old.

mod queue;
mod retries;
mod worker;

use alloc::vec::Vec;

use cdc_machine::{Backoff, Cause, EffectId, Epoch, Fault, Ids, ensure};

#[cfg(test)]
pub(crate) use self::retries::OVERTAKEN_MAX;
pub(crate) use self::worker::{Piece, Worker};
use crate::context::{Context, Timers};
use crate::outage::Outage;
use crate::parked::{Parked, Retried};
use crate::partitions::Partitions;
use crate::{Config, Effect, Parking, Partition, Row, TimerKind, WorkerId};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writers<R> {
    workers: Vec<Worker<R>>,
}

impl<R: Clone> Writers<R> {
    pub(crate) fn new(config: &Config) -> Self {
        Self { workers: config.worker_ids().map(|_| Worker::new()).collect() }
    }

    /// The row waits for the worker of its key.
    pub(crate) fn push(&mut self, row: Row<R>) {
        // The remainder is below the number of workers, so it fits.
        let at = (row.route % self.workers.len() as u64) as usize;
        if let Some(worker) = self.workers.get_mut(at) {
            worker.queue().push(row);
        }
    }

    /// Rows that every queue still takes.
    pub(crate) fn credit(&self, config: &Config) -> Option<usize> {
        self.workers.iter().map(|worker| worker.credit(config)).min()
    }

    pub(crate) fn at(&mut self, worker: WorkerId) -> Option<&mut Worker<R>> {
        self.workers.get_mut(worker.0 as usize)
    }

    /// The rows of these assignments, and all before them, leave without waiting longer.
    pub(crate) fn make_due(&mut self, of: &[(Partition, Epoch)]) {
        for worker in &mut self.workers {
            worker.queue().make_due_through(of);
        }
    }

    /// All rows do.
    pub(crate) fn make_all_due(&mut self) {
        self.workers.iter_mut().for_each(|worker| worker.queue().make_due());
    }

    /// A writer that has become free is free for what came meanwhile.
    pub(crate) fn leave_when_free(&mut self, worker: WorkerId, config: &Config) {
        if let Some(worker) = self.at(worker)
            && config.lingers()
            && worker.has_nothing_begun()
        {
            worker.queue().make_due();
        }
    }

    /// Hands each idle writer its next batch, and times what waits.
    pub(crate) fn write_batches(
        &mut self,
        parked: &mut Parked,
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) {
        for (id, worker) in (0u32..).map(WorkerId).zip(&mut self.workers) {
            begin_next(id, worker, parked, partitions, cx);
            time_departure(id, worker, cx);
        }
    }

    /// What the reply is for, by [`Worker::finish`] or [`Worker::finish_retry`]; the writer is free again.
    pub(crate) fn finish<T>(
        &mut self,
        worker: WorkerId,
        id: EffectId,
        finish: impl FnOnce(&mut Worker<R>, EffectId) -> Option<T>,
        ids: &mut Ids,
    ) -> Option<T> {
        let finished = self.at(worker).and_then(|worker| finish(worker, id));
        if finished.is_none() {
            ids.ignore_reply(id);
        }
        finished
    }

    /// What became of the worker's rows is no failure that counts.
    pub(crate) fn forget_retries(&mut self, worker: WorkerId) {
        if let Some(worker) = self.at(worker) {
            worker.retries().forget();
        }
    }

    /// The piece is the next that the worker writes, and nothing that counts has failed.
    pub(crate) fn write_next(&mut self, worker: WorkerId, piece: Piece<R>) {
        if let Some(worker) = self.at(worker) {
            worker.retries().forget();
            worker.push_piece(piece);
        }
    }

    /// Writes the piece again at once where that may help, else after a back-off; either way it uses up a retry.
    pub(crate) fn write_again(
        &mut self,
        id: WorkerId,
        piece: Piece<R>,
        fault: Fault,
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let Some(piece) = piece.retain(|row| partitions.is_live(row)) else { return Ok(()) };
        let Some(worker) = self.at(id) else { return Ok(()) };
        match worker.retries().next(fault, cx.config)? {
            None => worker.push_piece(piece),
            Some(wait) => {
                worker.back_off(piece);
                cx.set_timer(TimerKind::WriteRetry(id), wait);
            }
        }
        Ok(())
    }

    /// Writes what is left of a piece of which nothing was written, since partitions of it are not ours to write.
    pub(crate) fn write_without(
        &mut self,
        worker: WorkerId,
        piece: Piece<R>,
        partitions: &Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if piece.batch.rows().iter().all(|row| partitions.is_live(row)) {
            // A refusal that names nothing of the batch would be written and refused for ever.
            return self.write_again(worker, piece, Fault::Transient, partitions, cx);
        }
        self.write_next(worker, piece);
        Ok(())
    }

    /// Rows of the worker went through: its retries start over, and where `is_any_written` it has overtaken the others,
    /// whoever was in whose way.
    pub(crate) fn on_written(&mut self, worker: WorkerId, is_any_written: bool) {
        for (id, other) in (0u32..).map(WorkerId).zip(&mut self.workers) {
            if id == worker {
                other.retries().go_on();
            } else if is_any_written {
                other.retries().be_overtaken();
            }
        }
    }

    /// Halves the piece, in order; gives it back where it cannot be.
    pub(crate) fn halve(&mut self, worker: WorkerId, piece: Piece<R>) -> Option<Piece<R>> {
        self.forget_retries(worker);
        let Some((first, second)) = piece.batch.halves() else { return Some(piece) };
        for batch in [second, first] {
            self.write_next(worker, Piece { batch, attempts: piece.attempts, parks: false });
        }
        None
    }

    /// PostgreSQL is to be tried again: what waits for it is the next to be written.
    pub(crate) fn end_outage(&mut self) {
        self.workers.iter_mut().for_each(Worker::end_outage);
    }

    /// True where no writer has anything in hand.
    pub(crate) fn is_idle(&self) -> bool {
        self.workers.iter().all(Worker::is_idle)
    }

    /// True where nothing waits, either.
    pub(crate) fn is_empty(&self) -> bool {
        self.workers.iter().all(Worker::is_empty)
    }

    /// True while PostgreSQL is to answer.
    pub(crate) fn is_at_work(&self) -> bool {
        self.workers.iter().any(Worker::is_at_work)
    }

    /// Removes what waits for assignments that are gone. What is being written settles nothing any more.
    pub(crate) fn drop_stale(&mut self, partitions: &Partitions) {
        for worker in &mut self.workers {
            worker.queue().retain(|row| partitions.is_live(row));
        }
    }

    /// Retries used for the worker's batch.
    pub(crate) fn retries(&self, worker: WorkerId) -> Option<Backoff> {
        self.workers.get(worker.0 as usize).map(Worker::retries_used)
    }

    /// All rows in their hands.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row<R>> {
        self.workers.iter().flat_map(Worker::rows)
    }

    pub(crate) fn check(
        &self,
        parked: &Parked,
        config: &Config,
        timers: &Timers,
    ) -> Result<(), &'static str> {
        for (id, worker) in (0u32..).map(WorkerId).zip(&self.workers) {
            worker.check(id, config, timers)?;
            let is_retry_due = parked.is_retry_due(id);
            ensure(
                !is_retry_due || !worker.is_idle(),
                "a retry that is due waits for nothing but its writer",
            )?;
            let is_timed =
                timers.is_running(TimerKind::Linger(id)) || timers.is_running(TimerKind::Flush(id));
            ensure(
                is_timed || !worker.is_idle() || worker.is_empty(),
                "rows that wait for an idle writer are timed",
            )?;
        }
        Ok(())
    }

    pub(crate) fn situation(&self, partitions: &Partitions, outage: &Outage) -> Vec<u64> {
        let is_current = |row: &Row<R>| partitions.current(row.partition, row.epoch).is_some();
        self.workers.iter().flat_map(|worker| worker.situation(is_current, outage)).collect()
    }
}

/// Hands the writer its next batch, or piece of one, if it is idle.
fn begin_next<R: Clone>(
    id: WorkerId,
    worker: &mut Worker<R>,
    parked: &mut Parked,
    partitions: &Partitions,
    cx: &mut Context<'_, R>,
) {
    while worker.is_idle() {
        if cx.config.linger.is_zero() && cx.config.lingers() {
            worker.queue().make_due();
        }
        // Between two batches, never between the pieces of one.
        if worker.has_nothing_begun()
            && let Some(retried) = parked.begin_retry(id, partitions)
        {
            let request = cx.ids.new_effect();
            worker.begin_retry(request, retried.clone());
            let Retried { partitions, given_up } = retried;
            cx.order(Effect::RetryParked { worker: id, id: request, partitions, given_up });
            return;
        }
        let is_begun = !worker.has_nothing_begun();
        let Some(piece) = worker.next_piece(cx.config) else { return };
        // Rows that have only waited are live: `drop_stale` removes the others. To ask of each would cost every event.
        let live = if is_begun { piece.retain(|row| partitions.is_live(row)) } else { Some(piece) };
        let Some(piece) = live else { continue };
        let batch = piece.batch.clone();
        let parking = if piece.parks {
            Parking::Park
        } else if parked.concerns(id, batch.rows()) {
            Parking::Fence
        } else {
            Parking::Off
        };
        let request = cx.ids.new_effect();
        worker.begin(request, piece);
        cx.order(Effect::WriteBatch { worker: id, id: request, batch, parking });
    }
}

/// Sees that the timer runs exactly while rows wait for time to pass. A row that stays behind a full
/// batch keeps the timer of the older ones: it leaves too early rather than too late.
fn time_departure<R: Clone>(id: WorkerId, worker: &Worker<R>, cx: &mut Context<'_, R>) {
    let lingers = cx.config.lingers();
    let (kind, after) = if lingers {
        (TimerKind::Linger(id), cx.config.linger)
    } else {
        (TimerKind::Flush(id), cx.config.flush_interval)
    };
    cx.run_timer_while(worker.waits(lingers), kind, after);
}
