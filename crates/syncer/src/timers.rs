use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Effects, TimerId};

use crate::{Effect, TimerKind, WorkerId};

/// Kinds that exist once; behind them come [`PER_WORKER`] for each worker.
const SINGLE: usize = 14;
const PER_WORKER: usize = 4;

/// Which timers run. At most one of a kind does; one set again has a new generation, so that the expiry of
/// the old one is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Timers {
    alarms: Vec<Alarm>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Alarm {
    is_running: bool,
    /// How often it has been set.
    sets: u64,
}

impl Timers {
    pub(crate) fn new(workers: usize) -> Self {
        Self { alarms: vec![Alarm::default(); SINGLE + PER_WORKER * workers] }
    }

    pub(crate) fn set<R>(&mut self, kind: TimerKind, after: Duration, out: &mut Effects<Effect<R>>) {
        if let Some(alarm) = self.alarms.get_mut(place(kind)) {
            let timer = TimerId { kind, generation: alarm.sets };
            *alarm = Alarm { is_running: true, sets: alarm.sets + 1 };
            out.push(Effect::SetTimer { timer, after });
        }
    }

    pub(crate) fn cancel<R>(&mut self, kind: TimerKind, out: &mut Effects<Effect<R>>) {
        if let Some(timer) = self.running(kind) {
            self.retire(kind);
            out.push(Effect::CancelTimer { timer });
        }
    }

    /// Takes an expiry; false where it is not the running timer's.
    pub(crate) fn expire(&mut self, timer: TimerId<TimerKind>) -> bool {
        let is_current = self.running(timer.kind) == Some(timer);
        if is_current {
            self.retire(timer.kind);
        }
        is_current
    }

    pub(crate) fn is_running(&self, kind: TimerKind) -> bool {
        self.running(kind).is_some()
    }

    /// The running timer of this kind.
    pub(crate) fn running(&self, kind: TimerKind) -> Option<TimerId<TimerKind>> {
        let alarm = self.alarms.get(place(kind)).filter(|alarm| alarm.is_running)?;
        Some(TimerId { kind, generation: alarm.sets - 1 })
    }

    /// True where such a timer has been set.
    pub(crate) fn was_set(&self, timer: TimerId<TimerKind>) -> bool {
        self.alarms.get(place(timer.kind)).is_some_and(|alarm| timer.generation < alarm.sets)
    }

    fn retire(&mut self, kind: TimerKind) {
        if let Some(alarm) = self.alarms.get_mut(place(kind)) {
            alarm.is_running = false;
        }
    }
}

const fn place(kind: TimerKind) -> usize {
    match kind {
        TimerKind::Reconnect => 0,
        TimerKind::CommitRetry => 1,
        TimerKind::DeadLetterRetry => 2,
        TimerKind::AcquireRetry => 3,
        TimerKind::CommitSpacing => 4,
        TimerKind::Pause => 5,
        TimerKind::Revocation => 6,
        TimerKind::Drain => 7,
        TimerKind::LedgerCheck => 8,
        TimerKind::Fencing => 9,
        TimerKind::HeldTable => 10,
        TimerKind::LockedTable => 11,
        TimerKind::OutageRetry => 12,
        TimerKind::Probe => 13,
        TimerKind::WriteRetry(WorkerId(worker)) => SINGLE + PER_WORKER * worker as usize,
        TimerKind::Linger(WorkerId(worker)) => SINGLE + PER_WORKER * worker as usize + 1,
        TimerKind::Flush(WorkerId(worker)) => SINGLE + PER_WORKER * worker as usize + 2,
        TimerKind::ParkedRetry(WorkerId(worker)) => SINGLE + PER_WORKER * worker as usize + 3,
    }
}
