//! What holds after every step, whatever the world does. Tests, simulations and debug monitors ask.

use crate::bad_rows::DEAD_LETTERS_IN_FLIGHT_MAX;
use crate::facts::{Origin, Polling};
use crate::parked::{Phase, is_served};
use crate::partitions::{Assignment, Stage};
use crate::state::{Connecting, State};
use crate::worker::{Worker, Writer};
use crate::{Config, Row, Syncer, TimerKind, WorkerId};

impl<R: Clone> Syncer<R> {
    /// Checks the machine's invariants. They hold as long as a fetch is answered with at most what it asked
    /// for.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check_invariants(&self, config: &Config) -> Result<(), &'static str> {
        if matches!(self.state, State::Stopped(_)) {
            return Ok(());
        }
        for window in self.facts.partitions.windows() {
            window.check()?;
        }
        self.check_lanes(config)?;
        self.check_slots()?;
        self.check_commit()?;
        self.check_parked()?;
        self.check_outage()?;
        ensure(
            self.facts.breakers.is_any_probed() == self.facts.timers.is_running(TimerKind::Probe),
            "a topic that is tried again has its time",
        )?;
        self.check_polling()?;
        self.check_holds()?;
        ensure(
            self.facts.partitions.records() <= config.buffered_records(),
            "records from poll to offset commit are bounded",
        )?;
        ensure(
            self.facts.dead_letters.in_flight.len() <= DEAD_LETTERS_IN_FLIGHT_MAX,
            "dead letters in flight are bounded",
        )?;
        ensure(
            self.facts.revocations.is_empty() != self.facts.timers.is_running(TimerKind::Revocation),
            "a revocation has its deadline",
        )?;
        self.facts.breakers.check()?;
        self.check_state()
    }

    fn check_lanes(&self, config: &Config) -> Result<(), &'static str> {
        for (id, worker) in (0u32..).map(WorkerId).zip(&self.facts.workers) {
            check_lane(worker, config)?;
            ensure(
                matches!(worker.writer, Writer::BackingOff(_))
                    == self.facts.timers.is_running(TimerKind::WriteRetry(id)),
                "a writer that backs off has its timer",
            )?;
            let timed = self.facts.timers.is_running(TimerKind::Linger(id))
                || self.facts.timers.is_running(TimerKind::Flush(id));
            ensure(
                timed || !worker.is_idle() || worker.waiting.is_empty(),
                "rows that wait for an idle writer are timed",
            )?;
        }
        Ok(())
    }

    /// Each slot in flight has exactly one row: waiting, being written, or on its way to the dead letters.
    fn check_slots(&self) -> Result<(), &'static str> {
        let mut rows = 0;
        for row in self.rows() {
            if let Some(Assignment { epoch, stage: Stage::Serving(window) | Stage::Revoking(window) }) =
                self.facts.partitions.get(row.partition)
                && *epoch == row.epoch
            {
                ensure(window.is_in_flight(row.seq), "a row's slot is in flight")?;
                rows += 1;
            }
        }
        ensure(rows == self.facts.partitions.unsettled(), "each slot in flight has its row")
    }

    fn rows(&self) -> impl Iterator<Item = &Row<R>> {
        let dead_letters = &self.facts.dead_letters;
        let bad = dead_letters.in_flight.iter().map(|(_, bad)| bad).chain(&dead_letters.waiting);
        let bad = bad.filter(|bad| bad.origin == Origin::Read);
        let held = self.facts.workers.iter().flat_map(|worker| {
            let at_work = match &worker.writer {
                Writer::Idle | Writer::Retrying { .. } => None,
                Writer::Writing { piece, .. } | Writer::BackingOff(piece) | Writer::OutOfReach(piece) => {
                    Some(piece)
                }
            };
            let pieces = at_work.into_iter().chain(&worker.pieces);
            worker.waiting.iter().chain(pieces.flat_map(|piece| piece.batch.rows()))
        });
        bad.map(|bad| &bad.row).chain(held)
    }

    fn check_commit(&self) -> Result<(), &'static str> {
        for commit in self.facts.commit.iter().flat_map(|commit| &commit.offsets) {
            if let Some(Assignment { epoch, stage: Stage::Serving(window) | Stage::Revoking(window) }) =
                self.facts.partitions.get(commit.partition)
                && *epoch == commit.epoch
            {
                ensure(window.covers(&commit.offset), "committed ≤ written")?;
            }
        }
        Ok(())
    }

    /// A worker with parked rows in a served partition has its retry in view, and no other worker has.
    fn check_parked(&self) -> Result<(), &'static str> {
        let draining = matches!(self.state, State::Draining(_));
        for (id, worker) in (0u32..).map(WorkerId).zip(&self.facts.workers) {
            let phase = self.facts.parked.retry(id).map(|retry| retry.phase);
            let has_rows = self.facts.parked.entries().any(|(of, partition, epoch, _)| {
                let assignment = self.facts.partitions.get(partition);
                of == id && assignment.is_some_and(|it| it.epoch == epoch && is_served(it))
            });
            ensure(phase.is_some() == (has_rows && !draining), "parked rows have their retry in view")?;
            ensure(
                matches!(phase, Some(Phase::Soon | Phase::Later))
                    == self.facts.timers.is_running(TimerKind::ParkedRetry(id)),
                "a retry that waits has its timer",
            )?;
            ensure(
                phase != Some(Phase::Due) || !worker.is_idle(),
                "a retry that is due waits for nothing but its writer",
            )?;
        }
        Ok(())
    }

    /// Whatever waits for PostgreSQL has the timer that ends its wait.
    fn check_outage(&self) -> Result<(), &'static str> {
        let is_waiting = self.facts.parked.is_any_out_of_reach()
            || self.facts.workers.iter().any(|worker| matches!(worker.writer, Writer::OutOfReach(_)));
        ensure(
            !is_waiting || self.facts.timers.is_running(TimerKind::OutageRetry),
            "what waits for PostgreSQL is tried again in time",
        )
    }

    /// A held partition has its reason and the timer that ends its wait, and no timer runs for nothing.
    fn check_holds(&self) -> Result<(), &'static str> {
        let holds = self.facts.holds.entries();
        let held = |partition, is_passing| {
            holds.get(&partition).is_some_and(|held| held.reason.is_passing() == is_passing)
        };
        for (timer, is_passing) in [(TimerKind::HeldTable, false), (TimerKind::LockedTable, true)] {
            let is_waiting = self.facts.partitions.iter().any(|(partition, assignment)| {
                matches!(assignment.stage, Stage::Held | Stage::Full) && held(partition, is_passing)
            });
            ensure(is_waiting == self.facts.timers.is_running(timer), "a table is looked at again in time")?;
        }
        for (partition, assignment) in self.facts.partitions.iter() {
            ensure(
                !matches!(assignment.stage, Stage::Held | Stage::Full) || holds.contains_key(&partition),
                "a held partition has its reason",
            )?;
            ensure(
                assignment.window().is_none() || !holds.contains_key(&partition),
                "a partition that is read is not held",
            )?;
        }
        Ok(())
    }

    fn check_polling(&self) -> Result<(), &'static str> {
        ensure(
            (self.facts.polling == Polling::Stalled) == self.facts.timers.is_running(TimerKind::Pause),
            "the pause timer runs exactly while there is no room",
        )
    }

    fn check_state(&self) -> Result<(), &'static str> {
        match self.state {
            State::Connecting(
                Connecting::NotStarted
                | Connecting::Database { .. }
                | Connecting::DatabaseDue
                | Connecting::GroupDue,
            ) => ensure(
                self.facts.partitions.iter().next().is_none(),
                "without a consumer nothing is assigned",
            ),
            State::Draining(_) => {
                ensure(self.facts.timers.is_running(TimerKind::Drain), "a drain has its timer")?;
                ensure(!self.facts.partitions.is_any_waiting(), "a drain takes nothing on")
            }
            State::SavingToken => ensure(
                self.facts.partitions.unsettled() == 0 && self.facts.partitions.records() > 0,
                "SavingToken has everything written and something to commit",
            ),
            State::Connecting(Connecting::Group { .. })
            | State::Streaming
            | State::AwaitingAck
            | State::Stopped(_) => Ok(()),
        }
    }
}

fn check_lane<R: Clone>(worker: &Worker<R>, config: &Config) -> Result<(), &'static str> {
    ensure(
        worker.rows_in_hand() + worker.waiting.len() <= config.lane_rows(),
        "a lane holds at most a batch and a channel",
    )?;
    ensure(worker.rows_in_hand() <= config.batch_rows(), "a batch is bounded")?;
    ensure(worker.due <= worker.waiting.len(), "only what waits is due")?;
    ensure(
        worker.waiting.iter().map(|row| u64::from(row.bytes)).sum::<u64>() == worker.waiting_bytes,
        "a lane's bytes sum its rows",
    )?;
    ensure(!worker.is_idle() || worker.pieces.is_empty(), "an idle writer has no pieces left")?;
    ensure(!worker.is_idle() || (worker.due == 0 && !worker.is_full(config)), "what is due is written")
}

const fn ensure(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}
