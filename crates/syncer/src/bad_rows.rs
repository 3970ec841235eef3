//! Rows that cannot be written: put aside, given up or the end, as the policies say.

mod breaker;
mod breakers;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use cdc_machine::{Backoff, Cause, Dependency, EffectId, Fault, Settlement, Verdict, ensure};

use self::breakers::Breakers;
use crate::config::{OnBadRecord, OnUniqueViolation};
use crate::context::{Context, Timers};
use crate::hold::Holds;
use crate::parked::Parked;
use crate::partitions::{Partitions, Stage};
use crate::verdict;
use crate::{Config, Effect, Partition, Reject, Row, SqlState, TimerKind, Topic, WorkerId};

/// Dead letters in flight at once. Those that wait are bounded by the records from poll to offset commit.
const IN_FLIGHT_MAX: usize = 16;

/// Parked rows on their way to the dead letters at once; others stay parked that long.
const PARKED_PUT_ASIDE_MAX: usize = 256;

/// Rows on their way to the dead letters, and the topics' breakers in front of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BadRows<R> {
    waiting: VecDeque<BadRow<R>>,
    in_flight: Vec<(EffectId, BadRow<R>)>,
    breakers: Breakers,
    retries: Backoff,
    /// The row that the service ends at, by policy: nobody else knows which of a batch's it was.
    last: Option<BadRow<R>>,
}

/// What is done with a bad row once it is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// It was read: its slot settles.
    Read,
    /// It was parked by this worker, and settled then: its entry is given up.
    Parked(WorkerId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BadRow<R> {
    pub(crate) origin: Origin,
    pub(crate) row: Row<R>,
    pub(crate) reason: Reject,
    pub(crate) sqlstate: Option<SqlState>,
    pub(crate) detail: Arc<str>,
    pub(crate) attempts: u32,
}

/// What becomes of one bad row.
enum Fate {
    DeadLetter,
    Skip,
    Stop,
}

impl<R: Clone> BadRows<R> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            in_flight: Vec::new(),
            breakers: Breakers::default(),
            retries: Backoff::new(),
            last: None,
        }
    }

    /// A row that needs no dead letter is done with.
    pub(crate) fn settle(
        &mut self,
        row: &Row<R>,
        holds: &mut Holds,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        if settle_row(row, partitions) {
            return self.breakers.note(row, None, holds, partitions, cx);
        }
        Ok(())
    }

    /// A row cannot be written. One that was parked is durable where it is until its dead letter is: a crash in
    /// between puts it aside once more, and loses nothing.
    pub(crate) fn reject(
        &mut self,
        bad: BadRow<R>,
        parked: &mut Parked,
        holds: &mut Holds,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let is_read = bad.origin == Origin::Read;
        if !partitions.is_live(&bad.row) {
            partitions.ignore_records(u64::from(is_read));
            return Ok(());
        }
        if let Origin::Parked(worker) = bad.origin
            && (self.is_put_aside(&bad.row) || parked.is_given_up(worker, &bad.row))
        {
            // It comes again with each retry until it is gone.
            return Ok(());
        }
        match fate(bad.reason, cx.config) {
            Fate::DeadLetter if !is_read && self.parked_rows().count() >= PARKED_PUT_ASIDE_MAX => {}
            Fate::DeadLetter => return self.put_aside_later(bad, holds, partitions, cx),
            Fate::Skip => {
                match bad.origin {
                    // Whoever gives records up by policy wants no breaker before the dead letters.
                    Origin::Read => self.settle(&bad.row, holds, partitions, cx)?,
                    Origin::Parked(worker) => parked.give_up(worker, &bad.row, partitions, cx),
                }
                let BadRow { row, reason, detail, .. } = bad;
                cx.order(Effect::Skip { row, reason, detail });
            }
            Fate::Stop => {
                self.last = Some(bad);
                return Err(Cause::BadRecord);
            }
        }
        Ok(())
    }

    /// Sends what waits, as far as the bound allows and no back-off runs. What is bad of a topic that is tried again
    /// waits for the verdict.
    pub(crate) fn put_aside(&mut self, partitions: &Partitions, cx: &mut Context<'_, R>) {
        if cx.is_running(TimerKind::DeadLetterRetry) {
            return;
        }
        while self.in_flight.len() < IN_FLIGHT_MAX {
            let due = self.waiting.iter().position(|bad| !self.is_held_back(bad, partitions));
            let Some(bad) = due.and_then(|at| self.waiting.remove(at)) else { return };
            let id = cx.ids.new_effect();
            let BadRow { row, reason, sqlstate, detail, attempts, origin: _ } = bad.clone();
            self.in_flight.push((id, bad));
            cx.order(Effect::DeadLetter { id, row, reason, sqlstate, detail, attempts });
        }
    }

    pub(crate) fn on_dead_lettered(
        &mut self,
        id: EffectId,
        answer: Result<(), Fault>,
        parked: &mut Parked,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        let Some(at) = self.in_flight.iter().position(|(asked, _)| *asked == id) else {
            cx.ids.ignore_reply(id);
            return Ok(());
        };
        let (_, bad) = self.in_flight.remove(at);
        let Err(fault) = answer else {
            self.retries.reset();
            match bad.origin {
                Origin::Read => drop(settle_row(&bad.row, partitions)),
                Origin::Parked(worker) => parked.give_up(worker, &bad.row, partitions, cx),
            }
            return Ok(());
        };
        if !partitions.is_live(&bad.row) {
            return Ok(());
        }
        self.waiting.push_front(bad);
        let verdict = verdict::on_commit(fault, Dependency::Kafka);
        if matches!(verdict, Verdict::Retry(_)) && cx.is_running(TimerKind::DeadLetterRetry) {
            // One outage fails all that is in flight, and uses up one retry.
            return Ok(());
        }
        verdict.back_off(TimerKind::DeadLetterRetry, &mut self.retries, cx.config.retries.kafka, cx)
    }

    pub(crate) const fn breakers(&mut self) -> &mut Breakers {
        &mut self.breakers
    }

    /// Neither a drain nor a revocation waits for a verdict: what is held back stays in the topic, for the next owner.
    pub(crate) fn leave_probed(&self, is_draining: bool, partitions: &mut Partitions) {
        if !self.breakers.is_any_probed() {
            return;
        }
        let held_back = self.waiting.iter().filter(|bad| self.is_held_back(bad, partitions));
        let held_back: Vec<Partition> = held_back.map(|bad| bad.row.partition).collect();
        for partition in held_back {
            let stage = partitions.get(partition).map(|assignment| &assignment.stage);
            let is_going = matches!(stage, Some(Stage::Revoking(_)));
            if is_going || (is_draining && matches!(stage, Some(Stage::Serving(_)))) {
                partitions.lose(partition);
            }
        }
    }

    /// Forgets those that wait for assignments that are gone.
    pub(crate) fn drop_stale(&mut self, partitions: &Partitions) {
        self.waiting.retain(|bad| partitions.is_live(&bad.row));
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    /// The row that the service ended at.
    pub(crate) const fn last(&self) -> Option<&BadRow<R>> {
        self.last.as_ref()
    }

    /// The rows whose slots are still to settle.
    pub(crate) fn read_rows(&self) -> impl Iterator<Item = &Row<R>> {
        self.all().filter(|bad| bad.origin == Origin::Read).map(|bad| &bad.row)
    }

    pub(crate) fn check(&self, timers: &Timers) -> Result<(), &'static str> {
        ensure(self.in_flight.len() <= IN_FLIGHT_MAX, "dead letters in flight are bounded")?;
        ensure(
            self.breakers.is_any_probed() == timers.is_running(TimerKind::Probe),
            "a topic that is tried again has its time",
        )?;
        self.breakers.check()
    }

    /// Those in flight of assignments that are gone all behave alike.
    pub(crate) fn situation(&self, topic: Topic, partitions: &Partitions) -> [u64; 6] {
        let is_current = |row: &Row<R>| partitions.current(row.partition, row.epoch).is_some();
        let live = self.in_flight.iter().filter(|(_, bad)| is_current(&bad.row)).count();
        [
            self.waiting.len() as u64,
            live as u64,
            u64::from(self.in_flight.len() > live),
            self.parked_rows().filter(|row| is_current(row)).count() as u64,
            self.breakers.situation(topic),
            u64::from(self.retries.retries()),
        ]
    }

    /// Counts the row for its topic's breaker. The record that was one too many holds its topic, and stays in it.
    fn put_aside_later(
        &mut self,
        bad: BadRow<R>,
        holds: &mut Holds,
        partitions: &mut Partitions,
        cx: &mut Context<'_, R>,
    ) -> Result<(), Cause> {
        self.breakers.note(&bad.row, Some(bad.reason), holds, partitions, cx)?;
        if partitions.is_live(&bad.row) {
            self.waiting.push_back(bad);
        }
        Ok(())
    }

    /// True where the verdict on its topic decides what becomes of a bad row.
    fn is_held_back(&self, bad: &BadRow<R>, partitions: &Partitions) -> bool {
        let topic = partitions.topic(bad.row.partition);
        partitions.is_live(&bad.row) && topic.is_some_and(|topic| self.breakers.is_probing(topic))
    }

    /// True where a parked row is on its way to the dead letters.
    fn is_put_aside(&self, row: &Row<R>) -> bool {
        let place = |row: &Row<R>| (row.partition, row.epoch, row.offset);
        self.parked_rows().any(|it| place(it) == place(row))
    }

    fn parked_rows(&self) -> impl Iterator<Item = &Row<R>> {
        self.all().filter(|bad| bad.origin != Origin::Read).map(|bad| &bad.row)
    }

    fn all(&self) -> impl Iterator<Item = &BadRow<R>> {
        self.in_flight.iter().map(|(_, bad)| bad).chain(&self.waiting)
    }
}

/// Settles the row's slot; false where its assignment is gone.
fn settle_row<R>(row: &Row<R>, partitions: &mut Partitions) -> bool {
    let window = partitions.window_mut(row.partition, row.epoch);
    let is_settled = window.is_some_and(|window| window.settle(row.seq) == Settlement::Settled);
    partitions.ignore_records(u64::from(!is_settled));
    is_settled
}

const fn fate(reason: Reject, config: &Config) -> Fate {
    if reason.is_of_other_rows() {
        match config.on_unique_violation {
            OnUniqueViolation::DeadLetter => return Fate::DeadLetter,
            OnUniqueViolation::Skip => return Fate::Skip,
            OnUniqueViolation::Stop => return Fate::Stop,
            // Parking refused it, too: no other row is in its way then, but the row itself.
            OnUniqueViolation::Park => {}
        }
    }
    match config.on_bad_record {
        OnBadRecord::DeadLetter => Fate::DeadLetter,
        OnBadRecord::Skip => Fate::Skip,
        OnBadRecord::Stop => Fate::Stop,
    }
}
