//! Saves of the token. They run beside the stream, at most one at a time; `SavingToken` is the wait for one that alone
//! can give credit.

use alloc::vec::Vec;

use cdc_machine::{Asked, Backoff, EffectId, Fault, Lineage, Plant, Timers, Watermark, ensure, planted};

use crate::context::Context;
use crate::credit::credit;
use crate::ending::Ending;
use crate::origin::Origin;
use crate::record::Record;
use crate::verdict;
use crate::{AckedToken, Effect, Notice, TimerKind};

/// The save that is under way, if any: in flight, or to be made again once a back-off ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Saves<T> {
    /// With the token and its lineage, and how much of what is pending, from the first on, is recorded with it.
    in_flight: Asked<(AckedToken<T>, Lineage, usize)>,
    retries: Backoff,
}

impl<T: Clone + Ord> Saves<T> {
    pub(crate) const fn new() -> Self {
        Self { in_flight: Asked::nothing(), retries: Backoff::new() }
    }

    /// True where a save is due; sets the timer that will make it due where it is not.
    pub(crate) fn is_due<R>(&self, window: &Watermark<T>, cx: &mut Context<'_, R, T>) -> bool {
        if self.is_under_way(cx.timers) || window.unsaved_prefix().is_none() {
            return false;
        }
        let savable = window.savable_weight();
        if savable == 0 {
            cx.set_timer_unless_running(TimerKind::IdleSave, cx.config.idle_save_interval);
        } else if credit(window, cx.config) == 0 {
            return true;
        } else if savable < cx.config.token_save_interval.max(1) {
            cx.set_timer_unless_running(TimerKind::SaveDelay, cx.config.token_save_max_delay);
        } else {
            return !cx.is_running(TimerKind::SaveSpacing);
        }
        false
    }

    /// Saves what is acked in order and not saved, if there is such a thing and no save is under way.
    pub(crate) fn save_now<R>(
        &mut self,
        window: &Watermark<T>,
        record: &Record<T>,
        origin: &Origin,
        are_gaps_told: bool,
        cx: &mut Context<'_, R, T>,
    ) {
        let Some(token) = window.unsaved_prefix().filter(|_| !self.is_under_way(cx.timers)).cloned() else {
            return;
        };
        cx.cancel_timer(TimerKind::SaveDelay);
        cx.cancel_timer(TimerKind::IdleSave);
        let (change, pending) = record.change(token.position(), are_gaps_told);
        let lineage = origin.lineage();
        let id = self.in_flight.ask(cx.ids, (token.clone(), lineage, pending));
        cx.order(Effect::SaveToken { id, token, lineage, change });
        cx.set_timer(TimerKind::SaveSpacing, cx.config.save_spacing);
    }

    /// The control messages of the gaps that a save has opened.
    pub(crate) fn on_saved<R>(
        &mut self,
        id: EffectId,
        result: Result<Vec<Notice<R>>, Fault>,
        window: &mut Watermark<T>,
        record: &mut Record<T>,
        origin: &mut Origin,
        cx: &mut Context<'_, R, T>,
    ) -> Result<Vec<Notice<R>>, Ending> {
        let Some((token, lineage, pending)) = self.in_flight.answer(id, cx.ids) else {
            return Ok(Vec::new());
        };
        match result {
            Ok(unannounced) => {
                window.mark_saved(&token);
                record.mark_recorded(pending);
                origin.mark_recorded(lineage);
                self.retries.reset();
                Ok(unannounced)
            }
            Err(_) if planted(Plant::SaveNotRetried) => {
                window.mark_saved(&token);
                Ok(Vec::new())
            }
            Err(fault) => {
                let verdict = verdict::on_token_store(fault, cx.config.token_store);
                let retry = cx.config.retries.token_store;
                let waits = verdict.back_off(TimerKind::SaveRetry, &mut self.retries, retry, cx);
                waits.map(|()| Vec::new()).map_err(Ending::StoreLost)
            }
        }
    }

    pub(crate) fn is_under_way(&self, timers: &Timers<TimerKind>) -> bool {
        self.in_flight.is_out() || timers.is_running(TimerKind::SaveRetry)
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    /// What is saved is what Kafka has acknowledged in order, and what was learned up to there.
    pub(crate) fn check(
        &self,
        window: &Watermark<T>,
        record: &Record<T>,
        timers: &Timers<TimerKind>,
    ) -> Result<(), &'static str> {
        let Some((token, _, pending)) = self.in_flight.waiting() else { return Ok(()) };
        ensure(!timers.is_running(TimerKind::SaveRetry), "no save waits for a retry that nobody needs")?;
        record.check_save(token.position(), *pending)?;
        let prefix = window.prefix().ok_or("a save has a settled prefix")?;
        ensure(token.through() <= prefix.through(), "a saved token is in the settled prefix")?;
        ensure(token.position() <= prefix.position(), "a saved token is not newer than the prefix")
    }

    pub(crate) fn situation(&self) -> [u64; 2] {
        let in_flight = self.in_flight.waiting().map_or(0, |(_, _, pending)| 1 + u64::from(*pending > 0));
        [in_flight, u64::from(self.retries.retries())]
    }
}
