//! Rows that cannot be written: put aside, given up or the end, as the policies say.

use alloc::sync::Arc;

use cdc_machine::{Cause, Dependency, EffectId, Fault};

use crate::config::{OnBadRecord, OnUniqueViolation};
use crate::facts::{BadRow, Origin};
use crate::state::State;
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{Effect, Reject, RejectedParked, Row, TimerKind, WorkerId};

/// Dead letters in flight at once. Those that wait are bounded by the records from poll to offset commit.
pub(crate) const DEAD_LETTERS_IN_FLIGHT_MAX: usize = 16;

/// Parked rows on their way to the dead letters at once; others stay parked that long.
const PARKED_PUT_ASIDE_MAX: usize = 256;

/// What becomes of one bad row.
enum Fate {
    DeadLetter,
    Skip,
    Stop,
}

impl<R: Clone> Turn<'_, R> {
    pub(crate) fn reject(&mut self, state: State, bad: BadRow<R>) -> Result<(), Cause> {
        if !self.facts.partitions.is_live(&bad.row) {
            self.facts.ignored.records += 1;
            return Ok(());
        }
        match self.fate(bad.reason) {
            Fate::DeadLetter => {
                self.note(state, &bad.row, Some(bad.reason))?;
                self.put_aside_if_live(bad);
            }
            Fate::Skip => {
                // Whoever gives records up by policy wants no breaker before the dead letters.
                self.settle_good(state, &bad.row)?;
                let BadRow { row, reason, detail, .. } = bad;
                self.out.push(Effect::Skip { row, reason, detail });
            }
            Fate::Stop => {
                let BadRow { row, reason, detail, .. } = bad;
                return Err(self.stop_at(row, reason, detail));
            }
        }
        Ok(())
    }

    /// A row that was parked and cannot be written. It is durable where it is until its dead letter is: a crash in
    /// between puts it aside once more, and loses nothing.
    pub(crate) fn reject_parked(
        &mut self,
        state: State,
        worker: WorkerId,
        rejected: RejectedParked<R>,
    ) -> Result<(), Cause> {
        let RejectedParked { row, reason, sqlstate, detail, attempts } = rejected;
        // It comes again with each retry until it is gone.
        let is_taken = self.facts.is_put_aside(&row) || self.facts.parked.is_given_up(worker, &row);
        if is_taken || !self.facts.partitions.is_live(&row) {
            return Ok(());
        }
        match self.fate(reason) {
            Fate::DeadLetter => {
                if self.facts.parked_put_aside() >= PARKED_PUT_ASIDE_MAX {
                    return Ok(());
                }
                self.note(state, &row, Some(reason))?;
                let origin = Origin::Parked(worker);
                self.put_aside_if_live(BadRow { origin, row, reason, sqlstate, detail, attempts });
            }
            Fate::Skip => {
                self.give_up(worker, &row);
                self.out.push(Effect::Skip { row, reason, detail });
            }
            Fate::Stop => return Err(self.stop_at(row, reason, detail)),
        }
        Ok(())
    }

    /// Names the record before the end for its sake: nobody else knows which of a batch's it was.
    fn stop_at(&mut self, row: Row<R>, reason: Reject, detail: Arc<str>) -> Cause {
        self.out.push(Effect::StopAt { row, reason, detail });
        Cause::BadRecord
    }

    /// A row that needs no dead letter is done with.
    pub(crate) fn settle_good(&mut self, state: State, row: &Row<R>) -> Result<(), Cause> {
        if self.settle_row(row) { self.note(state, row, None) } else { Ok(()) }
    }

    /// The record that was one too many holds its topic, and stays in it.
    fn put_aside_if_live(&mut self, bad: BadRow<R>) {
        if self.facts.partitions.is_live(&bad.row) {
            self.facts.dead_letters.waiting.push_back(bad);
        }
    }

    fn settle_row(&mut self, row: &Row<R>) -> bool {
        let is_settled = self.facts.partitions.settle(row);
        self.facts.ignored.records += u64::from(!is_settled);
        is_settled
    }

    /// Sends what waits, as far as the bound allows and no back-off runs. What is bad of a topic that is tried again
    /// waits for the verdict.
    pub(crate) fn put_aside(&mut self) {
        if self.facts.timers.is_running(TimerKind::DeadLetterRetry) {
            return;
        }
        while self.facts.dead_letters.in_flight.len() < DEAD_LETTERS_IN_FLIGHT_MAX {
            let is_due = |bad: &BadRow<R>| !self.is_held_back(bad);
            let due = self.facts.dead_letters.waiting.iter().position(is_due);
            let Some(bad) = due.and_then(|at| self.facts.dead_letters.waiting.remove(at)) else { return };
            let id = self.facts.new_id();
            let BadRow { row, reason, sqlstate, detail, attempts, origin: _ } = bad.clone();
            self.facts.dead_letters.in_flight.push((id, bad));
            self.out.push(Effect::DeadLetter { id, row, reason, sqlstate, detail, attempts });
        }
    }

    pub(crate) fn on_dead_lettered(&mut self, id: EffectId) {
        if let Some(bad) = self.take_dead_letter(id) {
            self.facts.retries.dead_letter.reset();
            match bad.origin {
                Origin::Read => {
                    self.settle_row(&bad.row);
                }
                Origin::Parked(worker) => self.give_up(worker, &bad.row),
            }
        }
    }

    pub(crate) fn on_dead_letter_failed(&mut self, id: EffectId, fault: Fault) -> Result<(), Cause> {
        let Some(bad) = self.take_dead_letter(id) else { return Ok(()) };
        if !self.facts.partitions.is_live(&bad.row) {
            return Ok(());
        }
        self.facts.dead_letters.waiting.push_front(bad);
        let verdict = Verdict::on_commit(fault, Dependency::Kafka);
        if matches!(verdict, Verdict::Retry(_)) && self.facts.timers.is_running(TimerKind::DeadLetterRetry) {
            // One outage fails all that is in flight, and uses up one retry.
            return Ok(());
        }
        let retry = self.config.retries.kafka;
        self.back_off(TimerKind::DeadLetterRetry, verdict, |facts| &mut facts.retries.dead_letter, retry)
    }

    fn take_dead_letter(&mut self, id: EffectId) -> Option<BadRow<R>> {
        let in_flight = &mut self.facts.dead_letters.in_flight;
        let Some(index) = in_flight.iter().position(|(asked, _)| *asked == id) else {
            self.facts.ignore_reply(id);
            return None;
        };
        Some(in_flight.remove(index).1)
    }

    const fn fate(&self, reason: Reject) -> Fate {
        if !reason.is_of_other_rows() {
            return self.fate_of_bad();
        }
        match self.config.on_unique_violation {
            // Parking refused it, too: no other row is in its way then, but the row itself.
            OnUniqueViolation::Park => self.fate_of_bad(),
            OnUniqueViolation::DeadLetter => Fate::DeadLetter,
            OnUniqueViolation::Skip => Fate::Skip,
            OnUniqueViolation::Stop => Fate::Stop,
        }
    }

    const fn fate_of_bad(&self) -> Fate {
        match self.config.on_bad_record {
            OnBadRecord::DeadLetter => Fate::DeadLetter,
            OnBadRecord::Skip => Fate::Skip,
            OnBadRecord::Stop => Fate::Stop,
        }
    }
}
