//! The change stream: opened after the last position that is known, read one fetch at a time, and closed before what is
//! in flight is read again.


use cdc_machine::{Backoff, Cause, Dependency, Epoch, Fault, Verdict};

use crate::config::{OnHistoryLost, OnTooLarge};
use crate::context::{Context, byte};
use crate::ending::Ending;
use crate::origin::Origin;
use crate::publishing::Publishing;
use crate::record::Record;
use crate::trouble::Trouble;
use crate::verdict;
use crate::window::Window;
use crate::{Batch, Effect, Opened, Payload, Reading, TimerKind};

/// The stream, and how it is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    phase: Phase,
    /// How the next one is read.
    reading: Reading,
    retries: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// None is open; one is to be opened as soon as there is a producer.
    Due,
    BackingOff,
    Opening {
        epoch: Epoch,
    },
    /// It is open, and not read.
    Open {
        epoch: Epoch,
    },
    /// One fetch is out. There is credit for its answer, which may hold so many events.
    Fetching {
        epoch: Epoch,
        asked: u32,
    },
    /// It is closed, for this trouble; everything in flight settles before another one is opened.
    Rewinding(Trouble),
}

impl Stream {
    pub(crate) const fn new() -> Self {
        Self { phase: Phase::Due, reading: Reading::Whole, retries: Backoff::new() }
    }

    /// True while it is open; opens it where that is due.
    pub(crate) fn is_open<R, T: Clone + Ord>(
        &mut self,
        origin: &Origin,
        window: &Window<T>,
        cx: &mut Context<'_, R, T>,
    ) -> bool {
        if self.phase == Phase::Due {
            let epoch = cx.ids.new_epoch();
            self.phase = Phase::Opening { epoch };
            let from = origin.resume_point(window.newest());
            let (lineage, reading) = (origin.lineage(), self.reading);
            cx.order(Effect::OpenStream { epoch, from, lineage, reading });
        }
        matches!(self.phase, Phase::Open { .. } | Phase::Fetching { .. })
    }

    pub(crate) fn on_opened<R, T: Clone + Ord>(
        &mut self,
        epoch: Epoch,
        result: Result<Opened<T>, Fault>,
        origin: &mut Origin,
        window: &mut Window<T>,
        record: &mut Record<T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        if self.phase != (Phase::Opening { epoch }) {
            cx.ids.ignore_epoch(epoch);
            return Ok(());
        }
        let Opened { at, contents, looked_at } = match result {
            Ok(opened) => opened,
            Err(fault) => {
                // The stream that did not open needs no closing.
                self.phase = Phase::Due;
                return match self.on_fault(fault, origin, cx)? {
                    Some(exhausted) => self.open_after_retry(exhausted, cx),
                    None => Ok(()),
                };
            }
        };
        let before = window.newest().cloned();
        let lost = origin.take_lost();
        let begins = lost.is_some() || before.is_none();
        if begins && before.as_ref().is_some_and(|before| at <= *before) {
            return Err(Ending::Stop(Cause::Invariant(
                "a stream that begins anew begins behind all before it",
            )));
        }
        record.look_at_collections(&contents, before.as_ref().filter(|_| !begins), looked_at);
        if let Some(cause) = lost {
            record.lose_all(before.clone(), at.clone(), cause);
        }
        match before {
            // The same position once more, where what is recorded with it is new.
            Some(before) if !begins => {
                if !origin.is_recorded() || record.has_gap_to_record() {
                    window.open_settled(before);
                }
            }
            _ => window.open_settled(at),
        }
        self.phase = Phase::Open { epoch };
        Ok(())
    }

    /// Asks for as much as there is credit for.
    pub(crate) fn fetch<R, T: Clone + Ord>(
        &mut self,
        asked: u32,
        window: &Window<T>,
        cx: &mut Context<'_, R, T>,
    ) {
        let Phase::Open { epoch } = self.phase else { return };
        let max_bytes = window.credit_bytes(cx.config).min(cx.config.max_fetch_bytes.max(1));
        self.phase = Phase::Fetching { epoch, asked };
        cx.order(Effect::Fetch { epoch, max_events: asked, max_bytes });
    }

    pub(crate) fn on_fetched<R: Clone, T: Clone + Ord>(
        &mut self,
        epoch: Epoch,
        batch: Batch<R, T>,
        window: &mut Window<T>,
        record: &mut Record<T>,
        publishing: &mut Publishing<R, T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        let asked = if let Phase::Fetching { epoch: open, asked } = self.phase
            && open == epoch
        {
            asked
        } else {
            cx.ids.ignore_epoch(epoch);
            return Ok(());
        };
        self.phase = Phase::Open { epoch };
        let Batch { events, idle } = batch;
        // A server that still searches its history has nothing to say yet: that is no progress.
        if !events.is_empty() || idle.is_some() {
            self.retries.reset();
        }
        if events.len() > asked as usize {
            return Err(Ending::Stop(Cause::Invariant(
                "the source sent more events than the fetch asked for",
            )));
        }
        let mut is_stripped = false;
        for event in events {
            if window.newest().is_some_and(|newest| event.token <= *newest) {
                return Err(Ending::Stop(Cause::Invariant("a stream's tokens strictly increase")));
            }
            is_stripped |= matches!(event.payload, Payload::Oversized { .. });
            publishing.publish(event, window, record, cx)?;
        }
        let is_caught_up = idle.is_some();
        // An idle token may be the last event's own; then it says nothing new.
        if let Some(idle) = idle
            && window.newest().is_none_or(|newest| idle > *newest)
        {
            window.open_settled(idle);
        }
        if record.gives_up_unexplained(window.newest()) {
            self.close_for(Trouble::Reopen, cx);
        } else if self.reading == Reading::Stripped && (is_stripped || is_caught_up) {
            // What did not fit is behind us, or fits by now.
            self.reading = Reading::Whole;
            self.close_for(Trouble::Reopen, cx);
        } else if publishing.is_past_refused(window.newest()) {
            self.close_for(Trouble::Rebatch, cx);
        }
        Ok(())
    }

    /// The stream broke.
    pub(crate) fn on_broken<R, T: Clone + Ord>(
        &mut self,
        epoch: Epoch,
        fault: Fault,
        origin: &mut Origin,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        if self.epoch() != Some(epoch) {
            cx.ids.ignore_epoch(epoch);
            return Ok(());
        }
        let trouble = match self.on_fault(fault, origin, cx)? {
            Some(Cause::Unsupported(_)) => Trouble::Misfit,
            Some(_) => Trouble::Source,
            None => Trouble::Reopen,
        };
        self.close_for(trouble, cx);
        Ok(())
    }

    /// What to do about a fault of the source, as the policies have it: open the stream again after a back-off, and end
    /// for this cause where no retry is left; or, with `None`, open it again at once, to be read in another way.
    fn on_fault<R, T>(
        &mut self,
        fault: Fault,
        origin: &mut Origin,
        cx: &Context<'_, R, T>,
    ) -> Result<Option<Cause>, Ending> {
        match (verdict::on_source(fault), fault) {
            (Verdict::Retry(exhausted), _) => Ok(Some(exhausted)),
            (Verdict::End(_), Fault::HistoryLost) if cx.config.on_history_lost == OnHistoryLost::FromNow => {
                origin.lose_history();
                // With a pause, and counted: a source that loses what it has just given ends too.
                Ok(Some(Cause::Unavailable(Dependency::MongoDb)))
            }
            (Verdict::End(_), Fault::TooLarge)
                if self.reading == Reading::Whole && cx.config.on_too_large != OnTooLarge::Stop =>
            {
                self.reading = Reading::Stripped;
                Ok(None)
            }
            (Verdict::End(cause), _) => Err(Ending::Drain(cause)),
        }
    }

    /// Another stream, after a back-off of MongoDB's.
    pub(crate) fn open_after_retry<R, T>(
        &mut self,
        exhausted: Cause,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        self.phase = Phase::Due;
        let wait = self.retries.next(cx.config.retries.mongodb).ok_or(Ending::Drain(exhausted))?;
        self.phase = Phase::BackingOff;
        cx.set_timer(TimerKind::Reconnect, wait);
        Ok(())
    }

    /// Another stream, as soon as there is a producer.
    pub(crate) const fn open_anew(&mut self) {
        self.phase = Phase::Due;
    }

    /// A back-off has ended.
    pub(crate) fn on_wait_over(&mut self) {
        if self.phase == Phase::BackingOff {
            self.phase = Phase::Due;
        }
    }

    /// Messages failed: closes the stream, and takes back what is only queued.
    pub(crate) fn rewind_delivery<R, T>(&mut self, trouble: Trouble, cx: &mut Context<'_, R, T>) {
        if let Phase::Rewinding(present) = self.phase
            && present.is_of_delivery()
        {
            self.phase = Phase::Rewinding(present.max(trouble));
            return;
        }
        self.close_for(trouble, cx);
        cx.order(Effect::PurgeQueued);
    }

    /// Closes the stream; another one is opened once everything in flight has settled.
    pub(crate) fn close_for<R, T>(&mut self, trouble: Trouble, cx: &mut Context<'_, R, T>) {
        self.close(cx);
        self.phase = Phase::Rewinding(trouble);
    }

    pub(crate) fn close<R, T>(&mut self, cx: &mut Context<'_, R, T>) {
        if let Some(epoch) = self.epoch() {
            cx.order(Effect::CloseStream { epoch });
        }
        self.phase = Phase::Due;
    }

    /// The stream that is open, or being opened.
    pub(crate) const fn epoch(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Opening { epoch } | Phase::Open { epoch } | Phase::Fetching { epoch, .. } => Some(epoch),
            Phase::Due | Phase::BackingOff | Phase::Rewinding(_) => None,
        }
    }

    /// Why everything in flight has to settle.
    pub(crate) const fn trouble(&self) -> Option<Trouble> {
        match self.phase {
            Phase::Rewinding(trouble) => Some(trouble),
            Phase::Due
            | Phase::BackingOff
            | Phase::Opening { .. }
            | Phase::Open { .. }
            | Phase::Fetching { .. } => None,
        }
    }

    /// Events that the fetch under way may bring.
    pub(crate) const fn asked(&self) -> Option<u32> {
        match self.phase {
            Phase::Fetching { asked, .. } => Some(asked),
            Phase::Due
            | Phase::BackingOff
            | Phase::Opening { .. }
            | Phase::Open { .. }
            | Phase::Rewinding(_) => None,
        }
    }

    /// True while it is open and not read.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(crate) fn is_backing_off(&self) -> bool {
        self.phase == Phase::BackingOff
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    pub(crate) fn situation(&self) -> [u8; 4] {
        let (phase, detail) = match self.phase {
            Phase::Due => (0, 0),
            Phase::BackingOff => (1, 0),
            Phase::Opening { .. } => (2, 0),
            Phase::Open { .. } => (3, 0),
            Phase::Fetching { asked, .. } => (4, byte(u64::from(asked))),
            Phase::Rewinding(trouble) => (5, trouble as u8),
        };
        [phase, detail, self.reading as u8, byte(u64::from(self.retries.retries()))]
    }
}
