//! What may happen to a process with a Syncer, and what follows from it.

use cdc_machine::{Cause, EffectId, Fault, Machine as _, Signal};
use cdc_syncer::{Input, Partition, Record, StartOffset, TimerKind, Topic};

use super::World;
use crate::invariants::{Invariant, Violation, demand};
use crate::sim::group::{MEMBERS, News, each};
use crate::sim::message::{Message, PARTITIONS, PARTS, route};
use crate::sim::schedule::{Act, How};
use crate::sim::syncing::{Asks, Revoking, Syncing};

type Fact = Input<Message>;

fn number(partition: usize) -> Partition {
    Partition(u32::try_from(partition).unwrap_or(0))
}

impl World {
    #[expect(clippy::wildcard_enum_match_arm, reason = "each place takes the acts that are its own")]
    pub(super) fn can_sync(&self, act: Act, who: usize) -> bool {
        let Some(slot) = self.syncers.get(who) else { return false };
        let Some(process) = slot else { return act == Act::StartSyncer && who < self.options.syncers };
        match act {
            Act::StartSyncer => process.is_stopped(),
            _ if process.is_stopped() => false,
            Act::ThawSyncer => process.is_frozen,
            Act::CrashSyncer => true,
            _ if process.is_frozen => false,
            Act::FreezeSyncer => true,
            Act::ConsumerFails | Act::Evict => self.group.is_in(who),
            Act::DrainSyncer => process.deadline.is_none(),
            Act::TickSyncer => process.alarms.is_any(),
            Act::Connect => process.connect.is_some(),
            Act::Join => process.join.is_some(),
            Act::Leave => process.leave.is_some(),
            Act::News => self.group.has_news(who) && process.revoking.is_none(),
            Act::Acquire => process.acquire.as_ref().is_some_and(|(_, asked)| {
                asked.iter().all(|(partition, _)| self.postgres.is_free(partition.0 as usize))
            }),
            Act::MoveOffsets => process.moving.is_some(),
            Act::CheckLedger => process.check.is_some(),
            Act::Poll => process.fetch.is_some() && !process.is_paused && self.has_records(process),
            Act::DeadLetter => !process.dead_letters.is_empty(),
            Act::Commit => process.commit.is_some(),
            _ => false,
        }
    }

    fn has_records(&self, process: &Syncing) -> bool {
        process.fetching.iter().zip(&self.kafka.logs).any(|(start, log)| match start {
            Some((_, StartOffset::Beginning)) => log.from(log.first).next().is_some(),
            Some((_, StartOffset::At(offset))) => *offset < log.first || log.from(*offset).next().is_some(),
            None => false,
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "each place takes the acts that are its own")]
    pub(super) fn make_syncer_s(&mut self, act: Act, who: usize, arg: u16, how: How) {
        match act {
            Act::StartSyncer => self.start_syncer(who),
            Act::ThawSyncer => self.syncers[who].iter_mut().for_each(|process| process.is_frozen = false),
            Act::CrashSyncer => self.crash_syncer(who, arg),
            Act::FreezeSyncer => {
                self.syncers[who].iter_mut().for_each(|process| process.is_frozen = true);
                if self.group.is_in(who) {
                    self.group.evict(who);
                }
            }
            Act::Evict => self.group.evict(who),
            Act::ConsumerFails => {
                let fault = if arg.is_multiple_of(4) { Fault::Fenced } else { Fault::Transient };
                self.fail_consumer(who, fault);
            }
            Act::DrainSyncer => {
                let deadline = self.now + self.options.syncer.drain_timeout;
                self.syncers[who].iter_mut().for_each(|process| process.deadline = Some(deadline));
                self.tell_syncer(who, Input::Signal(Signal::Drain));
            }
            Act::TickSyncer => self.tick_syncer(who),
            Act::Connect => self.connect(who, how, arg),
            Act::Join => self.join(who, how),
            Act::Leave => self.leave(who),
            Act::News => self.hear_news(who),
            Act::Acquire => self.acquire(who, how, arg),
            Act::MoveOffsets => self.move_offsets(who, how),
            Act::CheckLedger => self.check_ledger(who, how),
            Act::Poll => self.poll(who, arg),
            Act::DeadLetter => self.put_aside(who, how, arg),
            Act::Commit => self.commit(who, how, arg),
            _ => {}
        }
    }

    fn start_syncer(&mut self, who: usize) {
        let life = self.new_life();
        self.syncers[who] = Some(Syncing::new(life, &self.options.syncer));
        self.tell_syncer(who, Input::Start);
    }

    fn crash_syncer(&mut self, who: usize, arg: u16) {
        let Some(process) = self.syncers[who].take() else { return };
        self.coverage.crashes += 1;
        self.coverage.crashes_busy += u64::from(process.machine.buffered_records() > 0);
        self.orphan_transactions(process.life, arg);
        self.group.leave(who);
    }

    /// A consumer dies, and the machine hears of it.
    fn fail_consumer(&mut self, who: usize, fault: Fault) {
        self.group.leave(who);
        self.syncers[who].iter_mut().for_each(Syncing::close_consumer);
        self.tell_syncer(who, Input::ConsumerFailed { fault });
    }

    fn tick_syncer(&mut self, who: usize) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        let Some((at, timer)) = process.alarms.take() else { return };
        self.now = self.now.max(at);
        if timer.kind == TimerKind::Revocation {
            process.revoking.iter_mut().for_each(|revoking| revoking.is_overdue = true);
        }
        self.tell_syncer(who, Input::Timer(timer));
        if timer.kind == TimerKind::Drain {
            let has_ended = self.syncers[who].as_ref().is_none_or(Syncing::is_stopped);
            let checked =
                demand(has_ended, Invariant::ShutdownBound, || "a Syncer outlives its drain".to_owned());
            self.fail(checked);
        }
    }

    fn connect(&mut self, who: usize, how: How, arg: u16) {
        let Some(id) = self.syncers[who].as_mut().and_then(|process| process.connect.take()) else { return };
        let result = postgres_fault(how, arg).map_or(Ok(()), Err);
        self.tell_syncer(who, Input::DatabaseConnected { id, result });
    }

    fn join(&mut self, who: usize, how: How) {
        let Some(id) = self.syncers[who].as_mut().and_then(|process| process.join.take()) else { return };
        self.syncers[who].iter_mut().for_each(Syncing::close_consumer);
        let result = match how {
            How::Good => Ok(()),
            How::Failed | How::Unheard | How::Late | How::Away | How::Oddly => Err(Fault::Transient),
        };
        if result.is_ok() {
            self.group.join(who);
        } else {
            self.group.leave(who);
        }
        self.tell_syncer(who, Input::GroupJoined { id, result });
    }

    fn leave(&mut self, who: usize) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        let Some(id) = process.leave.take() else { return };
        process.close_consumer();
        self.group.leave(who);
        self.tell_syncer(who, Input::GroupLeft { id, result: () });
    }

    fn hear_news(&mut self, who: usize) {
        let Some(news) = self.group.member(who).news.pop_front() else { return };
        let Some(process) = self.syncers[who].as_mut() else { return };
        match news {
            News::Assigned(set) => {
                each(set).for_each(|it| process.fetching[it] = None);
                let topic = |it: usize| Topic(u32::try_from(it / PARTS).unwrap_or(0));
                let partitions = each(set).map(|it| (number(it), topic(it))).collect();
                self.tell_syncer(who, Input::Assigned { partitions });
            }
            News::Revoking(set) => {
                self.revocations += 1;
                let id = EffectId(self.revocations);
                process.revoking = Some(Revoking { id, set, is_overdue: false });
                let partitions = each(set).map(number).collect();
                self.tell_syncer(who, Input::Revoking { id, partitions });
            }
            News::Lost(set) => {
                each(set).for_each(|it| process.fetching[it] = None);
                let partitions: Vec<_> = each(set).map(number).collect();
                if !partitions.is_empty() {
                    self.tell_syncer(who, Input::Lost { partitions });
                }
                if self.syncers[who].as_ref().is_some_and(|process| process.leave.is_none()) {
                    self.group.rejoin(who);
                }
            }
        }
    }

    fn poll(&mut self, who: usize, arg: u16) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        let Some((max_records, max_bytes)) = process.fetch.take() else { return };
        let at_most = u64::from(max_records).min(max_bytes).min(u64::from(arg % 8) + 1);
        let mut records = Vec::new();
        let mut is_overtaken = false;
        for step in 0..PARTITIONS {
            let at = (usize::from(arg >> 3) + step) % PARTITIONS;
            let (Some((epoch, start)), log) = (process.fetching[at], &self.kafka.logs[at]) else { continue };
            let mut next = match start {
                StartOffset::Beginning => {
                    // Nothing was promised of what expired before anybody read.
                    self.violation = self.violation.take().or(self
                        .oracles
                        .offsets
                        .given_up(at, 0, log.first, log.first)
                        .err());
                    log.first
                }
                StartOffset::At(offset) => offset,
            };
            is_overtaken |= next < log.first;
            let before = records.len();
            let room = at_most.saturating_sub(records.len() as u64);
            for logged in log.from(next).take(usize::try_from(room).unwrap_or(0)) {
                next = logged.offset + 1;
                records.push(Record {
                    partition: number(at),
                    epoch,
                    offset: logged.offset,
                    route: route(logged.message.key),
                    bytes: 1,
                    handle: logged.message,
                });
            }
            process.fetching[at] = Some((epoch, StartOffset::At(next)));
            let is_kept = process.revoking.as_ref().is_none_or(|revoking| revoking.set & (1 << at) == 0);
            if is_kept && records.len() > before {
                process.polled[at] = process.polled[at].max(next);
            }
        }
        if is_overtaken {
            return self.fail_consumer(who, Fault::HistoryLost);
        }
        if records.is_empty() {
            process.fetch = Some((max_records, max_bytes));
            return;
        }
        self.tell_syncer(who, Input::Records { records });
    }

    fn put_aside(&mut self, who: usize, how: How, arg: u16) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        let at = usize::from(arg) % process.dead_letters.len().max(1);
        let (id, row) = process.dead_letters.swap_remove(at);
        if matches!(how, How::Good | How::Unheard) {
            self.oracles.offsets.set_aside(row.partition.0 as usize, row.offset);
        }
        let result = if how == How::Good { Ok(()) } else { Err(Fault::Transient) };
        self.tell_syncer(who, Input::DeadLettered { id, result });
    }

    /// One step of the machine, and what has to hold after it.
    pub(super) fn tell_syncer(&mut self, who: usize, fact: Fact) {
        let now = self.now;
        let Some(process) = self.syncers[who].as_mut() else { return };
        let was_stopped = process.is_stopped();
        process.hear(&fact);
        self.coverage.input("Syncer", process.machine.state(), fact.name());
        if let Some(log) = &mut self.log {
            log.push(format!("{now:?} Syncer {who} hears {fact:?}"));
        }
        process.machine.step(&self.options.syncer, fact, &mut self.syncer_orders);
        if let Some(log) = &mut self.log {
            log.extend(self.syncer_orders.as_slice().iter().map(|order| format!("    {order}")));
        }
        let mut hash = process.machine.state() as u64 + 100;
        let mut asks = Vec::new();
        for order in self.syncer_orders.drain() {
            hash = hash.wrapping_mul(31).wrapping_add(order.name().len() as u64);
            asks.extend(process.carry_out(order, now));
        }
        let checked = check(process, &self.options.syncer);
        let has_stopped = process.is_stopped() && !was_stopped;
        self.note(hash);
        self.fail(checked);
        for ask in asks {
            match ask {
                Asks::Begin(transaction) => self.postgres.transactions.push(*transaction),
                Asks::Confirm(revoking) => self.confirm(who, &revoking),
                Asks::Skip(row) => self.oracles.offsets.set_aside(row.partition.0 as usize, row.offset),
            }
        }
        if has_stopped {
            self.on_syncer_stopped(who);
        }
    }

    fn confirm(&mut self, who: usize, revoking: &Revoking) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        for at in each(revoking.set) {
            let row = &self.postgres.ledger[at];
            let is_ours = process.fetching[at].is_some_and(|(epoch, _)| {
                self.postgres.is_owner(at, (process.life, epoch), &process.claims)
                    && self.group.owns(who, at)
                    && !process.refused[at]
            });
            let is_recorded = row.next.unwrap_or(0) >= process.polled[at];
            let holds = revoking.is_overdue || !is_ours || is_recorded;
            let polled = process.polled[at];
            let checked = demand(holds, Invariant::Handover, || {
                format!("partition {at} is given back with {polled} read and {:?} recorded", row.next)
            });
            process.fetching[at] = None;
            if self.violation.is_none() {
                self.violation = checked.err();
            }
        }
        self.group.confirm(who, revoking.set);
    }

    fn on_syncer_stopped(&mut self, who: usize) {
        let Some(process) = self.syncers[who].as_mut() else { return };
        let (life, cause) = (process.life, process.machine.cause());
        process.close_consumer();
        self.group.leave(who);
        self.orphan_transactions(life, 1);
        if let Some(cause) = cause {
            *self.coverage.ends.entry(format!("Syncer {cause:?}")).or_default() += 1;
        }
        if let Some(Cause::Invariant(what)) = cause {
            self.fail(Err(Violation { invariant: Invariant::Machine, what: what.to_owned() }));
        }
    }

    /// True where a process that runs is the one of this life.
    pub(super) fn syncer_of(&self, life: u32) -> Option<usize> {
        (0..MEMBERS).find(|who| {
            self.syncers[*who].as_ref().is_some_and(|process| process.life == life && !process.is_stopped())
        })
    }
}

/// What the machine says of itself.
fn check(process: &Syncing, config: &cdc_syncer::Config) -> Result<(), Violation> {
    let machine = &process.machine;
    demand(machine.buffered_bytes() <= config.max_buffered_bytes + 1, Invariant::MemoryBound, || {
        format!("{} bytes are buffered", machine.buffered_bytes())
    })?;
    if cfg!(feature = "plants") {
        // The machine's own checks would name most planted bugs before anybody else.
        return Ok(());
    }
    let own = machine.check_invariants(config);
    own.map_err(|what| Violation { invariant: Invariant::Machine, what: format!("Syncer: {what}") })?;
    demand(machine.unexpected_inputs() == 0, Invariant::Machine, || {
        "the Syncer was answered what it did not ask".to_owned()
    })
}

/// How a request to PostgreSQL failed, if it did.
pub(super) fn postgres_fault(how: How, arg: u16) -> Option<Fault> {
    match how {
        How::Good => None,
        How::Failed | How::Unheard | How::Late => Some(Fault::Transient),
        How::Away => Some(Fault::Unreachable),
        How::Oddly => Some([Fault::RetryNow, Fault::Unfit, Fault::Auth, Fault::Fatal][usize::from(arg % 4)]),
    }
}
