//! The lease on the token record: taken before anything else, renewed in every state, given back last.
//!
//! The machine has no clock. It counts the runs of the renewal timer instead: once they add up to the
//! lease's time without one renewal, somebody else may hold it.

use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Cause, EffectId, Fault, Lineage};

use crate::config::OnHistoryLost;
use crate::facts::{Lease, Origin};
use crate::state::{Connecting, State};
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{Checkpoint, Effect, GapCause, Notice, Saved, TimerKind};

/// How often a renewal that is not answered, or was refused, is looked after.
const RENEWAL_CHECK: Duration = Duration::from_secs(1);

/// What a wait for somebody else's lease is longer than the lease, so that it is over by then.
const LEASE_WAIT_MARGIN: Duration = Duration::from_millis(100);

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    pub(crate) fn acquire_lease(&mut self, over_damage: bool) -> State {
        let id = self.facts.new_effect();
        self.facts.lease = Lease::Acquiring { id };
        self.out.push(Effect::AcquireLease { id, over_damage });
        State::Connecting(Connecting::Lease)
    }

    /// True where `id` asked for the lease; it is answered then.
    fn answers_acquisition(&mut self, id: EffectId) -> bool {
        let answers = self.facts.lease == Lease::Acquiring { id };
        if answers {
            self.facts.lease = Lease::Free;
        } else {
            self.facts.ignore_reply(id);
        }
        answers
    }

    pub(crate) fn on_lease_acquired(
        &mut self,
        state: State,
        id: EffectId,
        saved: Saved<T>,
        unannounced: Vec<Notice<R>>,
        fresh: Lineage,
    ) -> State {
        if !self.answers_acquisition(id) {
            return state;
        }
        let every = self.config.lease_renew_every;
        self.facts.lease = Lease::Held { renewal: None, unrenewed: Duration::ZERO, counting: every };
        self.facts.retries.lease.reset();
        let State::Connecting(_) = state else {
            // A drain began meanwhile, and gives the lease back.
            return state;
        };
        self.set_timer(TimerKind::LeaseRenew, every);
        self.facts.fresh = fresh;
        self.facts.unannounced = unannounced;
        match saved {
            Saved::Nothing => self.facts.begin_anew(None),
            Saved::Lost => match self.config.on_history_lost {
                OnHistoryLost::Stop => return self.end(state, Cause::TokenDamaged),
                OnHistoryLost::FromNow => self.facts.begin_anew(Some(GapCause::TokenDamaged)),
            },
            Saved::Position(Checkpoint { token, lineage, known }) => {
                self.facts.origin = Origin::Recorded(token);
                self.facts.lineage = lineage;
                self.facts.known = known;
            }
        }
        self.prepare_producer()
    }

    pub(crate) fn on_lease_held(&mut self, state: State, id: EffectId, expires_in: Duration) -> State {
        if self.answers_acquisition(id) && matches!(state, State::Connecting(_)) {
            let wait = expires_in.saturating_add(LEASE_WAIT_MARGIN).min(self.config.lease_renew_every);
            self.set_timer(TimerKind::LeaseWait, wait);
        }
        state
    }

    pub(crate) fn on_lease_failed(&mut self, state: State, id: EffectId, fault: Fault) -> State {
        if !self.answers_acquisition(id) || !matches!(state, State::Connecting(_)) {
            return state;
        }
        let store = self.config.token_store;
        match Verdict::on_token_store(fault, store) {
            Verdict::Retry(exhausted) => {
                let wait = self.facts.retries.lease.next(self.config.retries.token_store);
                self.back_off(wait, Connecting::Lease, exhausted)
            }
            Verdict::End(cause) => self.stop(cause),
        }
    }

    /// The record is none of ours: it is left alone, whatever the policy.
    pub(crate) fn on_lease_refused(&mut self, state: State, id: EffectId, cause: Cause) -> State {
        if self.answers_acquisition(id) && matches!(state, State::Connecting(_)) {
            return self.stop(cause);
        }
        state
    }

    pub(crate) fn on_lease_damaged(&mut self, state: State, id: EffectId) -> State {
        if !self.answers_acquisition(id) || !matches!(state, State::Connecting(_)) {
            return state;
        }
        match self.config.on_history_lost {
            OnHistoryLost::Stop => self.stop(Cause::TokenDamaged),
            OnHistoryLost::FromNow => self.acquire_lease(true),
        }
    }

    pub(crate) fn on_renewal_due(&mut self, state: State) -> State {
        let Lease::Held { renewal, unrenewed, counting } = self.facts.lease else {
            return state;
        };
        let unrenewed = unrenewed.saturating_add(counting);
        if unrenewed >= self.config.lease_ttl {
            return self.lose_lease();
        }
        let renewal = renewal.unwrap_or_else(|| {
            let id = self.facts.new_effect();
            self.out.push(Effect::RenewLease { id });
            id
        });
        self.facts.lease = Lease::Held { renewal: Some(renewal), unrenewed, counting: RENEWAL_CHECK };
        self.set_timer(TimerKind::LeaseRenew, RENEWAL_CHECK);
        state
    }

    /// True where `id` is the renewal under way; it is answered then.
    fn answers_renewal(&mut self, id: EffectId) -> bool {
        if let Lease::Held { renewal, .. } = &mut self.facts.lease
            && *renewal == Some(id)
        {
            *renewal = None;
            return true;
        }
        self.facts.ignore_reply(id);
        false
    }

    pub(crate) fn on_lease_renewed(&mut self, state: State, id: EffectId) -> State {
        if self.answers_renewal(id) {
            let every = self.config.lease_renew_every;
            self.facts.lease = Lease::Held { renewal: None, unrenewed: Duration::ZERO, counting: every };
            self.set_timer(TimerKind::LeaseRenew, every);
        }
        state
    }

    pub(crate) fn on_lease_renew_failed(&mut self, state: State, id: EffectId, fault: Fault) -> State {
        if !self.answers_renewal(id) {
            return state;
        }
        match Verdict::on_token_store(fault, self.config.token_store) {
            // The running timer asks again.
            Verdict::Retry(_) => state,
            Verdict::End(cause) => self.lose_store(cause),
        }
    }

    pub(crate) fn release_lease(&mut self) {
        self.cancel_timer(TimerKind::LeaseRenew);
        let id = self.facts.new_effect();
        self.facts.lease = Lease::Releasing { id };
        self.out.push(Effect::ReleaseLease { id });
    }

    pub(crate) fn on_lease_released(&mut self, state: State, id: EffectId) -> State {
        if self.facts.lease == (Lease::Releasing { id }) {
            self.facts.lease = Lease::Free;
        } else {
            self.facts.ignore_reply(id);
        }
        state
    }

    fn lose_lease(&mut self) -> State {
        self.lose_store(Cause::LeaseLost)
    }

    /// Nothing can be saved any more. What is only queued is taken back, since another instance may already
    /// be sending the same.
    pub(crate) fn lose_store(&mut self, cause: Cause) -> State {
        if self.facts.window.unsettled() > 0 {
            self.out.push(Effect::PurgeQueued);
        }
        self.stop(cause)
    }
}
