//! PostgreSQL's answers to batches and to retries of parked rows. A batch that holds a bad row is halved, in order, until
//! the row stands alone; one that holds a blocked row is written again with leave to park it.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use cdc_machine::{Cause, EffectId, Fault, Plant, planted};

use super::Parts;
use crate::bad_rows::{BadRow, Origin};
use crate::context::Context;
use crate::verdict;
use crate::writers::{Piece, Worker};
use crate::{
    Batch, OnUniqueViolation, Reject, Rejected, RejectedParked, RetryOutcome, SqlState, Topic, WorkerId,
    WriteOutcome,
};

/// What is said of a row that cannot be written.
type Words = (Reject, Option<SqlState>, Arc<str>);

impl<R: Clone> Parts<R> {
    pub(super) fn on_batch_written(
        &mut self,
        worker: WorkerId,
        id: EffectId,
        outcome: WriteOutcome,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let Some(piece) = self.writers.finish(worker, id, Worker::finish, cx.ids) else { return Ok(()) };
        match outcome {
            WriteOutcome::Written { rejected, parked } => {
                self.parked.on_written(worker, piece.batch.rows(), &parked, &self.partitions, cx);
                self.on_written(worker, &piece, rejected, cx)?;
            }
            // Nothing was written. Without the rows of those partitions it can be.
            WriteOutcome::Refused { partitions: refused } => {
                let rows = piece.batch.rows();
                for partition in refused {
                    if let Some(row) = rows.iter().find(|row| row.partition == partition) {
                        self.partitions.drop_assignment(partition, row.epoch);
                    }
                }
                if planted(Plant::MixedBatch) {
                    self.on_written(worker, &piece, Vec::new(), cx)?;
                } else {
                    self.writers.write_without(worker, piece, &self.partitions, cx)?;
                }
            }
            WriteOutcome::Held { holds } => {
                self.holds.hold(holds, &mut self.partitions, cx)?;
                self.writers.write_without(worker, piece, &self.partitions, cx)?;
            }
            WriteOutcome::Failed { fault, reason, sqlstate, detail } => {
                self.on_write_failed(worker, id, piece, fault, (reason, sqlstate, detail), cx)?;
            }
        }
        self.writers.leave_when_free(worker, cx.config);
        Ok(())
    }

    fn on_written(
        &mut self,
        worker: WorkerId,
        piece: &Piece<R>,
        mut rejected: Vec<Rejected>,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let rows = piece.batch.rows();
        let is_any_written = rejected.len() < rows.len();
        self.writers.on_written(worker, is_any_written);
        if is_any_written {
            self.in_reach(cx);
        }
        let Self { bad_rows, parked, holds, partitions, .. } = self;
        rejected.sort_by_key(|rejected| rejected.index);
        let mut rejected = rejected.into_iter().peekable();
        for (index, row) in rows.iter().enumerate() {
            let mut bad = None;
            while let Some(next) = rejected.next_if(|next| next.index <= index) {
                bad = Some(next);
            }
            match bad {
                Some(Rejected { reason, sqlstate, detail, .. }) => {
                    let (origin, row, attempts) = (Origin::Read, row.clone(), piece.attempts);
                    let bad = BadRow { origin, row, reason, sqlstate, detail, attempts };
                    bad_rows.reject(bad, parked, holds, partitions, cx)?;
                }
                None => bad_rows.settle(row, holds, partitions, cx)?,
            }
        }
        Ok(())
    }

    fn on_write_failed(
        &mut self,
        worker: WorkerId,
        id: EffectId,
        piece: Piece<R>,
        fault: Fault,
        words: Words,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let parks = cx.config.on_unique_violation == OnUniqueViolation::Park && !piece.parks;
        let is_alone = piece.batch.rows().len() == 1;
        let retries = self.writers.at(worker).map(|worker| worker.retries());
        let is_deadlocked_again = retries.is_some_and(|retries| retries.is_deadlocked_again());
        match fault {
            Fault::Unreachable | Fault::Unfit => {
                let live = piece.retain(|row| self.partitions.is_live(row));
                let Some(piece) = live else { return Ok(()) };
                self.outage.on_out_of_reach(id, fault, cx)?;
                if let Some(worker) = self.writers.at(worker) {
                    worker.begin_outage(piece);
                }
                Ok(())
            }
            // The locks of fewer rows meet fewer others.
            Fault::RetryNow if is_deadlocked_again && !is_alone => self.halve(worker, piece, words, cx),
            Fault::Transient | Fault::RetryNow => {
                self.writers.write_again(worker, piece, fault, &self.partitions, cx)
            }
            Fault::Blocked if parks => self.park(worker, piece, &words.2, cx),
            Fault::Poison | Fault::Blocked | Fault::TooLarge => self.halve(worker, piece, words, cx),
            Fault::Auth | Fault::HistoryLost | Fault::Fenced | Fault::Fatal | Fault::Bug => {
                verdict::on_postgres(fault).end()
            }
        }
    }

    /// The same rows again, this time with leave to park those that are blocked. Where nothing more of a topic may be
    /// parked, its rows go apart from the others', and it is held once they are blocked alone.
    fn park(
        &mut self,
        worker: WorkerId,
        piece: Piece<R>,
        why: &str,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let Self { writers, partitions, parked, holds, .. } = self;
        let rows = piece.batch.rows().iter();
        let topics: BTreeSet<Topic> = rows.filter_map(|row| partitions.topic(row.partition)).collect();
        if !topics.iter().any(|topic| parked.is_full(*topic, partitions, cx.config)) {
            writers.write_next(worker, Piece { parks: true, ..piece });
            return Ok(());
        }
        writers.forget_retries(worker);
        if topics.len() == 1
            && let Some(topic) = topics.first()
        {
            holds.hold_full(*topic, why, parked, partitions, cx)?;
            return writers.write_without(worker, piece, partitions, cx);
        }
        for topic in topics.into_iter().rev() {
            let rows = piece.batch.rows().iter();
            let of_topic = rows.filter(|row| partitions.topic(row.partition) == Some(topic));
            let batch = Batch::new(of_topic.cloned().collect());
            writers.write_next(worker, Piece { batch, attempts: piece.attempts, parks: false });
        }
        Ok(())
    }

    /// Halves the piece. A row that stands alone cannot be written.
    fn halve(
        &mut self,
        worker: WorkerId,
        piece: Piece<R>,
        (reason, sqlstate, detail): Words,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let attempts = piece.attempts;
        let Some(lone) = self.writers.halve(worker, piece) else { return Ok(()) };
        let Self { bad_rows, parked, holds, partitions, .. } = self;
        for row in lone.batch.rows() {
            let (origin, row, detail) = (Origin::Read, row.clone(), Arc::clone(&detail));
            let bad = BadRow { origin, row, reason, sqlstate, detail, attempts };
            bad_rows.reject(bad, parked, holds, partitions, cx)?;
        }
        Ok(())
    }

    pub(super) fn on_parked_retried(
        &mut self,
        worker: WorkerId,
        id: EffectId,
        outcome: RetryOutcome<R>,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let Some(asked) = self.writers.finish(worker, id, Worker::finish_retry, cx.ids) else {
            return Ok(());
        };
        if !matches!(outcome, RetryOutcome::Failed { .. }) {
            self.writers.forget_retries(worker);
        }
        match outcome {
            RetryOutcome::Done { parked: left, is_changed, rejected } => {
                self.in_reach(cx);
                let Self { parked, bad_rows, holds, partitions, .. } = self;
                parked.on_retried(worker, &asked, &left, is_changed, partitions, cx);
                for RejectedParked { row, reason, sqlstate, detail, attempts } in rejected {
                    let origin = Origin::Parked(worker);
                    let bad = BadRow { origin, row, reason, sqlstate, detail, attempts };
                    bad_rows.reject(bad, parked, holds, partitions, cx)?;
                }
            }
            RetryOutcome::Refused { partitions: refused } => {
                let asked = asked.partitions.into_iter();
                for (partition, epoch) in asked.filter(|(asked, _)| refused.contains(asked)) {
                    self.partitions.drop_assignment(partition, epoch);
                }
                self.parked.retry_again(worker, false, &self.partitions, cx);
            }
            RetryOutcome::Held { holds } => {
                self.holds.hold(holds, &mut self.partitions, cx)?;
                self.parked.retry_again(worker, false, &self.partitions, cx);
            }
            RetryOutcome::Failed { fault } => self.on_retry_failed(worker, id, fault, cx)?,
        }
        self.writers.leave_when_free(worker, cx.config);
        Ok(())
    }

    /// Where PostgreSQL answered that it may work later, a retry uses up a worker's retries like any write; where
    /// rows or other transactions are in the way, it uses up none.
    fn on_retry_failed(
        &mut self,
        worker: WorkerId,
        id: EffectId,
        fault: Fault,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        match fault {
            Fault::Transient => {
                let Some(retries) = self.writers.at(worker).map(|worker| worker.retries()) else {
                    return Ok(());
                };
                if let Some(wait) = retries.next(fault, cx.config)? {
                    self.parked.retries().back_off(worker, wait, cx);
                }
            }
            Fault::Unreachable | Fault::Unfit => {
                self.outage.on_out_of_reach(id, fault, cx)?;
                self.parked.retries().begin_outage(worker, cx);
            }
            // The rows stay where they are, and only time or a person helps. Where another transaction was in the way
            // it was likely another's retry of its own parked rows; both go on, and neither is anybody's failure.
            Fault::RetryNow | Fault::Poison | Fault::Blocked | Fault::TooLarge => {
                self.parked.retry_again(worker, false, &self.partitions, cx);
            }
            Fault::Auth | Fault::HistoryLost | Fault::Fenced | Fault::Fatal | Fault::Bug => {
                return verdict::on_postgres(fault).end();
            }
        }
        Ok(())
    }
}
