//! What may happen to a process with a Watcher, and what follows from it.

use std::time::Duration;

use cdc_machine::{Fault, Machine as _, Signal};
use cdc_watcher::{
    Batch, CollectionId, Contents, Event, Input, Opened, Payload, SourceRefusal, StartAt, TimerKind,
};

use super::record::LATE_SAVES_MAX;
use super::{WATCHERS, World};
use crate::invariants::{Delivery, Invariant, Violation, demand};
use crate::sim::kafka::Producer;
use crate::sim::message::{Message, TABLES, Token};
use crate::sim::schedule::{Act, How};
use crate::sim::store::Store;
use crate::sim::watching::{Opening, Watching};

type Fact = Input<Message, Token>;

impl World {
    #[expect(clippy::wildcard_enum_match_arm, reason = "each place takes the acts that are its own")]
    pub(super) fn can_watch(&self, act: Act, who: usize) -> bool {
        let Some(slot) = self.watchers.get(who) else { return false };
        let Some(process) = slot else { return act == Act::Start && (who == 0 || self.options.standby) };
        match act {
            Act::Start => process.is_stopped(),
            _ if process.is_stopped() => false,
            Act::Thaw => process.is_frozen,
            Act::Append => process.producer.has_sent(),
            Act::Crash | Act::CutPower => true,
            _ if process.is_frozen => false,
            Act::Supplant => who == 0 && self.watchers[1].is_none() && !self.options.standby,
            Act::LoseProducer | Act::BreakStream => true,
            Act::Drain => process.deadline.is_none(),
            Act::Tick => process.alarms.is_any(),
            Act::Identify => process.identify,
            Act::Lease => process.lease.is_some(),
            Act::Renew => process.renewal.is_some(),
            Act::Release => process.release.is_some(),
            Act::Prepare => process.preparation.is_some(),
            Act::Open => process.opening.is_some(),
            Act::Fetch => process.fetch.is_some(),
            Act::LateFetch => process.late_fetch.is_some(),
            Act::Report => process.producer.has_answers(),
            Act::Save => process.save.is_some(),
            _ => false,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "each place takes the acts that are its own")]
    pub(super) fn make_watcher_s(&mut self, act: Act, who: usize, arg: u16, how: How) {
        match act {
            Act::Start => self.start_watcher(who),
            Act::Thaw => self.watchers[who].iter_mut().for_each(|process| process.is_frozen = false),
            Act::Crash => self.crash_watcher(who, arg),
            Act::CutPower => {
                self.store.cut_power();
                self.crash_watcher(who, arg);
            }
            Act::Supplant => self.supplant_watcher(),
            Act::LoseProducer => self.lose_producer(who, arg),
            Act::BreakStream => self.watchers[who].iter_mut().for_each(|it| it.is_stream_broken = true),
            Act::Drain => self.drain_watcher(who),
            Act::Tick => self.tick_watcher(who),
            Act::Identify => self.identify(who, how),
            Act::Lease => self.lease(who, how, arg),
            Act::Renew | Act::Release => self.renew_or_release(who, act, how, arg),
            Act::Prepare => self.prepare(who, how, arg),
            Act::Open => self.open(who, how, arg),
            Act::Fetch => self.fetch(who, how, arg),
            Act::LateFetch => {
                if let Some(epoch) = self.process(who).and_then(|process| process.late_fetch.take()) {
                    self.tell(
                        who,
                        Input::Fetched { epoch, result: Ok(Batch { events: vec![], idle: None }) },
                    );
                }
            }
            Act::Append => self.append(who, usize::from(arg), how),
            Act::Report => self.report(who, arg),
            Act::Save => self.save(who, how, arg),
            _ => {}
        }
    }

    fn process(&mut self, who: usize) -> Option<&mut Watching> {
        self.watchers.get_mut(who)?.as_mut()
    }

    fn start_watcher(&mut self, who: usize) {
        let life = self.new_life();
        self.watchers[who] = Some(Watching::new(life, u8::try_from(who).unwrap_or(0)));
        self.tell(who, Input::Start);
    }

    fn crash_watcher(&mut self, who: usize, arg: u16) {
        let Some(mut process) = self.watchers[who].take() else { return };
        self.coverage.crashes += 1;
        let is_busy = !process.producer.is_empty() || process.save.is_some();
        self.coverage.crashes_busy += u64::from(is_busy);
        if let Some(save) = process.save.take()
            && arg & 8 != 0
            && self.late_saves.len() < LATE_SAVES_MAX
        {
            let at = (*save.token.position(), save.lineage);
            self.late_saves.extend(Store::send_late(&mut process.memory, self.now, at, save.change));
        }
        self.end_of(process, usize::from(arg % 4));
    }

    /// A process is gone, or ends with what it has on the wire.
    fn end_of(&mut self, mut process: Watching, on_the_wire: usize) {
        self.kafka.orphan(std::mem::take(&mut process.producer), on_the_wire);
        if !process.is_replaced {
            self.check_replay(&mut process.published);
        }
    }

    fn check_replay(&mut self, published: &mut Vec<Token>) {
        if self.is_store_true {
            let bound = self.options.watcher.max_replay_events;
            let checked = Delivery::replayed(published, self.store.saved(), bound);
            self.fail(checked);
        }
    }

    /// The process freezes, and another one is started under its name.
    fn supplant_watcher(&mut self) {
        let Some(mut process) = self.watchers[0].take() else { return };
        let mut published = process.published.clone();
        self.check_replay(&mut published);
        (process.is_frozen, process.is_replaced) = (true, true);
        self.watchers[1] = Some(process);
        self.start_watcher(0);
    }

    fn lose_producer(&mut self, who: usize, arg: u16) {
        let Some(process) = self.process(who) else { return };
        let is_single = process.producer.is_single;
        let stream = process.producer.stream;
        let lost =
            std::mem::replace(&mut process.producer, Producer { is_single, stream, ..Producer::default() });
        self.kafka.orphan(lost, usize::from(arg % 4));
        self.tell(who, Input::ProducerLost { fault: Fault::Transient });
    }

    fn drain_watcher(&mut self, who: usize) {
        let deadline = self.now + self.options.watcher.drain_timeout;
        if let Some(process) = self.process(who) {
            process.deadline = Some(deadline);
            self.tell(who, Input::Signal(Signal::Drain));
        }
    }

    fn tick_watcher(&mut self, who: usize) {
        let Some((at, timer)) = self.process(who).and_then(|process| process.alarms.take()) else { return };
        self.now = self.now.max(at);
        self.tell(who, Input::Timer(timer));
        if timer.kind == TimerKind::Drain {
            let has_ended = self.watchers[who].as_ref().is_none_or(Watching::is_stopped);
            let checked =
                demand(has_ended, Invariant::ShutdownBound, || "a Watcher outlives its drain".to_owned());
            self.fail(checked);
        }
    }

    fn identify(&mut self, who: usize, how: How) {
        let Some(process) = self.process(who) else { return };
        process.identify = false;
        let result = match how {
            How::Good | How::Late => Ok(()),
            How::Failed | How::Unheard | How::Away => Err(SourceRefusal::Failed(Fault::Unreachable)),
            How::Oddly => Err(SourceRefusal::Failed(Fault::Unfit)),
        };
        self.tell(who, Input::SourceIdentified { result });
    }

    fn open(&mut self, who: usize, how: How, arg: u16) {
        let Some(process) = self.watchers[who].as_mut() else { return };
        let Some(Opening { epoch, from, lineage, reading: _ }) = process.opening.take() else { return };
        let result = match (how, from) {
            (How::Good, StartAt::After(token)) if !self.mongo.holds(token) => Err(Fault::HistoryLost),
            (How::Good, StartAt::After(token)) => Ok(token),
            (How::Good, StartAt::Now) => {
                let at = self.mongo.now();
                self.oracles.delivery.born(at);
                Ok(at)
            }
            (How::Oddly, _) => Err([Fault::Unfit, Fault::Auth][usize::from(arg % 2)]),
            (How::Failed | How::Unheard | How::Away | How::Late, _) => Err(Fault::Transient),
        };
        if let Ok(after) = &result {
            process.is_stream_broken = false;
            process.stream = Some(crate::sim::watching::Stream { epoch, after: *after, lineage });
        }
        let looked_at = self.mongo.now();
        let contents = || (1..).take(TABLES).map(|byte| Contents::Uuid([byte; 16])).collect();
        let result = result.map(|at| Opened { at, contents: contents(), looked_at });
        self.tell(who, Input::StreamOpened { epoch, result });
    }

    fn fetch(&mut self, who: usize, how: How, arg: u16) {
        let is_started = self.store.record().is_some_and(|record| record.saved.is_some());
        let Some(process) = self.watchers[who].as_mut() else { return };
        let Some((epoch, max_events, max_bytes)) = process.fetch.take() else { return };
        let fault = match how {
            How::Good if !process.is_stream_broken => None,
            How::Oddly if arg.is_multiple_of(8) => Some(Fault::Unfit),
            How::Good | How::Failed | How::Unheard | How::Late | How::Away | How::Oddly => {
                Some(Fault::Transient)
            }
        };
        let stream = process.stream.as_mut().filter(|stream| stream.epoch == epoch);
        let (None, Some(stream)) = (fault, stream) else {
            let fault = fault.unwrap_or(Fault::Transient);
            return self.tell(who, Input::Fetched { epoch, result: Err(fault) });
        };
        let at_most = u64::from(max_events).min(max_bytes).min(u64::from(arg % 8) + 1);
        let mut changes = Vec::new();
        self.mongo.read(stream.after, usize::try_from(at_most).unwrap_or(1), &mut changes);
        let lineage = stream.lineage;
        let mut idle = None;
        match changes.last() {
            Some(last) => stream.after = last.token,
            None => {
                stream.after = stream.after.max(self.mongo.end_seen());
                idle = Some(stream.after);
            }
        }
        let events = changes.iter().map(|change| Event {
            token: change.token,
            payload: Payload::Message {
                record: self.mongo.message(change, lineage, self.options.poisons),
                bytes: 1,
                collection: CollectionId(u16::from(change.table)),
            },
        });
        let batch = Batch { events: events.collect(), idle };
        let may_read = is_started || !self.is_store_true;
        let checked = demand(may_read, Invariant::StartRecorded, || {
            "changes are read, and no position is on record to come back to".to_owned()
        });
        self.fail(checked);
        self.tell(who, Input::Fetched { epoch, result: Ok(batch) });
    }

    /// One step of the machine, and what has to hold after it.
    pub(super) fn tell(&mut self, who: usize, fact: Fact) {
        let now = self.now;
        let Some(process) = self.watchers[who].as_mut() else { return };
        let was_stopped = process.is_stopped();
        self.coverage.input("Watcher", process.machine.state(), fact.name());
        if let Some(log) = &mut self.log {
            log.push(format!("{now:?} Watcher {who} hears {fact:?}"));
        }
        process.machine.step(&self.options.watcher, fact, &mut self.orders);
        if let Some(log) = &mut self.log {
            log.extend(self.orders.as_slice().iter().map(|order| format!("    {order}")));
        }
        let mut hash = process.machine.state() as u64;
        for order in self.orders.drain() {
            hash = hash.wrapping_mul(31).wrapping_add(order.name().len() as u64);
            process.carry_out(order, now);
        }
        let checked = check(process, &self.options.watcher);
        let has_stopped = process.is_stopped() && !was_stopped;
        self.note(hash);
        self.fail(checked);
        if has_stopped {
            self.on_watcher_stopped(who);
        }
    }

    fn on_watcher_stopped(&mut self, who: usize) {
        let Some(process) = self.watchers[who].as_mut() else { return };
        let cause = process.machine.cause();
        let Some(cause) = cause else { return };
        let mut published = std::mem::take(&mut process.published);
        let is_replaced = process.is_replaced;
        let producer = std::mem::take(&mut process.producer);
        self.kafka.orphan(producer, 1);
        if !is_replaced {
            self.check_replay(&mut published);
        }
        *self.coverage.ends.entry(format!("Watcher {cause:?}")).or_default() += 1;
        if Self::needs_a_person(cause) {
            self.options.watcher.on_history_lost = cdc_watcher::OnHistoryLost::FromNow;
        }
        if let cdc_machine::Cause::Invariant(what) = cause {
            self.fail(Err(Violation { invariant: Invariant::Machine, what: what.to_owned() }));
        }
        if is_replaced {
            self.watchers[who] = None;
        }
    }
}

/// What the machine says of itself.
fn check(process: &Watching, config: &cdc_watcher::Config) -> Result<(), Violation> {
    let machine = &process.machine;
    demand(machine.unsaved_events() <= config.max_replay_events, Invariant::MemoryBound, || {
        format!("{} events are in hand", machine.unsaved_events())
    })?;
    demand(machine.in_flight() <= config.max_in_flight_bytes + 1, Invariant::MemoryBound, || {
        format!("{} bytes are in flight", machine.in_flight())
    })?;
    if cfg!(feature = "plants") {
        // The machine's own checks would name most planted bugs before anybody else.
        return Ok(());
    }
    let own = machine.check_invariants(config);
    own.map_err(|what| Violation { invariant: Invariant::Machine, what: format!("Watcher: {what}") })?;
    demand(machine.unexpected_inputs() == 0, Invariant::Machine, || {
        "the Watcher was answered what it did not ask".to_owned()
    })
}

/// Every process, by its place.
pub(super) fn places() -> std::ops::Range<usize> {
    0..WATCHERS
}

/// How long the world may take to come to rest once it is well.
pub(super) const REST_WITHIN: Duration = Duration::from_secs(600);
