//! PostgreSQL's answers. A batch that holds a bad row is halved, in order, until the row stands alone; one that
//! holds a blocked row is written again with leave to park it.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use cdc_machine::{Cause, EffectId, Fault};

use crate::facts::{BadRow, Origin};
use crate::state::State;
use crate::turn::{IMMEDIATE_RETRIES_MAX, Turn};
use crate::verdict::Verdict;
use crate::worker::{Piece, Writer};
use crate::{
    Batch, Hold, OnUniqueViolation, Partition, Reject, Rejected, SqlState, TimerKind, Topic, WorkerId,
    WriteOutcome,
};

/// What is said of a row that cannot be written.
type Words = (Reject, Option<SqlState>, Arc<str>);

impl<R: Clone> Turn<'_, R> {
    pub(crate) fn on_batch_done(
        &mut self,
        state: State,
        worker: WorkerId,
        id: EffectId,
        outcome: WriteOutcome,
    ) -> Result<(), Cause> {
        let Some(piece) = self.facts.workers.get_mut(worker.0 as usize).and_then(|lane| lane.finish(id))
        else {
            self.facts.ignore_reply(id);
            return Ok(());
        };
        match outcome {
            WriteOutcome::Written { rejected, parked } => {
                self.note_parked(worker, piece.batch.rows(), &parked);
                self.stir_parked();
                self.on_written(state, worker, &piece, rejected)?;
            }
            WriteOutcome::Refused { partitions } => self.on_refused(state, worker, piece, &partitions)?,
            WriteOutcome::Held { holds } => self.on_held(state, worker, piece, holds)?,
            WriteOutcome::Failed { fault, reason, sqlstate, detail } => {
                self.on_write_failed(state, worker, id, piece, fault, (reason, sqlstate, detail))?;
            }
        }
        self.leave_when_free(worker);
        Ok(())
    }

    /// A writer that has become free is free for what came meanwhile.
    pub(crate) fn leave_when_free(&mut self, worker: WorkerId) {
        if self.config.lingers()
            && let Some(lane) = self.facts.workers.get_mut(worker.0 as usize)
            && lane.is_idle()
            && lane.pieces.is_empty()
        {
            lane.make_due();
        }
    }

    pub(crate) fn on_write_retry(&mut self, worker: WorkerId) {
        if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
            lane.end_back_off();
        }
    }

    fn on_written(
        &mut self,
        state: State,
        worker: WorkerId,
        piece: &Piece<R>,
        mut rejected: Vec<Rejected>,
    ) -> Result<(), Cause> {
        if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
            lane.go_on();
        }
        if rejected.len() < piece.batch.rows().len() {
            self.on_in_reach();
            self.overtake_others(worker);
        }
        rejected.sort_by_key(|rejected| rejected.index);
        let mut rejected = rejected.into_iter().peekable();
        for (index, row) in piece.batch.rows().iter().enumerate() {
            let mut bad = None;
            while let Some(next) = rejected.next_if(|next| next.index <= index) {
                bad = Some(next);
            }
            match bad {
                Some(Rejected { reason, sqlstate, detail, .. }) => {
                    let row = row.clone();
                    let (origin, attempts) = (Origin::Read, piece.attempts);
                    self.reject(state, BadRow { origin, row, reason, sqlstate, detail, attempts })?;
                }
                None => self.settle_good(state, row)?,
            }
        }
        Ok(())
    }

    /// Nothing was written. Without the rows of those partitions it can be.
    fn on_refused(
        &mut self,
        state: State,
        worker: WorkerId,
        piece: Piece<R>,
        partitions: &[Partition],
    ) -> Result<(), Cause> {
        for partition in partitions {
            let epoch =
                piece.batch.rows().iter().find(|row| row.partition == *partition).map(|row| row.epoch);
            if let Some(epoch) = epoch {
                self.relinquish(state, *partition, epoch);
            }
        }
        self.write_without(worker, piece)
    }

    fn on_held(
        &mut self,
        state: State,
        worker: WorkerId,
        piece: Piece<R>,
        holds: Vec<Hold>,
    ) -> Result<(), Cause> {
        self.hold(state, holds)?;
        self.write_without(worker, piece)
    }

    /// Writes what is left of a piece of which nothing was written.
    fn write_without(&mut self, worker: WorkerId, piece: Piece<R>) -> Result<(), Cause> {
        if piece.batch.rows().iter().all(|row| self.facts.partitions.is_live(row)) {
            // A refusal that names nothing of the batch would be written and refused for ever.
            return self.write_again(worker, piece, Fault::Transient);
        }
        self.forget_retries(worker);
        self.push_piece(worker, piece);
        Ok(())
    }

    fn on_write_failed(
        &mut self,
        state: State,
        worker: WorkerId,
        id: EffectId,
        piece: Piece<R>,
        fault: Fault,
        words: Words,
    ) -> Result<(), Cause> {
        match fault {
            Fault::Unreachable | Fault::Unfit => self.write_once_in_reach(worker, id, piece, fault),
            Fault::RetryNow if self.is_deadlocked_again(worker) && piece.batch.rows().len() > 1 => {
                // The locks of fewer rows meet fewer others.
                self.forget_retries(worker);
                self.bisect(state, worker, piece, words)
            }
            Fault::Transient | Fault::RetryNow => self.write_again(worker, piece, fault),
            Fault::Blocked if self.config.on_unique_violation == OnUniqueViolation::Park && !piece.parks => {
                self.forget_retries(worker);
                self.park(state, worker, piece, &words.2)
            }
            Fault::Poison | Fault::Blocked | Fault::TooLarge => {
                self.forget_retries(worker);
                self.bisect(state, worker, piece, words)
            }
            Fault::Auth | Fault::HistoryLost | Fault::Fenced | Fault::Fatal | Fault::Bug => {
                Err(Verdict::on_postgres(fault).cause())
            }
        }
    }

    /// The same rows again, this time with leave to park those that are blocked. Where nothing more of a topic may be
    /// parked, its rows go apart from the others', and it is held once they are blocked alone.
    fn park(&mut self, state: State, worker: WorkerId, piece: Piece<R>, why: &str) -> Result<(), Cause> {
        let topics = self.topics_of(&piece);
        if !topics.iter().any(|topic| self.is_full(*topic)) {
            self.push_piece(worker, Piece { parks: true, ..piece });
            return Ok(());
        }
        if let [topic] = topics[..] {
            self.hold_full(state, topic, why)?;
            return self.write_without(worker, piece);
        }
        for topic in topics.into_iter().rev() {
            let rows = piece.batch.rows().iter();
            let of_topic = rows.filter(|row| self.facts.partitions.topic(row.partition) == Some(topic));
            let batch = Batch::new(of_topic.cloned().collect());
            self.push_piece(worker, Piece { batch, attempts: piece.attempts, parks: false });
        }
        Ok(())
    }

    fn topics_of(&self, piece: &Piece<R>) -> Vec<Topic> {
        let rows = piece.batch.rows().iter();
        let topics: BTreeSet<Topic> =
            rows.filter_map(|row| self.facts.partitions.topic(row.partition)).collect();
        topics.into_iter().collect()
    }

    fn write_again(&mut self, worker: WorkerId, piece: Piece<R>, fault: Fault) -> Result<(), Cause> {
        let Some(piece) = piece.retain(|row| self.facts.partitions.is_live(row)) else { return Ok(()) };
        match self.next_write(worker, fault)? {
            None => self.push_piece(worker, piece),
            Some(wait) => {
                if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
                    lane.writer = Writer::BackingOff(piece);
                }
                self.set_timer(TimerKind::WriteRetry(worker), wait);
            }
        }
        Ok(())
    }

    fn write_once_in_reach(
        &mut self,
        worker: WorkerId,
        id: EffectId,
        piece: Piece<R>,
        fault: Fault,
    ) -> Result<(), Cause> {
        let Some(piece) = piece.retain(|row| self.facts.partitions.is_live(row)) else { return Ok(()) };
        self.on_out_of_reach(id, fault)?;
        if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
            lane.writer = Writer::OutOfReach(piece);
        }
        Ok(())
    }

    fn bisect(
        &mut self,
        state: State,
        worker: WorkerId,
        piece: Piece<R>,
        (reason, sqlstate, detail): Words,
    ) -> Result<(), Cause> {
        let attempts = piece.attempts;
        if let Some((first, second)) = piece.batch.halves() {
            for batch in [second, first] {
                self.push_piece(worker, Piece { batch, attempts, parks: false });
            }
            return Ok(());
        }
        for row in piece.batch.rows() {
            let (row, detail) = (row.clone(), Arc::clone(&detail));
            self.reject(state, BadRow { origin: Origin::Read, row, reason, sqlstate, detail, attempts })?;
        }
        Ok(())
    }

    /// Two workers may deadlock over the same rows again and again.
    fn is_deadlocked_again(&self, worker: WorkerId) -> bool {
        let lane = self.facts.workers.get(worker.0 as usize);
        lane.is_some_and(|lane| lane.retries.retries() >= IMMEDIATE_RETRIES_MAX)
    }

    /// The piece is the next that the worker writes.
    fn push_piece(&mut self, worker: WorkerId, piece: Piece<R>) {
        if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
            lane.pieces.push(piece);
        }
    }

    /// A transaction of this worker's went through, whoever was in whose way.
    fn overtake_others(&mut self, worker: WorkerId) {
        for (id, lane) in (0u32..).map(WorkerId).zip(&mut self.facts.workers) {
            lane.is_overtaken |= id != worker && lane.retries.retries() > 0;
        }
    }

    pub(crate) fn forget_retries(&mut self, worker: WorkerId) {
        if let Some(lane) = self.facts.workers.get_mut(worker.0 as usize) {
            lane.forget_retries();
        }
    }
}
