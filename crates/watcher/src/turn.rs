use core::time::Duration;

use cdc_machine::{Cause, Effects, TimerId};

use crate::facts::{Facts, Saving};
use crate::state::{Connecting, State};
use crate::{Config, Effect, Input, TimerKind};

/// One step under way: what it may read, change and order. Each state's file adds what happens there.
pub(crate) struct Turn<'a, R, T> {
    pub(crate) config: &'a Config,
    pub(crate) facts: &'a mut Facts<R, T>,
    pub(crate) out: &'a mut Effects<Effect<R, T>>,
}

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    /// Takes one input. What the machine waits for next is for [`Self::settle`] to derive.
    pub(crate) fn take(&mut self, state: State, input: Input<R, T>) -> State {
        match input {
            Input::Start => self.on_start(state),
            Input::LeaseAcquired { id, saved, unannounced, fresh } => {
                self.on_lease_acquired(state, id, saved, unannounced, fresh)
            }
            Input::LeaseHeld { id, expires_in } => self.on_lease_held(state, id, expires_in),
            Input::LeaseFailed { id, fault } => self.on_lease_failed(state, id, fault),
            Input::LeaseForeign { id } => self.on_lease_refused(state, id, Cause::OtherSource),
            Input::LeaseDamaged { id } => self.on_lease_damaged(state, id),
            Input::LeaseUnreadable { id } => self.on_lease_refused(state, id, Cause::TokenUnreadable),
            Input::LeaseRenewed { id } => self.on_lease_renewed(state, id),
            Input::LeaseRenewFailed { id, fault } => self.on_lease_renew_failed(state, id, fault),
            Input::LeaseReleased { id } => self.on_lease_released(state, id),
            Input::ProducerReady { id, topics } => self.on_producer_ready(state, id, &topics),
            Input::ProducerFailed { id, fault } => self.on_producer_failed(state, id, fault),
            Input::ProducerLost { fault } => self.on_producer_lost(state, fault),
            Input::Opened { epoch, at, contents, looked_at } => {
                self.on_opened(state, epoch, at, &contents, looked_at)
            }
            Input::OpenFailed { epoch, fault } => self.on_open_failed(state, epoch, fault),
            Input::Batch { epoch, events, idle } => self.on_batch(state, epoch, events, idle),
            Input::SourceFailed { epoch, fault } => self.on_source_failed(state, epoch, fault),
            Input::Delivered { seqs } => self.on_delivered(state, &seqs),
            Input::DeliveryFailed { seq, fault } => self.on_delivery_failed(state, seq, fault),
            Input::DeliveryTooLarge { seq, marker } => self.on_too_large(state, seq, marker),
            Input::Saved { id, unannounced } => self.on_saved(state, id, unannounced),
            Input::SaveFailed { id, fault } => self.on_save_failed(state, id, fault),
            Input::Timer(timer) => self.on_timer(state, timer),
            Input::Signal(signal) => self.on_signal(state, signal),
        }
    }

    fn on_timer(&mut self, state: State, timer: TimerId<TimerKind>) -> State {
        if !self.facts.timers.expire(timer) {
            let was_set = self.facts.timers.was_set(timer);
            self.facts.ignore(was_set);
            return state;
        }
        match timer.kind {
            TimerKind::Reconnect | TimerKind::LeaseWait => self.on_wait_over(state),
            TimerKind::SaveRetry => {
                self.facts.saving = Saving::No;
                self.save_now();
                state
            }
            TimerKind::SaveDelay | TimerKind::IdleSave => {
                self.save_now();
                state
            }
            // What the spacing held back, `settle` finds due.
            TimerKind::SaveSpacing => state,
            TimerKind::LeaseRenew => self.on_renewal_due(state),
            TimerKind::Drain => self.on_drain_timeout(state),
        }
    }

    /// Goes on to `then` after a back-off; ends where no retry is left.
    pub(crate) fn back_off(&mut self, wait: Option<Duration>, then: Connecting, exhausted: Cause) -> State {
        let then = State::Connecting(then);
        match wait {
            Some(wait) => {
                self.set_timer(TimerKind::Reconnect, wait);
                then
            }
            None => self.end(then, exhausted),
        }
    }

    /// The end, at once.
    pub(crate) fn stop(&mut self, cause: Cause) -> State {
        self.out.push(Effect::Stop { cause });
        State::Stopped(cause)
    }

    pub(crate) fn set_timer(&mut self, kind: TimerKind, after: Duration) {
        self.facts.timers.set(kind, after, self.out);
    }

    pub(crate) fn cancel_timer(&mut self, kind: TimerKind) {
        self.facts.timers.cancel(kind, self.out);
    }
}
