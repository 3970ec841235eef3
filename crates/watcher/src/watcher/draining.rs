//! How the service ends: at once, or in an orderly way (`Draining`). Then nothing is read any more; what is in flight
//! settles, the settled prefix is saved, the lease is given back.

use cdc_machine::{Cause, Signal};

use super::{Parts, WaitsFor};
use crate::context::Context;
use crate::ending::{Ending, Life};
use crate::trouble::Trouble;
use crate::{Effect, TimerKind};

impl<R: Clone, T: Clone + Ord> Parts<R, T> {
    pub(super) fn on_signal(&self, signal: Signal) -> Result<(), Ending> {
        match (signal, self.life.draining()) {
            (Signal::Abort, _)
            // Asked for the second time.
            | (Signal::Drain, Some(Cause::Drained | Cause::DrainIncomplete)) => Err(Ending::Stop(Cause::Aborted)),
            (Signal::Drain, Some(_)) => Ok(()),
            (Signal::Drain, None) if self.life == Life::NotStarted => Err(Ending::Stop(Cause::Drained)),
            // What has failed already is replayed at the next start.
            (Signal::Drain, None) if self.stream.trouble().is_some_and(Trouble::is_of_delivery) => {
                Err(Ending::Drain(Cause::DrainIncomplete))
            }
            (Signal::Drain, None) => Err(Ending::Drain(Cause::Drained)),
        }
    }

    /// Begins an end, or makes the one under way another one.
    pub(super) fn end(&mut self, ending: Ending, cx: &mut Context<'_, R, T>) {
        match ending {
            Ending::Drain(cause) => self.begin_drain(cause, cx),
            // The first failure counts; a drain for a fault has its cause already.
            Ending::Undeliverable(Cause::DrainIncomplete) if self.life.draining() != Some(Cause::Drained) => {
            }
            Ending::Undeliverable(cause) => {
                if self.life.draining().is_none() {
                    self.begin_drain(cause, cx);
                }
                self.life = Life::Draining(cause);
                cx.order(Effect::PurgeQueued);
            }
            Ending::Stop(cause) | Ending::StoreLost(cause) => {
                if matches!(ending, Ending::StoreLost(_)) {
                    self.purge_unsettled(cx);
                }
                self.life = Life::Stopped(cause);
                cx.order(Effect::Stop { cause });
            }
        }
    }

    fn purge_unsettled(&self, cx: &mut Context<'_, R, T>) {
        if self.window.unsettled() > 0 {
            cx.order(Effect::PurgeQueued);
        }
    }

    fn begin_drain(&mut self, cause: Cause, cx: &mut Context<'_, R, T>) {
        self.life = Life::Draining(cause);
        self.identity.give_up();
        self.publishing.give_up();
        self.stream.close(cx);
        cx.cancel_timer(TimerKind::Reconnect);
        cx.cancel_timer(TimerKind::LeaseWait);
        cx.set_timer(TimerKind::Drain, cx.config.drain_timeout);
    }

    /// The next step of the orderly end, one at a time.
    pub(super) fn drain(&mut self, cause: Cause, cx: &mut Context<'_, R, T>) -> Result<WaitsFor, Ending> {
        if self.window.unsettled() > 0 {
            return Ok(WaitsFor::Reports);
        }
        self.save_now(cx);
        if self.saves.is_under_way(cx.timers) {
            return Ok(WaitsFor::Save);
        }
        if self.lease.is_given_back(cx) { Err(Ending::Stop(cause)) } else { Ok(WaitsFor::Release) }
    }

    pub(super) fn on_drain_timeout(&mut self, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        let Some(cause) = self.life.draining() else { return Ok(()) };
        self.purge_unsettled(cx);
        self.save_now(cx);
        let was_asked_for = matches!(cause, Cause::Drained | Cause::DrainIncomplete);
        Err(Ending::Stop(if was_asked_for { Cause::DrainTimedOut } else { cause }))
    }
}
