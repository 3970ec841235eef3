//! The token store: one record behind a compare-and-set, with the lease in it. As a file it has a disk below it, which
//! loses at a power cut what was not synced; as Redis it may be rolled back to an older copy.

use std::time::Duration;

use cdc_machine::{Fault, Lineage, Plant, planted};
use cdc_watcher::{Checkpoint, Gap, Known, LEASE_TTL, LeaseRefusal, RecordChange, Saved};

use super::message::Token;

/// A process, for ever: no two lives share one.
pub type Life = u32;

/// A gap on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordedGap {
    /// Where it ends.
    pub to: Token,
    /// True once every partition has its control message.
    pub is_announced: bool,
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Rises with each acquisition.
    pub incarnation: u64,
    /// Who wrote it last.
    pub owner: Life,
    sequence: u64,
    /// Who has the lease.
    holder: Option<u8>,
    expires: Duration,
    taken_over: Option<Duration>,
    /// The position.
    pub saved: Option<(Token, Lineage)>,
    known: Vec<Known>,
    /// What was given up.
    pub gaps: Vec<RecordedGap>,
    is_lost: bool,
}

/// What a process knows of the record: its last confirmed write.
#[derive(Clone, Debug, Default, Hash)]
pub struct Memory {
    mine: Option<Record>,
    sequence: u64,
}

impl Memory {
    /// True where the process believes that the record is its own.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.mine.is_some()
    }

    /// True where it knows of a position.
    #[must_use]
    pub fn has_position(&self) -> bool {
        self.mine.as_ref().is_some_and(|mine| mine.saved.is_some())
    }

    /// A write went out whose answer never came: its number is used.
    pub const fn heard_nothing_of(&mut self, tried: &Self) {
        self.sequence = tried.sequence;
    }
}

/// The store.
#[derive(Clone, Debug, Default, Hash)]
pub struct Store {
    record: Option<Record>,
    /// What a power cut leaves of a file.
    synced: Option<Record>,
    is_damaged: bool,
    /// Copies that it may be rolled back to.
    copies: Vec<Record>,
    /// The greatest lineage that was ever saved.
    lineage: Lineage,
}

/// Copies that are kept.
const COPIES_MAX: usize = 4;

/// What a change of the record is asked for.
#[derive(Clone, Debug, Hash)]
pub enum Request {
    /// Extend the lease.
    Renew,
    /// Give the lease back.
    Release,
    /// Record a position.
    Save {
        /// The position.
        token: Token,
        /// Its lineage.
        lineage: Lineage,
        /// What changes with it.
        change: RecordChange<Token>,
    },
}

/// A save on its way, of which nobody waits for the answer.
#[derive(Clone, Debug, Hash)]
pub struct LateSave {
    /// Who wrote what it replaces, and with which number.
    expected: Option<(Life, u64)>,
    next: Record,
    /// What changes with it.
    pub change: RecordChange<Token>,
}

impl Store {
    /// What stands in it.
    #[must_use]
    pub const fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The position that a process would go on from.
    #[must_use]
    pub fn saved(&self) -> Option<Token> {
        self.record.as_ref().and_then(|record| record.saved).map(|(token, _)| token)
    }

    /// A process asks for the lease.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub fn acquire(
        &mut self,
        memory: &mut Memory,
        (life, instance): (Life, u8),
        now: Duration,
        over_damage: bool,
    ) -> Result<(), LeaseRefusal> {
        if self.is_damaged && !over_damage && memory.mine.is_none() {
            return Err(LeaseRefusal::Damaged);
        }
        let was_damaged = std::mem::take(&mut self.is_damaged);
        let found = self.record.take_if(|_| was_damaged).map_or_else(|| self.record.clone(), |_| None);
        let mut is_takeover = false;
        if let Some(record) = found.as_ref().filter(|record| record.owner != life)
            && let Some(holder) = record.holder
            && record.expires > now
        {
            let left = record.expires.saturating_sub(now).min(LEASE_TTL);
            if holder != instance {
                return Err(LeaseRefusal::Held { expires_in: left });
            }
            let guarded = record.taken_over.map_or(Duration::ZERO, |at| (at + LEASE_TTL).saturating_sub(now));
            if !guarded.is_zero() {
                return Err(LeaseRefusal::Held { expires_in: guarded.min(left) });
            }
            is_takeover = true;
        }
        let base = base(memory, found.as_ref(), life).cloned();
        let highest = |record: &Record| record.incarnation;
        let incarnation = base.as_ref().map_or(0, highest).max(found.as_ref().map_or(0, highest)) + 1;
        let next = Record {
            incarnation,
            owner: life,
            sequence: next_sequence(memory, found.as_ref()),
            holder: Some(instance),
            expires: now + LEASE_TTL,
            taken_over: is_takeover.then_some(now),
            saved: base.as_ref().and_then(|record| record.saved),
            known: base.as_ref().map_or_else(Vec::new, |record| record.known.clone()),
            gaps: base.as_ref().map_or_else(Vec::new, |record| record.gaps.clone()),
            is_lost: (was_damaged && base.is_none()) || base.is_some_and(|record| record.is_lost),
        };
        self.put(next.clone());
        memory.mine = Some(next);
        Ok(())
    }

    /// What comes with the lease.
    #[must_use]
    pub fn taken(memory: &Memory) -> Saved<Token> {
        let Some(mine) = &memory.mine else { return Saved::Nothing };
        match mine.saved {
            Some((token, lineage)) => {
                let known = mine.known.iter().map(|known| Some(*known)).collect();
                Saved::Position(Checkpoint { token, lineage, known })
            }
            None if mine.is_lost => Saved::Lost,
            None => Saved::Nothing,
        }
    }

    /// Gaps on record that Kafka may not have been told of.
    #[must_use]
    pub fn unannounced(memory: &Memory) -> Vec<RecordedGap> {
        let gaps = memory.mine.iter().flat_map(|mine| &mine.gaps);
        gaps.filter(|gap| !gap.is_announced).copied().collect()
    }

    /// A process changes the record: its incarnation, and the gaps that it opened.
    ///
    /// # Errors
    /// `Fenced` where the record is another's.
    pub fn rewrite(
        &mut self,
        memory: &mut Memory,
        life: Life,
        now: Duration,
        request: &Request,
    ) -> Result<(u64, Vec<RecordedGap>), Fault> {
        let Some(mut next) = memory.mine.clone() else { return Err(Fault::Fenced) };
        let incarnation = next.incarnation;
        if let Some(found) = &self.record
            && found.owner != life
            && !planted(Plant::StoreIgnoresIncarnation)
        {
            return Err(Fault::Fenced);
        }
        next.sequence = next_sequence(memory, None);
        next.expires = now + LEASE_TTL;
        let mut opened = Vec::new();
        match request {
            Request::Renew => {}
            Request::Release => (next.holder, next.taken_over) = (None, None),
            Request::Save { token, lineage, change } => {
                next.saved = Some((*token, *lineage));
                next.is_lost = false;
                next.known.clone_from(&change.known);
                if change.announced {
                    next.gaps.iter_mut().for_each(|gap| gap.is_announced = true);
                }
                opened.extend(change.gaps.iter().map(recorded));
                next.gaps.extend(&opened);
            }
        }
        self.is_damaged = false;
        self.put(next.clone());
        memory.mine = (!matches!(request, Request::Release)).then_some(next);
        Ok((incarnation, opened))
    }

    /// A save that will arrive later, or never: it replaces only what the process knew of when it sent it.
    pub fn send_late(
        memory: &mut Memory,
        now: Duration,
        (token, lineage): (Token, Lineage),
        change: RecordChange<Token>,
    ) -> Option<LateSave> {
        let mine = memory.mine.clone()?;
        let expected = Some((mine.owner, mine.sequence));
        let mut next = mine;
        next.sequence = next_sequence(memory, None);
        next.expires = now + LEASE_TTL;
        next.saved = Some((token, lineage));
        next.is_lost = false;
        next.known.clone_from(&change.known);
        next.gaps.extend(change.gaps.iter().map(recorded));
        Some(LateSave { expected, next, change })
    }

    /// A late save arrives: the position, the incarnation and what changed with it, where it replaced what it was to.
    pub fn swap_late(&mut self, late: LateSave) -> Option<(Token, u64, RecordChange<Token>)> {
        let found = self.record.as_ref().map(|found| (found.owner, found.sequence));
        let is_expected = found == late.expected || planted(Plant::StoreIgnoresIncarnation);
        if !is_expected || self.is_damaged {
            return None;
        }
        let (token, _) = late.next.saved?;
        let incarnation = late.next.incarnation;
        self.put(late.next);
        Some((token, incarnation, late.change))
    }

    fn put(&mut self, next: Record) {
        if self.copies.len() == COPIES_MAX {
            self.copies.remove(0);
        }
        self.lineage = self.lineage.max(next.saved.map_or(Lineage(0), |(_, lineage)| lineage));
        self.copies.extend(self.record.replace(next));
        // Planted in the model of the disk: the file's name still leads to the old one after a power cut.
        if !planted(Plant::NoDirectoryFsync) {
            self.synced.clone_from(&self.record);
        }
    }

    /// The machine that holds the file loses its power.
    pub fn cut_power(&mut self) {
        self.record.clone_from(&self.synced);
    }

    /// An older copy comes back; one without a position only where something may get lost. False where there is none.
    /// `memory` says of a process that takes a record of its own for its own still whether it knows of a position.
    pub fn roll_back(&mut self, which: usize, may_lose: bool, memory: impl Fn(Life) -> Option<bool>) -> bool {
        // Rows carry the lineage, and fence off what has a lower one: a store that comes back from before its lineage rose
        // is for a person, and so is one that gives its record back to a process that has not begun in its own yet, as far
        // as it knows. See `specs/simulator.md`.
        let owner = self.record.as_ref().map(|record| record.owner);
        let goes_on = |copy: &Record| {
            let is_given_back = self.lineage > Lineage(0) && Some(copy.owner) != owner;
            memory(copy.owner).filter(|_| is_given_back)
        };
        let is_of_today = |copy: &&Record| match copy.saved {
            Some((_, lineage)) => lineage == self.lineage && goes_on(copy) != Some(false),
            None => may_lose && goes_on(copy).is_none(),
        };
        let copies: Vec<&Record> = self.copies.iter().filter(is_of_today).collect();
        let Some(at) = which.checked_rem(copies.len()) else { return false };
        self.is_damaged = false;
        self.record = copies.get(at).map(|copy| (*copy).clone());
        self.synced.clone_from(&self.record);
        true
    }

    /// It is empty.
    pub fn flush(&mut self) {
        (self.record, self.synced) = (None, None);
        self.copies.clear();
        self.is_damaged = false;
    }

    /// What stands there cannot be read any more.
    pub const fn damage(&mut self) {
        self.is_damaged = self.record.is_some();
    }
}

fn recorded(gap: &Gap<Token>) -> RecordedGap {
    RecordedGap { to: gap.to, is_announced: gap.announced }
}

/// The record to go on from: what stands in the store, unless that was rolled back under this very process.
fn base<'a>(memory: &'a Memory, found: Option<&'a Record>, life: Life) -> Option<&'a Record> {
    match (found, &memory.mine) {
        (None, Some(mine)) => Some(mine),
        (Some(found), Some(mine)) if found.owner == life && found.sequence < mine.sequence => Some(mine),
        (found, _) => found,
    }
}

fn next_sequence(memory: &mut Memory, found: Option<&Record>) -> u64 {
    memory.sequence = memory.sequence.max(found.map_or(0, |found| found.sequence)) + 1;
    memory.sequence
}
