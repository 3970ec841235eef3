//! When parked rows are tried again: each worker's on a schedule of its own, sooner once a row was written.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::context::Context;
use crate::{TimerKind, WorkerId};

/// The wait after a first retry; it doubles with each one that changes nothing.
const RETRY_WAIT: Duration = Duration::from_millis(50);

/// The longest wait after a write that may have freed a value.
const SOON_MAX: Duration = Duration::from_millis(500);

/// The longest wait otherwise: other processes may free a value, too.
const LATER_MAX: Duration = Duration::from_secs(2);

/// The next retry of each worker with parked rows in served partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Retries {
    of: BTreeMap<WorkerId, Retry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Retry {
    phase: Phase,
    /// Retries in a row that changed nothing.
    fruitless: u32,
}

/// How far a worker's next retry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// The timer runs, and nothing is known to have changed.
    Later,
    /// The timer runs, and some row was written since the last retry.
    Soon,
    /// PostgreSQL is out of reach: it begins with everything else that waits for it.
    OutOfReach,
    /// It begins as soon as the writer is free.
    Due,
    /// It is under way.
    InFlight,
    /// The same, and some row was written meanwhile.
    Woken,
}

impl Retry {
    fn wait(self) -> Duration {
        let longest = if self.phase == Phase::Soon { SOON_MAX } else { LATER_MAX };
        (RETRY_WAIT * (1 << self.fruitless.min(8))).min(longest)
    }

    /// A row was written: what waits for its old value need not wait for long.
    fn wake<R>(&mut self, worker: WorkerId, cx: &mut Context<'_, R>) {
        match self.phase {
            Phase::Later => {
                self.phase = Phase::Soon;
                cx.set_timer(TimerKind::ParkedRetry(worker), self.wait());
            }
            Phase::InFlight => self.phase = Phase::Woken,
            Phase::Soon | Phase::OutOfReach | Phase::Due | Phase::Woken => {}
        }
    }
}

impl Retries {
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(super) fn phase(&self, worker: WorkerId) -> Option<Phase> {
        self.of.get(&worker).map(|retry| retry.phase)
    }

    pub(super) fn wake_all<R>(&mut self, cx: &mut Context<'_, R>) {
        for (worker, retry) in &mut self.of {
            retry.wake(*worker, cx);
        }
    }

    pub(super) fn wake<R>(&mut self, worker: WorkerId, cx: &mut Context<'_, R>) {
        if let Some(retry) = self.of.get_mut(&worker) {
            retry.wake(worker, cx);
        }
    }

    /// More rows are parked: the schedule starts over.
    pub(super) fn start_over(&mut self, worker: WorkerId) {
        if let Some(retry) = self.of.get_mut(&worker) {
            retry.fruitless = 0;
        }
    }

    /// Sees that a retry is in view where it is wanted, and only there.
    pub(super) fn want<R>(&mut self, worker: WorkerId, is_wanted: bool, cx: &mut Context<'_, R>) {
        match (is_wanted, self.of.contains_key(&worker)) {
            (true, false) => self.time(worker, Phase::Soon, 0, cx),
            (false, true) => self.end(worker, cx),
            (true, true) | (false, false) => {}
        }
    }

    pub(crate) fn make_due(&mut self, worker: WorkerId) {
        self.set_phase(worker, Phase::Due);
    }

    pub(super) fn begin(&mut self, worker: WorkerId) {
        self.set_phase(worker, Phase::InFlight);
    }

    /// PostgreSQL is out of reach. The timer runs where the retry that has failed was of an assignment before.
    pub(crate) fn begin_outage<R>(&mut self, worker: WorkerId, cx: &mut Context<'_, R>) {
        cx.cancel_timer(TimerKind::ParkedRetry(worker));
        self.set_phase(worker, Phase::OutOfReach);
    }

    /// PostgreSQL is to be tried again.
    pub(crate) fn end_outage(&mut self) {
        for retry in self.of.values_mut().filter(|retry| retry.phase == Phase::OutOfReach) {
            retry.phase = Phase::Due;
        }
    }

    /// True where a retry waits for PostgreSQL.
    pub(super) fn is_any_out_of_reach(&self) -> bool {
        self.of.values().any(|retry| retry.phase == Phase::OutOfReach)
    }

    /// PostgreSQL answered that it may work later.
    pub(crate) fn back_off<R>(&mut self, worker: WorkerId, wait: Duration, cx: &mut Context<'_, R>) {
        if self.of.contains_key(&worker) {
            self.set_phase(worker, Phase::Soon);
            cx.set_timer(TimerKind::ParkedRetry(worker), wait);
        }
    }

    /// Times the next retry after one that has ended.
    pub(super) fn again<R>(&mut self, worker: WorkerId, is_changed: bool, cx: &mut Context<'_, R>) {
        let Some(Retry { phase, fruitless }) = self.of.get(&worker).copied() else { return };
        let fruitless = if is_changed { 0 } else { fruitless.saturating_add(1) };
        let is_woken = is_changed || phase == Phase::Woken;
        self.time(worker, if is_woken { Phase::Soon } else { Phase::Later }, fruitless, cx);
    }

    /// There is nothing more to be tried. The timer runs where this was the retry of an assignment before.
    pub(super) fn end<R>(&mut self, worker: WorkerId, cx: &mut Context<'_, R>) {
        if self.of.remove(&worker).is_some() {
            cx.cancel_timer(TimerKind::ParkedRetry(worker));
        }
    }

    fn time<R>(&mut self, worker: WorkerId, phase: Phase, fruitless: u32, cx: &mut Context<'_, R>) {
        let retry = Retry { phase, fruitless };
        self.of.insert(worker, retry);
        cx.set_timer(TimerKind::ParkedRetry(worker), retry.wait());
    }

    fn set_phase(&mut self, worker: WorkerId, phase: Phase) {
        if let Some(retry) = self.of.get_mut(&worker) {
            retry.phase = phase;
        }
    }
}
