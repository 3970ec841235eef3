//! What the token store answers, and what it then holds.

use cdc_machine::{Fault, Lineage};
use cdc_watcher::{GapCause, Input, LeaseRefusal, Notice, RecordChange, Saved, Taken};

use super::World;
use crate::invariants::{Invariant, demand};
use crate::sim::message::{Kind, Message, Token};
use crate::sim::schedule::{Act, How};
use crate::sim::store::{RecordedGap, Request, Store};

/// Late saves that are remembered.
pub(super) const LATE_SAVES_MAX: usize = 4;

impl World {
    pub(super) fn lease(&mut self, who: usize, how: How, arg: u16) {
        let now = self.now;
        let Some(process) = self.watchers[who].as_mut() else { return };
        let Some((id, over_damage)) = process.lease.take() else { return };
        let refused = |fault| Err(LeaseRefusal::Failed(fault));
        let result = match how {
            How::Failed | How::Away | How::Oddly => refused(store_fault(how, arg)),
            How::Good | How::Unheard | How::Late => {
                let by = (process.life, process.instance);
                let mut memory = process.memory.clone();
                let acquired = self.store.acquire(&mut memory, by, now, over_damage);
                let taken = Taken {
                    saved: Store::taken(&memory),
                    unannounced: Store::unannounced(&memory).iter().map(notice).collect(),
                    fresh: Lineage(u32::try_from(now.as_secs()).unwrap_or(u32::MAX).saturating_add(1)),
                };
                if how == How::Unheard {
                    process.memory.heard_nothing_of(&memory);
                } else {
                    process.memory = memory;
                }
                acquired.map(|()| taken)
            }
        };
        if result.is_ok()
            && let Some(record) = self.store.record()
        {
            let wrote = self.oracles.delivery.wrote(record.incarnation);
            self.fail(wrote);
        }
        let result = if how == How::Unheard { refused(Fault::Transient) } else { result };
        if let Ok(Taken { saved: Saved::Position(_), .. }) = &result {
            self.oracles.delivery.known();
        }
        self.tell(who, Input::LeaseTaken { id, result });
    }

    pub(super) fn renew_or_release(&mut self, who: usize, act: Act, how: How, arg: u16) {
        let now = self.now;
        let Some(process) = self.watchers[who].as_mut() else { return };
        let is_renewal = act == Act::Renew;
        let asked = if is_renewal { process.renewal.take() } else { process.release.take() };
        let Some(id) = asked else { return };
        let request = if is_renewal { Request::Renew } else { Request::Release };
        let result = match how {
            How::Failed | How::Away | How::Oddly | How::Late => Err(store_fault(how, arg)),
            How::Good => self.store.rewrite(&mut process.memory, process.life, now, &request),
            How::Unheard => {
                let mut memory = process.memory.clone();
                let done = self.store.rewrite(&mut memory, process.life, now, &request);
                done.and(Err(Fault::Transient))
            }
        };
        if let Ok((incarnation, _)) = &result {
            let wrote = self.oracles.delivery.wrote(*incarnation);
            self.fail(wrote);
        }
        let fact = if is_renewal {
            Input::LeaseRenewed { id, result: result.map(|_| ()) }
        } else {
            Input::LeaseReleased { id, result: () }
        };
        self.tell(who, fact);
    }

    pub(super) fn save(&mut self, who: usize, how: How, arg: u16) {
        let now = self.now;
        let Some(process) = self.watchers[who].as_mut() else { return };
        let Some(save) = process.save.take() else { return };
        let (token, lineage, change) = (*save.token.position(), save.lineage, save.change);
        let request = Request::Save { token, lineage, change: change.clone() };
        let mut done = Err(store_fault(how, arg));
        match how {
            How::Good => done = self.store.rewrite(&mut process.memory, process.life, now, &request),
            How::Unheard => {
                let mut memory = process.memory.clone();
                done = self.store.rewrite(&mut memory, process.life, now, &request);
                process.memory.heard_nothing_of(&memory);
            }
            How::Late if self.late_saves.len() < LATE_SAVES_MAX => {
                let late = Store::send_late(&mut process.memory, now, (token, lineage), change.clone());
                self.late_saves.extend(late);
            }
            How::Failed | How::Late | How::Away | How::Oddly => {}
        }
        if how == How::Good && done.is_ok() {
            process.forget_published(token);
            self.oracles.delivery.known();
        }
        if let Ok((incarnation, _)) = &done {
            self.on_record(token, *incarnation, &change);
        }
        let heard = if how == How::Unheard { done.and(Err(Fault::Transient)) } else { done };
        let result = heard.map(|(_, gaps)| gaps.iter().filter(|gap| !gap.is_announced).map(notice).collect());
        self.tell(who, Input::TokenSaved { id: save.id, result });
    }

    /// The store holds this position now.
    pub(super) fn on_record(&mut self, token: Token, incarnation: u64, change: &RecordChange<Token>) {
        for gap in &change.gaps {
            let is_explained = match gap.cause {
                GapCause::HistoryLost => self.losses.history,
                GapCause::TokenMissing => self.losses.record,
                GapCause::TokenDamaged => self.losses.damage,
                GapCause::TopicLost
                | GapCause::CollectionAdded
                | GapCause::CollectionRecreated
                | GapCause::CollectionReplaced => false,
            };
            self.oracles.delivery.excuse(gap.from.unwrap_or(0), gap.to);
            let checked = demand(is_explained, Invariant::GapsExplained, || format!("{gap:?} is on record"));
            self.fail(checked);
        }
        let saved = self.oracles.delivery.saved(token, incarnation);
        self.fail(saved);
    }
}

fn store_fault(how: How, arg: u16) -> Fault {
    match how {
        How::Oddly => [Fault::RetryNow, Fault::Auth, Fault::Fatal][usize::from(arg % 3)],
        How::Good | How::Failed | How::Unheard | How::Late | How::Away => Fault::Transient,
    }
}

fn notice(gap: &RecordedGap) -> Notice<Message> {
    let record =
        Message { kind: Kind::Gap, table: 0, key: 0, name: 0, is_poison: false, token: gap.to, version: 0 };
    Notice { record, bytes: 0 }
}
