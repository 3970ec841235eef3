//! The change stream: opened after the last position that is known, read one fetch at a time, and closed before what is
//! in flight is read again.

use cdc_machine::{Backoff, Cause, Epoch, Fault, Plant, Retry, Verdict, Watermark, planted, settle_through};

use crate::config::{OnHistoryLost, OnTooLarge};
use crate::context::Context;
use crate::credit::credit_bytes;
use crate::ending::Ending;
use crate::origin::Origin;
use crate::publishing::Publishing;
use crate::record::Record;
use crate::trouble::Trouble;
use crate::verdict;
use crate::{Batch, Effect, Event, Opened, Payload, Reading, TimerKind};

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
        window: &Watermark<T>,
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
        window: &mut Watermark<T>,
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
                self.phase = Phase::Rewinding(self.on_fault(fault, origin, cx)?);
                return Ok(());
            }
        };
        let (before, lost) = (window.newest().cloned(), origin.take_lost());
        let resumed = before.clone().filter(|_| lost.is_none());
        if resumed.is_none() && before.as_ref().is_some_and(|before| at <= *before) {
            return Err(Ending::Stop(Cause::Invariant(
                "a stream that begins anew begins behind all before it",
            )));
        }
        record.look_at_collections(&contents, resumed.as_ref(), looked_at);
        if let Some(cause) = lost {
            record.lose_all(before, at.clone(), cause);
        }
        match resumed {
            None => drop(window.open_settled(at)),
            Some(_) if origin.is_recorded() && !record.has_gap_to_record() => {}
            // The same position once more: what is recorded with it is new.
            Some(before) => drop(window.open_settled(before)),
        }
        self.phase = Phase::Open { epoch };
        Ok(())
    }

    /// Asks for as much as there is credit for.
    pub(crate) fn fetch<R, T: Clone + Ord>(
        &mut self,
        asked: u32,
        window: &Watermark<T>,
        cx: &mut Context<'_, R, T>,
    ) {
        let Phase::Open { epoch } = self.phase else { return };
        let max_bytes = credit_bytes(window, cx.config).min(cx.config.max_fetch_bytes.max(1));
        self.phase = Phase::Fetching { epoch, asked };
        cx.order(Effect::Fetch { epoch, max_events: asked, max_bytes });
    }

    pub(crate) fn on_fetched<R: Clone, T: Clone + Ord>(
        &mut self,
        epoch: Epoch,
        batch: Batch<R, T>,
        window: &mut Watermark<T>,
        record: &mut Record<T>,
        publishing: &mut Publishing<R, T>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        let Some(asked) = self.asked().filter(|_| self.epoch() == Some(epoch)) else {
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
        for Event { token, payload } in events {
            if window.newest().is_some_and(|newest| token <= *newest) {
                return Err(Ending::Stop(Cause::Invariant("a stream's tokens strictly increase")));
            }
            is_stripped |= matches!(payload, Payload::Oversized { .. });
            publishing.publish(token, payload, window, record, cx)?;
        }
        let is_caught_up = idle.is_some();
        // An idle token may be the last event's own; then it says nothing new.
        if let Some(idle) = idle
            && window.newest().is_none_or(|newest| idle > *newest)
        {
            if planted(Plant::IdlePastInFlight) {
                settle_through(window, window.next_seq());
            }
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
        let trouble = self.on_fault(fault, origin, cx)?;
        self.close_for(trouble, cx);
        Ok(())
    }

    /// What the stream is opened again for after a fault of the source, as the policies have it.
    fn on_fault<R, T>(
        &mut self,
        fault: Fault,
        origin: &mut Origin,
        cx: &Context<'_, R, T>,
    ) -> Result<Trouble, Ending> {
        match (verdict::on_source(fault), fault) {
            (Verdict::Retry(Cause::Unsupported(_)), _) => Ok(Trouble::Misfit),
            (Verdict::Retry(_), _) => Ok(Trouble::Source),
            (Verdict::End(_), Fault::HistoryLost) if cx.config.on_history_lost == OnHistoryLost::FromNow => {
                origin.lose_history();
                Ok(Trouble::Jump)
            }
            (Verdict::End(_), Fault::TooLarge)
                if self.reading == Reading::Whole && cx.config.on_too_large != OnTooLarge::Stop =>
            {
                self.reading = Reading::Stripped;
                Ok(Trouble::Reopen)
            }
            (Verdict::End(cause), _) => Err(Ending::Drain(cause)),
        }
    }

    /// Uses up one of MongoDB's retries: nothing is connected before it is due.
    pub(crate) fn retry<R, T>(&mut self, verdict: Verdict, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        let retry = cx.config.retries.mongodb;
        verdict.back_off(TimerKind::Reconnect, &mut self.retries, retry, cx).map_err(Ending::Drain)
    }

    /// Waits before a stream is opened at the present. Counted, since a source that loses what it has just given ends too;
    /// but once it is free, since it is no retry of what failed: without any retry the policy would never be carried out.
    pub(crate) fn jump<R, T>(&mut self, verdict: Verdict, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        let max_retries = cx.config.retries.mongodb.max_retries.map(|max| max.max(1));
        verdict
            .back_off(TimerKind::Reconnect, &mut self.retries, Retry { max_retries }, cx)
            .map_err(Ending::Drain)
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

    /// Closes it where it is open, or being opened; one may be opened anew.
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
            Phase::Due | Phase::Rewinding(_) => None,
        }
    }

    /// Why everything in flight has to settle.
    pub(crate) const fn trouble(&self) -> Option<Trouble> {
        if let Phase::Rewinding(trouble) = self.phase { Some(trouble) } else { None }
    }

    /// Events that the fetch under way may bring.
    pub(crate) const fn asked(&self) -> Option<u32> {
        if let Phase::Fetching { asked, .. } = self.phase { Some(asked) } else { None }
    }

    /// True while it is open and not read.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    pub(crate) fn situation(&self) -> [u64; 4] {
        let (phase, detail) = match self.phase {
            Phase::Due => (0, 0),
            Phase::Opening { .. } => (1, 0),
            Phase::Open { .. } => (2, 0),
            Phase::Fetching { asked, .. } => (3, u64::from(asked)),
            Phase::Rewinding(trouble) => (4, trouble as u64),
        };
        [phase, detail, self.reading as u64, u64::from(self.retries.retries())]
    }
}
