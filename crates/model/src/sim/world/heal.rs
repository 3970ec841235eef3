//! The world gets well: every process runs, every request is answered well, time passes only while nothing else can
//! happen. Then everything has to come to rest, and to an end when asked.

use std::time::Duration;

use cdc_machine::{Cause, StateName};

use super::watcher::{REST_WITHIN, places};
use super::{WATCHERS, World};
use crate::invariants::{Invariant, Violation, demand};
use crate::sim::group::MEMBERS;
use crate::sim::schedule::{Act, How, Move};

/// What happens in a well world, one thing after the other.
pub(in crate::sim) const WELL: [Act; 31] = [
    Act::Start,
    Act::Thaw,
    Act::Replicate,
    Act::LateAppend,
    Act::LateSave,
    Act::Identify,
    Act::Lease,
    Act::Renew,
    Act::Release,
    Act::Prepare,
    Act::Open,
    Act::LateFetch,
    Act::Append,
    Act::Report,
    Act::Save,
    Act::Fetch,
    Act::Write,
    Act::StartSyncer,
    Act::ThawSyncer,
    Act::Connect,
    Act::Join,
    Act::News,
    Act::Acquire,
    Act::MoveOffsets,
    Act::CheckLedger,
    Act::Poll,
    Act::Transact,
    Act::Answer,
    Act::DeadLetter,
    Act::Commit,
    Act::Leave,
];

/// What only happens as long as the pipeline is to run.
const STARTS: [Act; 3] = [Act::Start, Act::StartSyncer, Act::Write];

/// Writes after the last fault: what was left of the schedule's, and these.
const WRITES_AFTER: u32 = 4;

/// What a round takes at least.
const ROUND: Duration = Duration::from_millis(10);

/// Answers of one kind, to one process, in one round.
const AT_ONCE_MAX: u32 = 64;

/// Rounds in which a well world comes to rest.
const ROUNDS_MAX: u32 = 4_000;

impl World {
    /// Everything gets well, comes to rest and ends.
    pub fn recover(&mut self) {
        self.is_well = true;
        self.options.writes = self.options.writes.max(self.written) + WRITES_AFTER;
        let before = self.coverage.written;
        self.mongo.lag = 0;
        let began = self.now;
        for _ in 0..ROUNDS_MAX {
            if self.violation.is_some() {
                return;
            }
            if self.is_at_rest() {
                self.coverage.after_faults += u64::from(self.coverage.written > before);
                self.check_rest();
                return self.shut_down();
            }
            if self.now > began + REST_WITHIN {
                break;
            }
            self.go_on(true);
        }
        let what = format!("the pipeline does not come to rest: {}", self.standing());
        self.fail(Err(Violation { invariant: Invariant::Progress, what }));
    }

    /// Whatever can happen well does; time passes where nothing does.
    fn go_on(&mut self, starts: bool) {
        let mut is_still = true;
        for act in WELL.into_iter().filter(|act| starts || !STARTS.contains(act)) {
            for who in 0..WATCHERS.max(MEMBERS) {
                for _ in 0..AT_ONCE_MAX {
                    if !self.can(act, who) || self.violation.is_some() {
                        break;
                    }
                    let arg = self.arg_of(act);
                    is_still &= act == Act::Fetch;
                    self.make(Move { act, who: u8::try_from(who).unwrap_or(0), arg, how: How::Good });
                    if matches!(act, Act::Fetch | Act::Write | Act::Replicate) {
                        break;
                    }
                }
            }
        }
        if is_still {
            self.let_time_pass();
        }
        self.now += ROUND;
        while self.violation.is_none() && self.next_timer().is_some_and(|(at, ..)| at <= self.now) {
            self.let_time_pass();
        }
    }

    /// Writes differ; fetches bring as much as they may; reports are of all partitions.
    #[expect(clippy::wildcard_enum_match_arm, reason = "each place takes the acts that are its own")]
    fn arg_of(&self, act: Act) -> u16 {
        match act {
            Act::Write => u16::try_from(self.written.wrapping_mul(0x2f35) & 0xffff).unwrap_or(0),
            Act::Fetch => 7,
            _ => 0,
        }
    }

    fn let_time_pass(&mut self) {
        if let Some((_, act, who)) = self.next_timer() {
            self.make(Move { act, who: u8::try_from(who).unwrap_or(0), arg: 0, how: How::Good });
        }
    }

    fn next_timer(&self) -> Option<(Duration, Act, usize)> {
        let watcher = |who: usize| {
            let process = self.watchers[who].as_ref().filter(|process| !process.is_stopped());
            process.and_then(|process| process.alarms.next()).map(|at| (at, Act::Tick, who))
        };
        let syncer = |who: usize| {
            let process = self.syncers[who].as_ref().filter(|process| !process.is_stopped());
            process.and_then(|process| process.alarms.next()).map(|at| (at, Act::TickSyncer, who))
        };
        places().filter_map(watcher).chain((0..MEMBERS).filter_map(syncer)).min_by_key(|(at, ..)| *at)
    }

    fn is_at_rest(&self) -> bool {
        let is_working = self
            .watchers
            .iter()
            .flatten()
            .any(|process| process.machine.state() == StateName::Streaming && process.save.is_none());
        is_working
            && self.written >= self.options.writes
            && !self.mongo.is_behind()
            && self.kafka.late.is_empty()
            && self.is_written_out()
            && self.oracles.delivery.first_owed().is_none()
            && self.store.saved().is_some_and(|saved| saved >= self.mongo.end_seen())
    }

    /// Everything in Kafka is written, and the ledger says so.
    pub(in crate::sim) fn is_written_out(&self) -> bool {
        let rows = self.postgres.ledger.iter().zip(&self.kafka.logs);
        let ends = rows
            .into_iter()
            .all(|(row, log)| log.from(row.next.unwrap_or(0).max(log.first)).next().is_none());
        ends && self.postgres.parked.is_empty()
            && self.postgres.transactions.is_empty()
            && self.answers.is_empty()
    }

    /// A drain of a well pipeline ends, and cleanly.
    fn shut_down(&mut self) {
        for who in 0..MEMBERS {
            self.make(Move {
                act: Act::DrainSyncer,
                who: u8::try_from(who).unwrap_or(0),
                arg: 0,
                how: How::Good,
            });
        }
        for who in places() {
            self.make(Move { act: Act::Drain, who: u8::try_from(who).unwrap_or(0), arg: 0, how: How::Good });
        }
        let began = self.now;
        let limit = began + self.options.watcher.drain_timeout;
        for _ in 0..ROUNDS_MAX {
            let is_over = self.watchers.iter().flatten().all(|process| process.is_stopped())
                && self.syncers.iter().flatten().all(|process| process.is_stopped());
            if is_over || self.violation.is_some() || self.now > limit {
                break;
            }
            self.go_on(false);
        }
        let watchers = self.watchers.iter().flatten().map(|process| process.machine.cause());
        let ends = watchers.chain(self.syncers.iter().flatten().map(|process| process.machine.cause()));
        // Of two processes one may have lost its lease long ago, and not have heard of it yet.
        let is_clean = ends.clone().all(|cause| matches!(cause, Some(Cause::Drained | Cause::LeaseLost)));
        let what = || format!("a drain of a well pipeline ends so: {:?}", ends.collect::<Vec<_>>());
        let checked = demand(is_clean, Invariant::ShutdownBound, what);
        self.fail(checked);
    }

    fn standing(&self) -> String {
        let states: Vec<_> = self.watchers.iter().flatten().map(|it| it.machine.state()).collect();
        let syncers: Vec<_> = self.syncers.iter().flatten().map(|it| it.machine.state()).collect();
        format!(
            "the first change that Kafka lacks is {:?}, the store holds {:?}, the source ends at {}; {states:?} {syncers:?}, the \
             ledger {:?} of {:?}, parked {:?}, {:?}",
            self.oracles.delivery.first_owed(),
            self.store.saved(),
            self.mongo.end_seen(),
            self.postgres.ledger,
            self.kafka.logs.iter().map(|log| (log.first, log.end)).collect::<Vec<_>>(),
            self.postgres.parked,
            self.postgres.transactions,
        )
    }
}
