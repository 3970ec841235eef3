//! In-order progress over out-of-order completions.
//!
//! ```text
//!            saved          settled prefix               opened
//!   ───────────┴──────────────────┴──────┬───┬───┬───────────┴──▶ slots
//!    a restart  │  may be recorded next  │ ✓ │ · │ ✓   …     │
//!    begins here│                        │   in flight       │
//!
//!   saved ≤ settled ≤ opened
//! ```
//!
//! A slot is opened when something is read, and settled when it is durable on the other side. Slots settle
//! in any order; the position that may be recorded advances only over the settled *prefix*. What may be
//! recorded leaves as a [`Settled`], whose only constructor is here: a save or a commit that takes one as
//! its argument cannot be written down too early.

use alloc::collections::VecDeque;
use core::fmt;

use crate::{SeqNo, ensure};

/// Proof that everything up to and including a position has settled.
///
/// Only a [`Watermark`] makes one. It prints as the position.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Settled<P> {
    position: P,
    through: SeqNo,
    weight: u64,
}

impl<P> Settled<P> {
    /// The position that may be recorded.
    pub const fn position(&self) -> &P {
        &self.position
    }

    /// The last slot that the position covers.
    pub const fn through(&self) -> SeqNo {
        self.through
    }
}

impl<P: fmt::Debug> fmt::Debug for Settled<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.position.fmt(f)
    }
}

/// What became of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// The slot was in flight, and is answered now.
    Settled,
    /// The report counts, but the slot awaits others of its own.
    Awaited,
    /// No such slot is in flight: a late or doubled completion.
    Stale,
}

/// One thing in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slot<P> {
    /// Where the source stands after this slot.
    pub position: P,
    /// How much credit it takes: 1 for an event, 0 for an idle position.
    pub weight: u32,
    /// Its size in flight.
    pub bytes: u64,
    /// Reports that answer it, at least 1: a message that goes to every partition has one for each copy.
    pub reports: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    InFlight,
    Settled,
    /// Answered, but not durable on the other side: the prefix cannot pass it before a rewind.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry<P> {
    slot: Slot<P>,
    standing: Standing,
    /// Reports still to come while it is in flight.
    awaited: u32,
    /// True once a report said that the other side does not have it.
    has_failed: bool,
}

impl<P> Entry<P> {
    fn is(&self, standing: Standing) -> bool {
        self.standing == standing
    }
}

/// Slots open in order and settle in any order; the position advances over the settled prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watermark<P> {
    /// The slots after the settled prefix; the front one, if any, is unsettled.
    window: VecDeque<Entry<P>>,
    /// Number of the window's front slot.
    front: SeqNo,
    /// The position before the first slot, where there was one.
    begins_after: Option<P>,
    /// The newest position of the settled prefix, with the slot and the weight that it covers.
    prefix: Option<Settled<P>>,
    opened_weight: u64,
    settled_weight: u64,
    saved_weight: u64,
    saved_through: Option<SeqNo>,
    unsettled: u64,
    unsettled_bytes: u64,
}

impl<P: Clone> Watermark<P> {
    /// Nothing opened; the first slot will be `first`.
    #[must_use]
    pub fn starting_at(first: SeqNo) -> Self {
        Self {
            window: VecDeque::new(),
            front: first,
            begins_after: None,
            prefix: None,
            opened_weight: 0,
            settled_weight: 0,
            saved_weight: 0,
            saved_through: None,
            unsettled: 0,
            unsettled_bytes: 0,
        }
    }

    /// The first slot comes after this position.
    pub fn begin_after(&mut self, position: P) {
        self.begins_after = Some(position);
    }

    /// Opens the next slot, in flight.
    pub fn open(&mut self, slot: Slot<P>) -> SeqNo {
        let seq = self.next_seq();
        self.opened_weight += u64::from(slot.weight);
        self.unsettled += 1;
        self.unsettled_bytes += slot.bytes;
        let awaited = slot.reports.max(1);
        self.window.push_back(Entry { slot, standing: Standing::InFlight, awaited, has_failed: false });
        seq
    }

    /// Opens the next slot already settled: a position that nothing has to be delivered for. It takes no
    /// credit. It still waits for everything before it.
    pub fn open_settled(&mut self, position: P) -> SeqNo {
        let seq = self.next_seq();
        // Consecutive settled slots at the end say the same as the last of them.
        if let Some(last) = self.window.back_mut()
            && last.is(Standing::Settled)
            && last.slot.weight == 0
        {
            last.slot.position = position;
            return SeqNo(seq.0 - 1);
        }
        self.window.push_back(Entry {
            slot: Slot { position, weight: 0, bytes: 0, reports: 0 },
            standing: Standing::Settled,
            awaited: 0,
            has_failed: false,
        });
        self.advance();
        seq
    }

    /// Takes one good report, in any order. The slot settles with its last report, if all of them were good.
    pub fn settle(&mut self, seq: SeqNo) -> Settlement {
        let settlement = self.answer(seq, false);
        self.advance();
        settlement
    }

    /// Takes one good report on each of these, in any order, and tells what became of it. The prefix advances once.
    pub fn settle_all(&mut self, seqs: &[SeqNo], mut tell: impl FnMut(SeqNo, Settlement)) {
        for &seq in seqs {
            tell(seq, self.answer(seq, false));
        }
        self.advance();
    }

    /// Takes one bad report: the other side does not have the slot, or not everywhere. It leaves the flight
    /// with its last report, unsettled, and the prefix stays before it until a [`Self::rewind`].
    pub fn fail(&mut self, seq: SeqNo) -> Settlement {
        self.answer(seq, true)
    }

    fn answer(&mut self, seq: SeqNo, failed: bool) -> Settlement {
        let Some(entry) = seq
            .0
            .checked_sub(self.front.0)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.window.get_mut(index))
            .filter(|entry| entry.is(Standing::InFlight))
        else {
            return Settlement::Stale;
        };
        entry.has_failed |= failed;
        entry.awaited -= 1;
        if entry.awaited > 0 {
            return Settlement::Awaited;
        }
        entry.standing = if entry.has_failed { Standing::Failed } else { Standing::Settled };
        self.unsettled -= 1;
        self.unsettled_bytes -= entry.slot.bytes;
        Settlement::Settled
    }

    /// The position of a slot that is in the window.
    #[must_use]
    pub fn position(&self, seq: SeqNo) -> Option<&P> {
        let index = usize::try_from(seq.0.checked_sub(self.front.0)?).ok()?;
        self.window.get(index).map(|entry| &entry.slot.position)
    }

    /// True while the slot is in flight.
    #[must_use]
    pub fn is_in_flight(&self, seq: SeqNo) -> bool {
        seq.0
            .checked_sub(self.front.0)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.window.get(index))
            .is_some_and(|entry| entry.is(Standing::InFlight))
    }

    fn advance(&mut self) {
        let settled = self.window.iter().take_while(|entry| entry.is(Standing::Settled)).count();
        let Some(before_last) = settled.checked_sub(1) else { return };
        let weights = self.window.range(..settled).map(|entry| u64::from(entry.slot.weight));
        self.settled_weight += weights.sum::<u64>();
        // Only the last of them is moved: its position is the prefix's.
        self.window.drain(..before_last);
        let Some(Entry { slot: Slot { position, .. }, .. }) = self.window.pop_front() else { return };
        let through = SeqNo(self.front.0 + before_last as u64);
        self.prefix = Some(Settled { position, through, weight: self.settled_weight });
        self.front = through.next();
    }

    /// The settled prefix, if it reaches beyond what is recorded.
    #[must_use]
    pub fn unsaved_prefix(&self) -> Option<&Settled<P>> {
        self.prefix.as_ref().filter(|prefix| self.saved_through.is_none_or(|saved| prefix.through > saved))
    }

    /// The newest position whose whole prefix is settled, recorded or not.
    #[must_use]
    pub const fn prefix(&self) -> Option<&Settled<P>> {
        self.prefix.as_ref()
    }

    /// The position is recorded. An older record than the newest changes nothing.
    pub fn mark_saved(&mut self, saved: &Settled<P>) {
        if self.saved_through.is_none_or(|before| saved.through > before) {
            self.saved_through = Some(saved.through);
            self.saved_weight = saved.weight;
        }
    }

    /// Forgets everything after the settled prefix: it will be read again. Late completions of what is
    /// forgotten are stale, because numbers are never reused.
    pub fn rewind(&mut self) {
        self.front = self.next_seq();
        self.window.clear();
        self.opened_weight = self.settled_weight;
        self.unsettled = 0;
        self.unsettled_bytes = 0;
    }

    /// The number that the next slot will have.
    #[must_use]
    pub fn next_seq(&self) -> SeqNo {
        SeqNo(self.front.0 + self.window.len() as u64)
    }

    /// The newest position opened, settled or not; before the first slot, the one that it comes after.
    #[must_use]
    pub fn newest(&self) -> Option<&P> {
        let opened = self.window.back().map(|entry| &entry.slot.position);
        let settled = || self.prefix.as_ref().map(Settled::position);
        opened.or_else(settled).or(self.begins_after.as_ref())
    }

    /// Slots in flight.
    #[must_use]
    pub const fn unsettled(&self) -> u64 {
        self.unsettled
    }

    /// Bytes in flight.
    #[must_use]
    pub const fn unsettled_bytes(&self) -> u64 {
        self.unsettled_bytes
    }

    /// Weight opened and not yet recorded: what a crash now would replay.
    #[must_use]
    pub const fn unsaved_weight(&self) -> u64 {
        self.opened_weight - self.saved_weight
    }

    /// Weight settled in order and not yet recorded: what a save now would cover.
    #[must_use]
    pub const fn savable_weight(&self) -> u64 {
        self.settled_weight - self.saved_weight
    }

    /// What tells one situation from another: all but the numbers that only grow. Of the slots, which of the last ones
    /// are in flight: as many as a small machine may have, idle ones between them included.
    #[must_use]
    pub fn situation(&self) -> [u64; 4] {
        let next = self.next_seq().0;
        let in_flight = (next.saturating_sub(5)..next)
            .fold(0, |bits, seq| (bits << 1) | u64::from(self.is_in_flight(SeqNo(seq))));
        let is_savable = u64::from(self.unsaved_prefix().is_some());
        [self.unsaved_weight(), self.savable_weight(), in_flight, is_savable]
    }

    /// Checks the stated inequalities; used by tests, the simulator and debug monitors.
    ///
    /// # Errors
    /// The first inequality that does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        ensure(self.saved_weight <= self.settled_weight, "saved ≤ settled")?;
        ensure(self.settled_weight <= self.opened_weight, "settled ≤ opened")?;
        let is_front_settled = self.window.front().is_some_and(|entry| entry.is(Standing::Settled));
        ensure(!is_front_settled, "the window's front slot is unsettled")?;
        let in_flight = self.window.iter().filter(|entry| entry.is(Standing::InFlight));
        let count = in_flight.clone().count() as u64;
        ensure(count == self.unsettled, "unsettled counts the slots in flight")?;
        let bytes: u64 = in_flight.map(|entry| entry.slot.bytes).sum();
        ensure(bytes == self.unsettled_bytes, "unsettled_bytes sums the slots in flight")?;
        let owes = |entry: &Entry<P>| {
            let most = if entry.is(Standing::InFlight) { entry.slot.reports.max(1) } else { 0 };
            entry.awaited <= most && (entry.awaited > 0) == entry.is(Standing::InFlight)
        };
        ensure(
            self.window.iter().all(owes),
            "a slot in flight awaits between one and all of its reports, any other none",
        )
    }
}

#[cfg(test)]
mod tests;
