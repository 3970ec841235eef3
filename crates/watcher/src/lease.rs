//! The lease on the token record: taken before anything is connected, renewed in every state, given back last.
//!
//! The machine has no clock. It counts the runs of the renewal timer instead: once they add up to the
//! lease's time without one renewal, somebody else may hold it.

use core::time::Duration;

use cdc_machine::{Asked, Backoff, Cause, EffectId, Fault, Verdict};

use crate::config::{Config, OnHistoryLost};
use crate::context::Context;
use crate::ending::Ending;
use crate::verdict;
use crate::{Effect, LeaseRefusal, Taken, TimerKind};

/// How often a renewal that is not answered, or was refused, is looked after.
const RENEWAL_CHECK: Duration = Duration::from_secs(1);

/// What a wait for somebody else's lease is longer than the lease, so that it is over by then.
const LEASE_WAIT_MARGIN: Duration = Duration::from_millis(100);

/// The lease as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    phase: Phase,
    /// To take it, to renew it, or to give it back.
    asked: Asked,
    retries: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Free,
    Held {
        /// Time counted since the last renewal, in whole timer runs.
        unrenewed: Duration,
        /// What the running timer adds to that.
        counting: Duration,
    },
    Releasing,
}

impl Lease {
    pub(crate) const fn new() -> Self {
        Self { phase: Phase::Free, asked: Asked::nothing(), retries: Backoff::new() }
    }

    /// True while it is ours; asks for it where nobody has.
    pub(crate) fn is_taken<R, T>(&mut self, cx: &mut Context<'_, R, T>) -> bool {
        if self.is_free() {
            self.acquire(false, cx);
        }
        self.is_held()
    }

    fn acquire<R, T>(&mut self, over_damage: bool, cx: &mut Context<'_, R, T>) {
        let id = self.asked.ask(cx.ids, ());
        cx.order(Effect::AcquireLease { id, over_damage });
    }

    /// What the record holds, where the lease is ours now and still of use: an end that has begun meanwhile only gives it
    /// back.
    pub(crate) fn on_taken<R, T>(
        &mut self,
        id: EffectId,
        result: Result<Taken<R, T>, LeaseRefusal>,
        is_draining: bool,
        cx: &mut Context<'_, R, T>,
    ) -> Result<Option<Taken<R, T>>, Ending> {
        let Some(()) = self.asked.answer(id, cx.ids) else { return Ok(None) };
        match result {
            Ok(taken) => {
                self.retries.reset();
                self.hold(cx.config);
                if is_draining {
                    return Ok(None);
                }
                cx.set_timer(TimerKind::LeaseRenew, cx.config.lease_renew_every);
                Ok(Some(taken))
            }
            Err(_) if is_draining => Ok(None),
            Err(refusal) => self.on_refused(refusal, cx).map(|()| None),
        }
    }

    /// It is ours from now on, for its whole time.
    const fn hold(&mut self, config: &Config) {
        self.phase = Phase::Held { unrenewed: Duration::ZERO, counting: config.lease_renew_every };
    }

    fn on_refused<R, T>(&mut self, refusal: LeaseRefusal, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        match refusal {
            LeaseRefusal::Held { expires_in } => {
                let wait = expires_in.saturating_add(LEASE_WAIT_MARGIN).min(cx.config.lease_renew_every);
                cx.set_timer(TimerKind::LeaseWait, wait);
                Ok(())
            }
            LeaseRefusal::Failed(fault) => {
                let verdict = verdict::on_token_store(fault, cx.config.token_store);
                let retry = cx.config.retries.token_store;
                let waits = verdict.back_off(TimerKind::Reconnect, &mut self.retries, retry, cx);
                waits.map_err(if let Verdict::End(_) = verdict { Ending::Stop } else { Ending::Drain })
            }
            LeaseRefusal::Damaged if cx.config.on_history_lost == OnHistoryLost::FromNow => {
                self.acquire(true, cx);
                Ok(())
            }
            LeaseRefusal::Damaged => Err(Ending::Stop(Cause::TokenDamaged)),
            // The record is none of ours: it is left alone, whatever the policy.
            LeaseRefusal::OtherSource => Err(Ending::Stop(Cause::OtherSource)),
            LeaseRefusal::Unreadable => Err(Ending::Stop(Cause::TokenUnreadable)),
        }
    }

    pub(crate) fn on_renewal_due<R, T>(&mut self, cx: &mut Context<'_, R, T>) -> Result<(), Ending> {
        let Phase::Held { unrenewed, counting } = self.phase else { return Ok(()) };
        let unrenewed = unrenewed.saturating_add(counting);
        if unrenewed >= cx.config.lease_ttl {
            return Err(Ending::StoreLost(Cause::LeaseLost));
        }
        if !self.asked.is_out() {
            let id = self.asked.ask(cx.ids, ());
            cx.order(Effect::RenewLease { id });
        }
        self.phase = Phase::Held { unrenewed, counting: RENEWAL_CHECK };
        cx.set_timer(TimerKind::LeaseRenew, RENEWAL_CHECK);
        Ok(())
    }

    pub(crate) fn on_renewed<R, T>(
        &mut self,
        id: EffectId,
        result: Result<(), Fault>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        let Some(()) = self.asked.answer(id, cx.ids) else { return Ok(()) };
        match result {
            Ok(()) => {
                self.hold(cx.config);
                cx.set_timer(TimerKind::LeaseRenew, cx.config.lease_renew_every);
                Ok(())
            }
            // Where another try may help, the running timer asks again.
            Err(fault) => {
                verdict::on_token_store(fault, cx.config.token_store).end().map_err(Ending::StoreLost)
            }
        }
    }

    /// True once it is nobody's; gives it back where it is ours.
    pub(crate) fn is_given_back<R, T>(&mut self, cx: &mut Context<'_, R, T>) -> bool {
        if self.is_held() {
            cx.cancel_timer(TimerKind::LeaseRenew);
            let id = self.asked.ask(cx.ids, ());
            self.phase = Phase::Releasing;
            cx.order(Effect::ReleaseLease { id });
        }
        self.is_free()
    }

    pub(crate) fn on_released<R, T>(&mut self, id: EffectId, cx: &mut Context<'_, R, T>) {
        if self.asked.answer(id, cx.ids).is_some() {
            self.phase = Phase::Free;
        }
    }

    /// True while it is nobody's, and nobody has asked for it.
    fn is_free(&self) -> bool {
        self.phase == Phase::Free && !self.asked.is_out()
    }

    pub(crate) const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held { .. })
    }

    pub(crate) const fn is_releasing(&self) -> bool {
        matches!(self.phase, Phase::Releasing)
    }

    /// Retries used, as long as it is not ours.
    pub(crate) const fn retries(&self) -> Option<Backoff> {
        if self.is_held() { None } else { Some(self.retries) }
    }

    pub(crate) fn situation(&self) -> [u64; 4] {
        let (phase, unrenewed) = match self.phase {
            Phase::Free => (0, Duration::ZERO),
            Phase::Held { unrenewed, .. } => (1, unrenewed),
            Phase::Releasing => (2, Duration::ZERO),
        };
        let asked = u64::from(self.asked.is_out());
        [phase, asked, unrenewed.as_secs(), u64::from(self.retries.retries())]
    }
}
