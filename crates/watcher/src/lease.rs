//! The lease on the token record: taken before anything is connected, renewed in every state, given back last.
//!
//! The machine has no clock. It counts the runs of the renewal timer instead: once they add up to the
//! lease's time without one renewal, somebody else may hold it.

use core::time::Duration;

use cdc_machine::{Backoff, Cause, EffectId, Fault, Verdict};

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
    retries: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Free,
    Acquiring {
        id: EffectId,
    },
    Held {
        renewal: Option<EffectId>,
        /// Time counted since the last renewal, in whole timer runs.
        unrenewed: Duration,
        /// What the running timer adds to that.
        counting: Duration,
    },
    Releasing {
        id: EffectId,
    },
}

impl Lease {
    pub(crate) const fn new() -> Self {
        Self { phase: Phase::Free, retries: Backoff::new() }
    }

    /// True while it is ours; asks for it where nobody has.
    pub(crate) fn is_taken<R, T>(&mut self, cx: &mut Context<'_, R, T>) -> bool {
        if self.phase == Phase::Free {
            self.acquire(false, cx);
        }
        self.is_held()
    }

    fn acquire<R, T>(&mut self, over_damage: bool, cx: &mut Context<'_, R, T>) {
        let id = cx.ids.new_effect();
        self.phase = Phase::Acquiring { id };
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
        if self.phase != (Phase::Acquiring { id }) {
            cx.ids.ignore_reply(id);
            return Ok(None);
        }
        self.phase = Phase::Free;
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
        let counting = config.lease_renew_every;
        self.phase = Phase::Held { renewal: None, unrenewed: Duration::ZERO, counting };
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
        let Phase::Held { renewal, unrenewed, counting } = self.phase else { return Ok(()) };
        let unrenewed = unrenewed.saturating_add(counting);
        if unrenewed >= cx.config.lease_ttl {
            return Err(Ending::StoreLost(Cause::LeaseLost));
        }
        let renewal = renewal.unwrap_or_else(|| {
            let id = cx.ids.new_effect();
            cx.order(Effect::RenewLease { id });
            id
        });
        self.phase = Phase::Held { renewal: Some(renewal), unrenewed, counting: RENEWAL_CHECK };
        cx.set_timer(TimerKind::LeaseRenew, RENEWAL_CHECK);
        Ok(())
    }

    pub(crate) fn on_renewed<R, T>(
        &mut self,
        id: EffectId,
        result: Result<(), Fault>,
        cx: &mut Context<'_, R, T>,
    ) -> Result<(), Ending> {
        match &mut self.phase {
            Phase::Held { renewal, .. } if *renewal == Some(id) => *renewal = None,
            Phase::Free | Phase::Acquiring { .. } | Phase::Held { .. } | Phase::Releasing { .. } => {
                cx.ids.ignore_reply(id);
                return Ok(());
            }
        }
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
            let id = cx.ids.new_effect();
            self.phase = Phase::Releasing { id };
            cx.order(Effect::ReleaseLease { id });
        }
        self.phase == Phase::Free
    }

    pub(crate) fn on_released<R, T>(&mut self, id: EffectId, cx: &mut Context<'_, R, T>) {
        if self.phase == (Phase::Releasing { id }) {
            self.phase = Phase::Free;
        } else {
            cx.ids.ignore_reply(id);
        }
    }

    pub(crate) const fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Held { .. })
    }

    pub(crate) const fn is_releasing(&self) -> bool {
        matches!(self.phase, Phase::Releasing { .. })
    }

    /// Retries used, as long as it is not ours.
    pub(crate) const fn retries(&self) -> Option<Backoff> {
        if self.is_held() { None } else { Some(self.retries) }
    }

    pub(crate) fn situation(&self) -> [u64; 3] {
        let (phase, unrenewed) = match self.phase {
            Phase::Free => (0, Duration::ZERO),
            Phase::Acquiring { .. } => (1, Duration::ZERO),
            Phase::Held { renewal: None, unrenewed, .. } => (2, unrenewed),
            Phase::Held { renewal: Some(_), unrenewed, .. } => (3, unrenewed),
            Phase::Releasing { .. } => (4, Duration::ZERO),
        };
        [phase, unrenewed.as_secs(), u64::from(self.retries.retries())]
    }
}
