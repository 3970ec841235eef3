//! How batches and retries of parked rows end.

use std::sync::Arc;

use cdc_machine::Fault;
use cdc_syncer::{
    Input, OnBadRecord, OnUniqueViolation, Parking, Reject, Rejected, RetryOutcome, WriteOutcome,
};

use super::database::{Committed, Retried};
use super::{Fate, Outcome, Retry, World, Write};

impl World {
    pub(crate) fn finish_write(&mut self, which: u8, outcome: Outcome) {
        if self.pending.writes.is_empty() {
            return;
        }
        let write = self.pending.writes.remove(usize::from(which) % self.pending.writes.len());
        let outcome = match self.possible(&write, outcome) {
            Outcome::Good => self.commit_batch(&write, None),
            Outcome::Rejected(which) => {
                self.commit_batch(&write, Some(usize::from(which) % write.batch.rows().len()))
            }
            Outcome::Refused(which) => {
                let rows = write.batch.rows();
                let row = &rows[usize::from(which) % rows.len()];
                self.disown(row.partition, row.epoch);
                WriteOutcome::Refused { partitions: vec![row.partition] }
            }
            Outcome::Bad(fault, is_carried_out) => {
                if is_carried_out {
                    self.write_unheard(&write);
                }
                failed(fault)
            }
        };
        self.mark_unwritten(&write, &outcome);
        self.step(Input::BatchWritten { worker: write.worker, id: write.id, result: outcome });
    }

    /// Where every record can be written, none is bad by itself.
    fn possible(&self, write: &Write, outcome: Outcome) -> Outcome {
        let is_alone = write.batch.rows().len() == 1;
        match outcome {
            Outcome::Rejected(_) if self.is_faultless => Outcome::Good,
            Outcome::Bad(Fault::Poison | Fault::TooLarge, _) if self.is_faultless && is_alone => {
                Outcome::Good
            }
            Outcome::Bad(Fault::Blocked, _) if self.is_faultless && write.parking == Parking::Park => {
                Outcome::Good
            }
            outcome @ (Outcome::Good | Outcome::Rejected(_) | Outcome::Refused(_) | Outcome::Bad(..)) => {
                outcome
            }
        }
    }

    fn commit_batch(&mut self, write: &Write, rejected: Option<usize>) -> WriteOutcome {
        let all = write.batch.rows();
        let rows: Vec<_> = all
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != rejected)
            .map(|(_, row)| row.clone())
            .collect();
        match self.database.write(write.worker, &rows, write.parking) {
            Committed::Written(parked) => {
                for (index, row) in all.iter().enumerate() {
                    if Some(index) == rejected {
                        self.note(row, self.config.on_bad_record == OnBadRecord::DeadLetter);
                    } else {
                        self.note(row, false);
                        self.finish(row);
                    }
                }
                let rejected = rejected.map(|index| Rejected {
                    index,
                    reason: Reject::TypeConflict,
                    sqlstate: None,
                    detail: Arc::from("level: text, integer wanted"),
                });
                WriteOutcome::Written { rejected: rejected.into_iter().collect(), parked }
            }
            Committed::Refused(partitions) => {
                for row in all.iter().filter(|row| partitions.contains(&row.partition)) {
                    self.disown(row.partition, row.epoch);
                }
                WriteOutcome::Refused { partitions }
            }
            Committed::Held(holds) => {
                self.void(&holds);
                WriteOutcome::Held { holds }
            }
            Committed::Blocked => failed(Fault::Blocked),
        }
    }

    /// The batch is committed, and nobody hears of it.
    pub(crate) fn write_unheard(&mut self, write: &Write) {
        let rows = write.batch.rows();
        if let Committed::Written(_) = self.database.write(write.worker, rows, write.parking) {
            let written = rows.iter().map(|row| (row.handle.partition, row.handle.offset));
            self.durable.extend(written);
        }
    }

    /// What the machine has to see to from here on.
    fn mark_unwritten(&mut self, write: &Write, outcome: &WriteOutcome) {
        let rows = write.batch.rows();
        let is_alone = rows.len() == 1;
        for (index, row) in rows.iter().enumerate() {
            let next = match outcome {
                WriteOutcome::Written { rejected, .. } => {
                    if rejected.iter().all(|rejected| rejected.index != index) {
                        continue;
                    }
                    Fate::Rejected
                }
                WriteOutcome::Failed { fault, .. } if is_alone && self.is_bad(write, *fault) => {
                    self.note(row, self.is_dead(*fault));
                    Fate::Rejected
                }
                WriteOutcome::Refused { .. } | WriteOutcome::Held { .. } | WriteOutcome::Failed { .. } => {
                    Fate::Waiting
                }
            };
            if let Some(fate) = self.fate_mut(row) {
                *fate = next;
            }
        }
    }

    /// Whether a lone row that fails so is given up.
    fn is_bad(&self, write: &Write, fault: Fault) -> bool {
        match fault {
            Fault::Poison | Fault::TooLarge => true,
            Fault::Blocked => !self.parks() || write.parking == Parking::Park,
            Fault::Transient
            | Fault::Unreachable
            | Fault::RetryNow
            | Fault::HistoryLost
            | Fault::Fenced
            | Fault::Auth
            | Fault::Unfit
            | Fault::Fatal
            | Fault::Bug => false,
        }
    }

    fn is_dead(&self, fault: Fault) -> bool {
        if fault == Fault::Blocked && !self.parks() {
            self.config.on_unique_violation == OnUniqueViolation::DeadLetter
        } else {
            self.config.on_bad_record == OnBadRecord::DeadLetter
        }
    }

    fn parks(&self) -> bool {
        self.config.on_unique_violation == OnUniqueViolation::Park
    }

    pub(crate) fn finish_retry(&mut self, which: u8, outcome: Outcome) {
        if self.pending.retries.is_empty() {
            return;
        }
        let at = usize::from(which) % self.pending.retries.len();
        let Retry { worker, id, partitions } = self.pending.retries.remove(at);
        let outcome = match outcome {
            Outcome::Good | Outcome::Rejected(_) => match self.database.retry(worker, &partitions) {
                Retried::Done { parked, is_changed } => {
                    RetryOutcome::Done { parked, is_changed, rejected: Vec::new() }
                }
                Retried::Refused(refused) => {
                    for (partition, epoch) in partitions.iter().filter(|(it, _)| refused.contains(it)) {
                        self.disown(*partition, *epoch);
                    }
                    RetryOutcome::Refused { partitions: refused }
                }
                Retried::Held(holds) => {
                    self.void(&holds);
                    RetryOutcome::Held { holds }
                }
            },
            Outcome::Refused(which) => {
                let (partition, epoch) = partitions[usize::from(which) % partitions.len()];
                self.disown(partition, epoch);
                RetryOutcome::Refused { partitions: vec![partition] }
            }
            Outcome::Bad(fault, is_carried_out) => {
                if is_carried_out {
                    self.database.retry(worker, &partitions);
                }
                RetryOutcome::Failed { fault }
            }
        };
        self.step(Input::ParkedRetried { worker, id, result: outcome });
    }
}

fn failed(fault: Fault) -> WriteOutcome {
    let reason = if fault == Fault::Blocked { Reject::UniqueViolation } else { Reject::Database };
    let detail = Arc::from("table players, constraint unique_username");
    WriteOutcome::Failed { fault, reason, sqlstate: None, detail }
}
