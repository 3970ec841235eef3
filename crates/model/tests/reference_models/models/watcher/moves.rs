//! What may happen to a Watcher next, drawn from what is outstanding.

use cdc_machine::{Cause, Fault, Retry, Signal, StateName};
use cdc_model::invariants::{Invariant, Violation, demand};
use cdc_model::sim::kafka::{Producer, Stage};
use cdc_model::sim::message::{PARTS, TABLES};
use cdc_watcher::{
    Batch, Batching, Config, Input, LeaseRefusal, OnHistoryLost, Retries, SourceRefusal, TimerKind,
    TopicState,
};
use proptest::prelude::*;

use super::super::harness::{End, Model};
use super::World;

const SOURCE: &[Fault] =
    &[Fault::Transient, Fault::Unreachable, Fault::RetryNow, Fault::Auth, Fault::Unfit, Fault::Fatal];
const BROKER: &[Fault] =
    &[Fault::Transient, Fault::Unreachable, Fault::Fenced, Fault::Auth, Fault::Unfit, Fault::Fatal];
const STORE: &[Fault] =
    &[Fault::Transient, Fault::Unreachable, Fault::RetryNow, Fault::Fenced, Fault::Auth, Fault::Fatal];
const REPORT: &[Fault] = &[Fault::Transient, Fault::TooLarge];

/// Rounds in which a world in good health has to come to rest; some dozens do.
const ROUNDS_MAX: u32 = 2_000;

/// What may happen next. A move that is impossible changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Write(u8),
    /// The source forgets all but so many changes.
    Forget(u8),
    Start,
    Identify(End),
    Lease(End),
    LeaseHeld,
    Renew(End),
    Release,
    Prepare(End),
    Open(End),
    Fetch(u8, End),
    LateFetch,
    /// The broker takes the next message of a queue, or does not.
    Append(usize, End),
    /// What the broker said of a queue's first message is heard.
    Report(usize, Fault),
    Save(End),
    LateSave,
    Fire(TimerKind),
    LoseProducer(Fault),
    Drain,
    Abort,
    /// The process dies; the save that was under way is still on its way, or not.
    Crash(bool),
}

impl Move {
    /// True for what happens in a world in good health.
    const fn is_well(self) -> bool {
        match self {
            Self::Identify(end)
            | Self::Lease(end)
            | Self::Renew(end)
            | Self::Prepare(end)
            | Self::Open(end)
            | Self::Fetch(_, end)
            | Self::Append(_, end)
            | Self::Save(end) => matches!(end, End::Good),
            Self::Start | Self::Release | Self::LateFetch | Self::LateSave => true,
            Self::Report(_, fault) => matches!(fault, Fault::Transient),
            Self::Fire(kind) => !matches!(kind, TimerKind::Drain),
            Self::Write(_)
            | Self::Forget(_)
            | Self::LeaseHeld
            | Self::LoseProducer(_)
            | Self::Drain
            | Self::Abort
            | Self::Crash(_) => false,
        }
    }
}

/// A request's ends, each fault among them.
fn ends(
    moves: &mut Vec<(u32, Move)>,
    is_asked: bool,
    weight: u32,
    faults: &[Fault],
    make: impl Fn(End) -> Move,
) {
    if is_asked {
        moves.extend([(weight, make(End::Good)), (1, make(End::Unheard))]);
        moves.extend(faults.iter().map(|fault| (1, make(End::Failed(*fault)))));
    }
}

impl Model for World {
    type Move = Move;

    fn drawn(to_the_letter: bool) -> BoxedStrategy<Self> {
        let retries = || (0..4_u32).prop_map(Retry::times);
        let limits = (1..6_u64, 1..4_u64, 1..4_u32, prop_oneof![Just(1_u64), Just(3), Just(100)]);
        (limits, (retries(), retries(), retries()), any::<bool>())
            .prop_map(move |((replay, interval, fetch, bytes), (mongodb, kafka, token_store), stops)| {
                Self::new(Config {
                    max_replay_events: if to_the_letter { 1 } else { replay },
                    token_save_interval: if to_the_letter { 1 } else { interval },
                    max_fetch_events: fetch,
                    max_in_flight_bytes: bytes,
                    on_history_lost: if stops { OnHistoryLost::Stop } else { OnHistoryLost::FromNow },
                    retries: Retries { mongodb, kafka, token_store },
                    ..Config::default()
                })
            })
            .boxed()
    }

    fn possible(&self) -> Vec<(u32, Move)> {
        let mut moves = vec![(6, Move::Write(1)), (3, Move::Write(3))];
        if self.config.on_history_lost == OnHistoryLost::FromNow {
            moves.push((1, Move::Forget(2)));
        }
        if self.late.is_some() {
            moves.push((4, Move::LateSave));
        }
        let process = &self.process;
        if process.life == 0 || process.is_stopped() {
            moves.push((30, Move::Start));
            return moves;
        }
        let it = &mut moves;
        ends(it, process.identify, 30, SOURCE, Move::Identify);
        ends(it, process.lease.is_some(), 40, STORE, Move::Lease);
        ends(it, process.renewal.is_some(), 12, STORE, Move::Renew);
        ends(it, process.preparation.is_some(), 30, BROKER, Move::Prepare);
        ends(it, process.opening.is_some(), 30, SOURCE, Move::Open);
        ends(it, process.fetch.is_some(), 12, SOURCE, |end| Move::Fetch(1, end));
        ends(it, process.fetch.is_some(), 24, &[], |end| Move::Fetch(3, end));
        ends(it, process.save.is_some(), 20, STORE, Move::Save);
        for (at, queue) in process.producer.queues.iter().enumerate() {
            ends(it, queue.iter().any(|it| it.stage == Stage::Sent), 16, REPORT, |end| Move::Append(at, end));
            let answer = queue.front().map(|it| it.stage).filter(|stage| *stage != Stage::Sent);
            it.extend(answer.map(|_| (12, Move::Report(at, Fault::Transient))));
            let faults = BROKER.iter().filter(|_| answer == Some(Stage::Failed));
            it.extend(faults.map(|fault| (1, Move::Report(at, *fault))));
        }
        let mut also = |is_so: bool, weight, it| moves.extend(is_so.then_some((weight, it)));
        also(process.lease.is_some(), 1, Move::LeaseHeld);
        also(process.release.is_some(), 12, Move::Release);
        also(process.late_fetch.is_some(), 3, Move::LateFetch);
        also(true, 1, Move::LoseProducer(Fault::Transient));
        also(process.deadline.is_none(), 1, Move::Drain);
        also(true, 1, Move::Crash(false));
        also(process.save.is_some(), 2, Move::Crash(true));
        also(process.deadline.is_some(), 1, Move::Abort);
        moves.extend(process.alarms.kinds().map(|kind| (4, Move::Fire(kind))));
        moves
    }

    fn make(&mut self, r#move: Move) {
        if self.violation.is_some() {
            return;
        }
        match r#move {
            Move::Write(changes) => (0..changes).for_each(|_| self.write()),
            Move::Forget(left) => self.oldest = self.oldest.max(self.log.saturating_sub(left.into())),
            Move::Start => self.start(),
            Move::Identify(end) if self.process.identify => {
                self.process.identify = false;
                self.tell(Input::SourceIdentified { result: end.done().map_err(SourceRefusal::Failed) });
            }
            Move::Lease(end) => self.lease(end),
            Move::LeaseHeld => {
                if let Some((id, _)) = self.process.lease.take() {
                    let held = LeaseRefusal::Held { expires_in: std::time::Duration::from_secs(1) };
                    self.tell(Input::LeaseTaken { id, result: Err(held) });
                }
            }
            Move::Renew(end) => {
                if let Some(id) = self.process.renewal.take() {
                    self.tell(Input::LeaseRenewed { id, result: end.done() });
                }
            }
            Move::Release => {
                if let Some(id) = self.process.release.take() {
                    self.tell(Input::LeaseReleased { id, result: () });
                }
            }
            Move::Prepare(end) => self.prepare(end),
            Move::Open(end) => self.open(end),
            Move::Fetch(at_most, end) => self.fetch(at_most, end),
            Move::LateFetch => {
                if let Some(epoch) = self.process.late_fetch.take() {
                    self.tell(Input::Fetched { epoch, result: Ok(Batch { events: vec![], idle: None }) });
                }
            }
            Move::Append(queue, end) => self.append(queue, end),
            Move::Report(queue, fault) => self.report(queue, fault),
            Move::Save(end) => self.save(end),
            Move::LateSave => {
                if let Some((incarnation, save)) = self.late.take() {
                    self.put(incarnation, &save);
                }
            }
            Move::Fire(kind) => self.fire(kind),
            Move::LoseProducer(fault) => {
                let stream = self.process.producer.stream;
                self.process.producer = Producer { stream, ..Producer::default() };
                self.tell(Input::ProducerLost { fault });
            }
            Move::Drain => {
                self.process.deadline = Some(self.config.drain_timeout);
                self.tell(Input::Signal(Signal::Drain));
            }
            Move::Abort => self.tell(Input::Signal(Signal::Abort)),
            Move::Crash(is_late) => {
                let save = self.process.save.take().filter(|_| is_late);
                self.late = save.map(|save| (self.incarnation, save));
                self.end();
                self.start();
            }
            Move::Identify(_) => {}
        }
    }

    fn rest(&mut self) {
        self.late = None;
        self.go_on(Self::is_at_rest, Invariant::Progress);
        self.make(Move::Drain);
        self.go_on(|world| world.process.is_stopped(), Invariant::ShutdownBound);
        let cause = self.process.machine.cause();
        let is_clean = cause == Some(Cause::Drained) && self.is_saved();
        self.fail(demand(is_clean, Invariant::ShutdownBound, || format!("a drain ends with {cause:?}")));
    }

    fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    fn trace(&self) -> u64 {
        self.trace
    }
}

impl World {
    fn prepare(&mut self, end: End) {
        let Some((id, batching)) = self.process.preparation.take() else { return };
        let (stream, is_single) = (self.process.producer.stream, batching == Batching::Single);
        self.process.producer = Producer { is_single, stream, ..Producer::default() };
        let partitions = u32::try_from(PARTS).unwrap_or(1);
        let holds_messages = self.holds_messages;
        let topic = TopicState { partitions, was_made: false, holds_messages, lineage: None };
        self.tell(Input::ProducerPrepared { id, result: end.done().map(|()| vec![topic; TABLES]) });
    }

    fn fire(&mut self, kind: TimerKind) {
        let Some(timer) = self.process.alarms.end(kind) else { return };
        self.tell(Input::Timer(timer));
        let has_ended = kind != TimerKind::Drain || self.process.is_stopped();
        self.fail(demand(has_ended, Invariant::ShutdownBound, || "it outlives its drain".to_owned()));
    }

    /// Everything owed is answered well, and every timer runs out, until `is_over`.
    fn go_on(&mut self, is_over: fn(&Self) -> bool, or_else: Invariant) {
        for _ in 0..ROUNDS_MAX {
            if is_over(self) || self.violation.is_some() {
                return;
            }
            let well = self.possible().into_iter().map(|(_, it)| it).filter(|it| it.is_well());
            well.collect::<Vec<_>>().into_iter().for_each(|it| self.make(it));
        }
        let what =
            format!("{:?} does not get on: {:?} is owed", self.process.machine, self.delivery.first_owed());
        self.fail(Err(Violation { invariant: or_else, what }));
    }

    fn is_saved(&self) -> bool {
        self.delivery.first_owed().is_none() && self.record.saved.is_some_and(|(saved, _)| saved == self.log)
    }

    fn is_at_rest(&self) -> bool {
        let is_working =
            self.process.machine.state() == StateName::Streaming && self.process.deadline.is_none();
        let is_told = self.record.gaps.iter().all(|(_, is_told)| *is_told);
        is_working && is_told && self.is_saved() && self.process.save.is_none()
    }
}
