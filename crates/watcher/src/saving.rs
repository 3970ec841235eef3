//! Saves of the token. They run beside the stream, at most one at a time; `SavingToken` is the wait for one that alone
//! can give credit.

use alloc::vec::Vec;

use cdc_machine::{Backoff, EffectId, Fault, Lineage};

use crate::context::{Context, byte};
use crate::ending::Ending;
use crate::origin::Origin;
use crate::record::Record;
use crate::verdict;
use crate::window::Window;
use crate::{AckedToken, Effect, Notice, TimerKind};

/// The save that is under way, if any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Saves<T> {
    phase: Phase<T>,
    retries: Backoff,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase<T> {
    Idle,
    InFlight {
        id: EffectId,
        token: AckedToken<T>,
        /// How much of what is pending, from the first on, it carries.
        pending: usize,
    },
    BackingOff,
}

/// What a save takes from the other parts.
pub(crate) struct ToSave<'a, T> {
    pub(crate) window: &'a Window<T>,
    pub(crate) record: &'a Record<T>,
    pub(crate) lineage: Lineage,
    /// Kafka has a control message of every recorded gap.
    pub(crate) are_gaps_told: bool,
}

impl<T: Clone + Ord> Saves<T> {
    pub(crate) const fn new() -> Self {
        Self { phase: Phase::Idle, retries: Backoff::new() }
    }

    /// Starts a save if one is due, or sets the timer that will make it due.
    pub(crate) fn save_when_due<R>(&mut self, what: &ToSave<'_, T>, cx: &mut Context<'_, R, T>) {
        if self.is_under_way() || what.window.unsaved_prefix().is_none() {
            return;
        }
        let savable = what.window.savable();
        if savable == 0 {
            cx.set_timer_unless_running(TimerKind::IdleSave, cx.config.idle_save_interval);
        } else if what.window.credit(cx.config) == 0 {
            self.save_now(what, cx);
        } else if savable < cx.config.token_save_interval.max(1) {
            cx.set_timer_unless_running(TimerKind::SaveDelay, cx.config.token_save_max_delay);
        } else if !cx.is_running(TimerKind::SaveSpacing) {
            self.save_now(what, cx);
        }
    }

    /// Saves what is acked in order and not saved, if there is such a thing and no save is under way.
    pub(crate) fn save_now<R>(&mut self, what: &ToSave<'_, T>, cx: &mut Context<'_, R, T>) {
        if self.is_under_way() {
            return;
        }
        let Some(token) = what.window.unsaved_prefix().cloned() else {
            return;
        };
        cx.cancel_timer(TimerKind::SaveDelay);
        cx.cancel_timer(TimerKind::IdleSave);
        let id = cx.ids.new_effect();
        let (change, pending) = what.record.change(token.position(), what.are_gaps_told);
        self.phase = Phase::InFlight { id, token: token.clone(), pending };
        cx.order(Effect::SaveToken { id, token, lineage: what.lineage, change });
        cx.set_timer(TimerKind::SaveSpacing, cx.config.save_spacing);
    }

    /// The control messages of the gaps that a save has opened.
    pub(crate) fn on_saved<R>(
        &mut self,
        id: EffectId,
        result: Result<Vec<Notice<R>>, Fault>,
        window: &mut Window<T>,
        record: &mut Record<T>,
        origin: &mut Origin,
        cx: &mut Context<'_, R, T>,
    ) -> Result<Vec<Notice<R>>, Ending> {
        let Some((token, pending)) = self.take(id) else {
            cx.ids.ignore_reply(id);
            return Ok(Vec::new());
        };
        let fault = match result {
            Ok(unannounced) => {
                window.mark_saved(&token);
                record.mark_recorded(pending);
                origin.mark_recorded();
                self.retries.reset();
                return Ok(unannounced);
            }
            Err(fault) => fault,
        };
        let verdict = verdict::on_token_store(fault, cx.config.token_store);
        let retry = cx.config.retries.token_store;
        let waits = verdict.back_off(TimerKind::SaveRetry, &mut self.retries, retry, cx);
        waits.map_err(Ending::StoreLost)?;
        self.phase = Phase::BackingOff;
        Ok(Vec::new())
    }

    /// Ends the save that `id` names; `None` where there is no such save.
    fn take(&mut self, id: EffectId) -> Option<(AckedToken<T>, usize)> {
        match core::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::InFlight { id: saving, token, pending } if saving == id => Some((token, pending)),
            other @ (Phase::Idle | Phase::InFlight { .. } | Phase::BackingOff) => {
                self.phase = other;
                None
            }
        }
    }

    /// A back-off has ended: what is acked by now is saved.
    pub(crate) fn on_retry_due<R>(&mut self, what: &ToSave<'_, T>, cx: &mut Context<'_, R, T>) {
        self.phase = Phase::Idle;
        self.save_now(what, cx);
    }

    pub(crate) const fn is_under_way(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    pub(crate) const fn retries(&self) -> Backoff {
        self.retries
    }

    /// What holds of a save, given whether the timer of a retry runs.
    pub(crate) fn check(
        &self,
        window: &Window<T>,
        record: &Record<T>,
        waits: bool,
    ) -> Result<(), &'static str> {
        match &self.phase {
            Phase::Idle if waits => Err("no save waits for a retry that nobody needs"),
            Phase::BackingOff if !waits => Err("a save that backs off has its timer"),
            Phase::Idle | Phase::BackingOff => Ok(()),
            Phase::InFlight { token, pending, .. } => {
                record.check_save(token.position(), *pending)?;
                window.check_save(token)
            }
        }
    }

    pub(crate) fn situation(&self) -> [u8; 2] {
        let phase = match self.phase {
            Phase::Idle => 0,
            Phase::InFlight { pending: 0, .. } => 1,
            Phase::InFlight { .. } => 2,
            Phase::BackingOff => 3,
        };
        [phase, byte(u64::from(self.retries.retries()))]
    }
}
