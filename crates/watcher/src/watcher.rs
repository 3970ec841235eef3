mod draining;
mod view;
mod waits;

pub use waits::WaitsFor;

use alloc::vec::Vec;

use cdc_machine::{
    Cause, Dependency, Effects, Fault, Ids, Machine, Plant, TimerId, Timers, Verdict, Watermark, planted,
};

use crate::context::Context;
use crate::credit::fetch_credit;
use crate::ending::{Ending, Life};
use crate::identity::Identity;
use crate::lease::Lease;
use crate::origin::Origin;
use crate::publishing::Publishing;
use crate::record::Record;
use crate::saving::Saves;
use crate::stream::Stream;
use crate::trouble::Trouble;
use crate::{Config, Effect, GapCause, Input, OnHistoryLost, Saved, Taken, TimerKind, TopicState};

/// The Watcher: reads a change stream as far as there is credit, hands each event to Kafka, and records the
/// position over what Kafka has acknowledged in order.
///
/// `R` is a message's handle, which passes through unseen; `T` is a resume token, of which only the order
/// matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watcher<R, T> {
    waits_for: WaitsFor,
    parts: Parts<R, T>,
    timers: Timers<TimerKind>,
    ids: Ids,
}

/// The parts of the machine. Each owns what it knows, with its rules and its handlers; what it needs of another part it
/// is handed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parts<R, T> {
    identity: Identity,
    lease: Lease,
    publishing: Publishing<R, T>,
    stream: Stream,
    origin: Origin,
    /// What was read and no saved token covers.
    window: Watermark<T>,
    record: Record<T>,
    saves: Saves<T>,
    life: Life,
}

impl<R: Clone, T: Clone + Ord> Machine for Watcher<R, T> {
    type Config = Config;
    type Input = Input<R, T>;
    type Effect = Effect<R, T>;

    fn step(&mut self, config: &Config, input: Input<R, T>, out: &mut Effects<Effect<R, T>>) {
        if self.waits_for == WaitsFor::Nothing {
            self.ids.ignore(true);
            return;
        }
        let mut cx = Context { config, timers: &mut self.timers, ids: &mut self.ids, out };
        let heard = self.parts.hear(input, &mut cx);
        let mut next = heard.and_then(|()| self.parts.advance(&mut cx));
        // From a drain only the end follows, and nothing from there.
        while let Err(ending) = next {
            self.parts.end(ending, &mut cx);
            next = self.parts.advance(&mut cx);
        }
        self.waits_for = next.unwrap_or(WaitsFor::Nothing);
    }
}

impl<R: Clone, T: Clone + Ord> Parts<R, T> {
    /// Hands an input to the part that it is for.
    fn hear(&mut self, input: Input<R, T>, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        let Self { identity, lease, publishing, stream, origin, window, record, saves, life } = self;
        let is_draining = life.draining().is_some();
        match input {
            Input::Start if *life == Life::NotStarted => *life = Life::Running,
            Input::Start => cx.ids.ignore(false),

            Input::SourceIdentified { result } => return identity.on_identified(result, cx),
            Input::LeaseTaken { id, result } => {
                if let Some(taken) = lease.on_taken(id, result, is_draining, cx)? {
                    return self.begin(taken, cx.config.on_history_lost);
                }
            }
            Input::LeaseRenewed { id, result } => return lease.on_renewed(id, result, cx),
            Input::LeaseReleased { id, result: () } => lease.on_released(id, cx),

            Input::ProducerPrepared { id, result } => {
                if let Some(topics) = publishing.on_prepared(id, result, cx)? {
                    return self.look_at_topics(topics, cx.config);
                }
            }
            Input::ProducerLost { fault } => return self.on_producer_lost(fault, cx),
            Input::Delivered { seqs } => publishing.on_delivered(&seqs, window, cx),
            Input::DeliveryFailed { seq, fault } => {
                let present = stream.trouble();
                if let Some(trouble) =
                    publishing.on_delivery_failed((seq, fault), present, is_draining, window, cx)?
                {
                    stream.rewind_delivery(trouble, cx);
                }
            }
            Input::DeliveryTooLarge { seq, marker } => {
                return publishing.on_too_large(seq, marker, stream.trouble(), window, record, cx);
            }

            Input::StreamOpened { epoch, result } => {
                return stream.on_opened(epoch, result, origin, window, record, cx);
            }
            Input::Fetched { epoch, result: Ok(batch) } => {
                return stream.on_fetched(epoch, batch, window, record, publishing, cx);
            }
            Input::Fetched { epoch, result: Err(fault) } => {
                return stream.on_broken(epoch, fault, origin, cx);
            }

            Input::TokenSaved { id, result } => {
                let opened = saves.on_saved(id, result, window, record, origin, cx)?;
                publishing.announcements_mut().add(opened);
            }
            Input::Timer(timer) => return self.on_timer(timer, cx),
            Input::Signal(signal) => return self.on_signal(signal),
        }
        Ok(())
    }

    /// Derives what is waited for next, of which the state follows, and orders it: an end, a rewind, a connection, a start
    /// on record, then credit, then acks, then a save.
    fn advance(&mut self, cx: &mut Context<'_, R, T>) -> Result<WaitsFor, Ending> {
        match self.life {
            Life::NotStarted => return Ok(WaitsFor::Start),
            Life::Running => {}
            Life::Draining(cause) => return self.drain(cause, cx),
            Life::Stopped(_) => return Ok(WaitsFor::Nothing),
        }
        if let Some(trouble) = self.stream.trouble() {
            if self.window.unsettled() > 0 {
                self.save_when_due(cx);
                return Ok(WaitsFor::Reports);
            }
            self.reconnect(trouble, cx)?;
        }
        let missing = self.connect(cx);
        if missing.is_none() && self.stream.is_idle() && self.has_start_to_record() {
            self.save_now(cx);
            return Ok(WaitsFor::FirstSave);
        }
        self.save_when_due(cx);
        if let Some(missing) = missing {
            return Ok(missing);
        }
        if self.stream.asked().is_some() {
            return Ok(WaitsFor::Event);
        }
        let announcements = self.publishing.announcements_mut();
        if announcements.are_due() && fetch_credit(&self.window, cx.config) > 0 {
            announcements.send_waiting(&mut self.window, cx);
        }
        match fetch_credit(&self.window, cx.config) {
            0 if self.window.unsettled() > 0 => Ok(WaitsFor::Reports),
            0 => Ok(WaitsFor::Save),
            asked => {
                self.stream.fetch(asked, &self.window, cx);
                Ok(WaitsFor::Event)
            }
        }
    }

    /// The way to an open stream, one thing after the other: each is asked for once, and waited for. A back-off, and a
    /// wait for somebody else's lease, end first. `None` where the stream is open.
    fn connect(&mut self, cx: &mut Context<'_, R, T>) -> Option<WaitsFor> {
        let Self { identity, lease, publishing, stream, origin, window, .. } = self;
        if cx.is_running(TimerKind::Reconnect) {
            Some(WaitsFor::BackOff)
        } else if cx.is_running(TimerKind::LeaseWait) {
            Some(WaitsFor::OtherHolder)
        } else if !identity.is_known(cx) {
            Some(WaitsFor::Identity)
        } else if !lease.is_taken(cx) {
            Some(WaitsFor::Lease)
        } else if !publishing.is_ready(window.newest(), cx) {
            Some(WaitsFor::Producer)
        } else if !stream.is_open(origin, window, cx) {
            Some(WaitsFor::Stream)
        } else {
            None
        }
    }

    /// Everything in flight is answered: rewinds, and goes back to where the trouble was.
    fn reconnect(&mut self, trouble: Trouble, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        self.rewind();
        self.stream.close(cx);
        if matches!(trouble, Trouble::Rebatch | Trouble::Refused | Trouble::Producer) {
            self.publishing.make_anew();
        }
        let unavailable = |on| Verdict::Retry(Cause::Unavailable(on));
        match trouble {
            Trouble::Reopen | Trouble::Rebatch | Trouble::Refused => Ok(()),
            Trouble::Source => self.stream.retry(unavailable(Dependency::MongoDb), cx),
            Trouble::Jump => self.stream.jump(unavailable(Dependency::MongoDb), cx),
            Trouble::Misfit => self.stream.retry(Verdict::Retry(Cause::Unsupported(Dependency::MongoDb)), cx),
            Trouble::Producer => self.publishing.retry(unavailable(Dependency::Kafka), cx),
        }
    }

    /// Forgets what is in flight; it is read again.
    fn rewind(&mut self) {
        self.window.rewind();
        self.publishing.rewind();
        self.record.rewind(self.window.newest());
    }

    /// The lease is ours: begins with what the record holds.
    fn begin(&mut self, taken: Taken<R, T>, on_history_lost: OnHistoryLost) -> Result<(), Ending> {
        let Taken { saved, unannounced, fresh } = taken;
        self.publishing.announcements_mut().add(unannounced);
        match (saved, on_history_lost) {
            (Saved::Nothing, _) => self.origin = Origin::anew(fresh, None),
            (Saved::Lost, OnHistoryLost::Stop) => return Err(Ending::Drain(Cause::TokenDamaged)),
            (Saved::Lost, OnHistoryLost::FromNow) => {
                self.origin = Origin::anew(fresh, Some(GapCause::TokenDamaged));
            }
            (Saved::Position(checkpoint), _) => {
                self.origin = Origin::resumed(fresh, checkpoint.lineage);
                self.window.begin_after(checkpoint.token);
                self.record.resume(checkpoint.known);
            }
        }
        Ok(())
    }

    /// The producer is ready: compares its topics with what the position knows of them.
    fn look_at_topics(&mut self, topics: Vec<TopicState>, config: &Config) -> Result<(), Ending> {
        self.record.look_at_topics(topics, self.window.newest(), config).map_err(Ending::Drain)?;
        let never_opened = !self.origin.is_recorded() && self.window.newest().is_none();
        if never_opened
            && !self.origin.is_lost()
            && self.record.topics().iter().any(|topic| topic.holds_messages)
        {
            match config.on_history_lost {
                OnHistoryLost::Stop => return Err(Ending::Drain(Cause::TokenMissing)),
                OnHistoryLost::FromNow => self.origin.miss_position(),
            }
        }
        let at_the_ends = self.record.topics().iter().filter_map(|topic| topic.lineage).max();
        self.origin.outrank(at_the_ends, never_opened);
        Ok(())
    }

    /// The producer died, and with it the reports on what it held: all of that is read again.
    fn on_producer_lost(&mut self, fault: Fault, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        if self.life.draining().is_some() {
            let is_incomplete = self.window.unsettled() > 0;
            self.rewind();
            let ending = Err(Ending::Undeliverable(Cause::DrainIncomplete));
            return if is_incomplete { ending } else { Ok(()) };
        }
        if !self.publishing.has_producer() {
            // There is none, or a new one is on its way.
            cx.ids.ignore(true);
            return Ok(());
        }
        self.rewind();
        if fault == Fault::Auth {
            return Err(Ending::Drain(Cause::Refused(Dependency::Kafka)));
        }
        self.stream.close_for(Trouble::Producer, cx);
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most timers only hold something back")]
    fn on_timer(&mut self, timer: TimerId<TimerKind>, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        if !cx.timers.expire(timer) {
            cx.ids.ignore(cx.timers.was_set(timer));
            return Ok(());
        }
        match timer.kind {
            TimerKind::SaveRetry | TimerKind::SaveDelay | TimerKind::IdleSave => self.save_now(cx),
            TimerKind::LeaseRenew => return self.lease.on_renewal_due(cx),
            TimerKind::Drain => return self.on_drain_timeout(cx),
            // What the others held back, `advance` finds due.
            _ => {}
        }
        Ok(())
    }

    /// True where something is still to be recorded before anything is read: a start, or a gap before it.
    fn has_start_to_record(&self) -> bool {
        let is_recorded = self.origin.is_recorded() || planted(Plant::StartNotSaved);
        !is_recorded || self.record.has_gap_to_record()
    }

    fn save_when_due(&mut self, cx: &mut Context<'_, R, T>) {
        if self.saves.is_due(&self.window, cx) {
            self.save_now(cx);
        }
    }

    fn save_now(&mut self, cx: &mut Context<'_, R, T>) {
        let Self { saves, window, record, origin, publishing, .. } = self;
        saves.save_now(window, record, origin, publishing.announcements().are_all_told(), cx);
    }
}
