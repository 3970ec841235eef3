//! `SavingToken`: the token store. Saves run beside the stream, at most one at a time; the state of this
//! name is the wait for one that alone can make room.

use alloc::vec::Vec;

use cdc_machine::{EffectId, Fault};

use crate::facts::{Origin, Saving};
use crate::state::State;
use crate::turn::Turn;
use crate::verdict::Verdict;
use crate::{AckedToken, Effect, Notice, TimerKind};

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    /// Starts a save if one is due, or sets the timer that will make it due.
    pub(crate) fn save_when_due(&mut self) {
        if self.facts.saving != Saving::No || self.facts.window.unsaved_prefix().is_none() {
            return;
        }
        let savable = self.facts.window.savable_weight();
        let config = self.config;
        if savable == 0 {
            self.start_timer(TimerKind::IdleSave, config.idle_save_interval);
        } else if self.facts.room(config) == 0 {
            self.save_now();
        } else if savable < config.token_save_interval.max(1) {
            self.start_timer(TimerKind::SaveDelay, config.token_save_max_delay);
        } else if !self.facts.timers.is_running(TimerKind::SaveSpacing) {
            self.save_now();
        }
    }

    fn start_timer(&mut self, kind: TimerKind, after: core::time::Duration) {
        self.facts.timers.set_unless_running(kind, after, self.out);
    }

    /// Saves what is acked in order and not saved, if there is such a thing and no save is under way.
    pub(crate) fn save_now(&mut self) {
        if self.facts.saving != Saving::No {
            return;
        }
        let Some(token) = self.facts.window.unsaved_prefix().cloned() else {
            return;
        };
        self.cancel_timer(TimerKind::SaveDelay);
        self.cancel_timer(TimerKind::IdleSave);
        let id = self.facts.new_effect();
        let (amendment, notes) = self.amendment(token.position());
        self.facts.saving = Saving::InFlight { id, token: token.clone(), notes };
        self.out.push(Effect::SaveToken { id, token, lineage: self.facts.lineage, amendment });
        self.set_timer(TimerKind::SaveSpacing, self.config.save_spacing);
    }

    pub(crate) fn on_saved(&mut self, state: State, id: EffectId, unannounced: Vec<Notice<R>>) -> State {
        let Some((token, notes)) = self.take_save(id) else {
            return state;
        };
        self.facts.window.mark_saved(&token);
        self.mark_noted(notes);
        self.facts.unannounced.extend(unannounced);
        self.facts.retries.save.reset();
        if self.facts.origin == Origin::Empty {
            self.facts.origin = Origin::Recorded(token.position().clone());
        }
        state
    }

    pub(crate) fn on_save_failed(&mut self, state: State, id: EffectId, fault: Fault) -> State {
        if self.take_save(id).is_none() {
            return state;
        }
        let store = self.config.token_store;
        match Verdict::on_token_store(fault, store) {
            Verdict::Retry(exhausted) => {
                match self.facts.retries.save.next(self.config.retries.token_store) {
                    Some(wait) => {
                        self.facts.saving = Saving::BackingOff;
                        self.set_timer(TimerKind::SaveRetry, wait);
                        state
                    }
                    None => self.lose_store(exhausted),
                }
            }
            Verdict::End(cause) => self.lose_store(cause),
        }
    }

    /// Ends the save that `id` names; `None` where there is no such save.
    fn take_save(&mut self, id: EffectId) -> Option<(AckedToken<T>, usize)> {
        match core::mem::replace(&mut self.facts.saving, Saving::No) {
            Saving::InFlight { id: saving, token, notes } if saving == id => Some((token, notes)),
            other @ (Saving::No | Saving::InFlight { .. } | Saving::BackingOff) => {
                self.facts.saving = other;
                self.facts.ignore_reply(id);
                None
            }
        }
    }
}
