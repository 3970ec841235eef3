use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{Backoff, EffectId, Epoch, Lineage, SeqNo, Watermark};

use crate::batches::Batches;
use crate::gap::{Note, Noted, Unexplained};
use crate::timers::Timers;
use crate::{AckedToken, CollectionId, Config, GapCause, Known, Notice, Reading, StartAt, TopicState};

/// What the machine knows, whichever state it is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Facts<R, T> {
    pub(crate) lease: Lease,
    pub(crate) origin: Origin<T>,
    pub(crate) lineage: Lineage,
    /// The lineage that a new record would have got when the lease was taken.
    pub(crate) fresh: Lineage,
    /// Set from the moment when the position is known to be of no use until a stream is open at the present.
    pub(crate) lost: Option<GapCause>,
    /// How the next stream is read.
    pub(crate) reading: Reading,
    /// The watched collections; `None` for one that the record does not name.
    pub(crate) known: Vec<Option<Known>>,
    /// Collections that are others than the position knows, as long as the stream may still tell why.
    pub(crate) unexplained: Option<Unexplained<T>>,
    /// Their topics, as the producer found them last.
    pub(crate) topics: Vec<TopicState>,
    /// Copies of one control message: the partitions of all topics.
    pub(crate) copies: u32,
    /// What the record is still to hold, in the order of positions.
    pub(crate) notes: Vec<Note<T>>,
    /// Control messages of recorded gaps that Kafka may not have. They go before the next event.
    pub(crate) unannounced: Vec<Notice<R>>,
    /// The slot in which the first so many of them are on their way.
    pub(crate) announcing: Option<(SeqNo, usize)>,
    /// What was read, what Kafka has of it, and what the store has of that.
    pub(crate) window: Watermark<T>,
    /// Slots whose message did not fit and whose marker is in flight instead; a part of the window.
    pub(crate) markers: BTreeSet<SeqNo>,
    /// Which messages may share a batch.
    pub(crate) batches: Batches<T>,
    pub(crate) saving: Saving<T>,
    pub(crate) timers: Timers,
    pub(crate) retries: Used,
    pub(crate) ignored: Ignored,
    next_effect: EffectId,
    next_epoch: Epoch,
}

/// The lease on the token record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lease {
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

/// Where the very first stream of this machine's life begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin<T> {
    /// The store has not been read yet.
    Unknown,
    /// The store held no position, and holds none of ours yet.
    Empty,
    /// The store held this, or holds a first record of ours.
    Recorded(T),
}

/// The one save that may be under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Saving<T> {
    No,
    InFlight {
        id: EffectId,
        token: AckedToken<T>,
        /// How many of the notes, from the first on, it carries.
        notes: usize,
    },
    BackingOff,
}

/// Retries used since the last progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Used {
    pub(crate) mongodb: Backoff,
    pub(crate) kafka: Backoff,
    pub(crate) lease: Backoff,
    pub(crate) save: Backoff,
}

/// Inputs that changed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ignored {
    /// Answers to what is gone: late, or doubled.
    pub(crate) stale: u64,
    /// Answers to what was never asked: a bug in whoever drives the machine.
    pub(crate) unexpected: u64,
}

impl<R, T: Clone + Ord> Facts<R, T> {
    pub(crate) fn new() -> Self {
        Self {
            lease: Lease::Free,
            origin: Origin::Unknown,
            lineage: Lineage::default(),
            fresh: Lineage::default(),
            lost: None,
            reading: Reading::Whole,
            known: Vec::new(),
            unexplained: None,
            topics: Vec::new(),
            copies: 1,
            notes: Vec::new(),
            unannounced: Vec::new(),
            announcing: None,
            window: Watermark::starting_at(SeqNo(0)),
            markers: BTreeSet::new(),
            batches: Batches::new(),
            saving: Saving::No,
            timers: Timers::default(),
            retries: Used::default(),
            ignored: Ignored::default(),
            next_effect: EffectId(0),
            next_epoch: Epoch(0),
        }
    }

    pub(crate) fn new_effect(&mut self) -> EffectId {
        let id = self.next_effect;
        self.next_effect = EffectId(id.0 + 1);
        id
    }

    pub(crate) fn new_epoch(&mut self) -> Epoch {
        let epoch = self.next_epoch;
        self.next_epoch = Epoch(epoch.0 + 1);
        epoch
    }

    /// Counts an answer that nobody waits for.
    pub(crate) fn ignore_reply(&mut self, id: EffectId) {
        self.ignore(id < self.next_effect);
    }

    /// Counts what comes from a stream that is not open.
    pub(crate) fn ignore_epoch(&mut self, epoch: Epoch) {
        self.ignore(epoch < self.next_epoch);
    }

    /// Counts a report on a slot that is not in flight.
    pub(crate) fn ignore_seq(&mut self, seq: SeqNo) {
        self.ignore(seq < self.window.next_seq());
    }

    pub(crate) fn ignore(&mut self, was_once_due: bool) {
        if was_once_due {
            self.ignored.stale += 1;
        } else {
            self.ignored.unexpected += 1;
        }
    }

    /// Events that may still be read before a crash could replay more than allowed.
    pub(crate) fn room(&self, config: &Config) -> u64 {
        config.max_replay_events.max(1).saturating_sub(self.window.unsaved_weight())
    }

    /// The partitions among which a collection's keys are spread: those of the record, however many its topic has
    /// got since.
    pub(crate) fn partitions_of(&self, collection: CollectionId) -> u32 {
        let index = usize::from(collection.0);
        let recorded = self.known.get(index).copied().flatten().and_then(|known| known.partitions);
        let found = || self.topics.get(index).map(|topic| topic.partitions);
        recorded.or_else(found).unwrap_or(1).max(1)
    }

    /// Bytes that may still be handed to Kafka.
    pub(crate) fn room_bytes(&self, config: &Config) -> u64 {
        config.max_in_flight_bytes.max(1).saturating_sub(self.window.unsettled_bytes())
    }

    /// The position that the next stream's events come after, where it is known.
    pub(crate) fn newest(&self) -> Option<&T> {
        self.window.newest().or(match &self.origin {
            Origin::Recorded(token) => Some(token),
            Origin::Unknown | Origin::Empty => None,
        })
    }

    /// True where something is still to be recorded before anything is read: a start, or a gap before it.
    pub(crate) fn has_start_to_record(&self) -> bool {
        let is_start_gap = |note: &Note<T>| matches!(&note.what, Noted::Gap(gap) if !gap.announced);
        !matches!(self.origin, Origin::Recorded(_)) || self.notes.iter().any(is_start_gap)
    }

    /// True where gaps are to be told to Kafka before the next event.
    pub(crate) fn has_gaps_to_announce(&self) -> bool {
        self.announcing.is_none() && !self.unannounced.is_empty()
    }

    /// Where to open a stream once nothing is in flight: after the last contiguous acked token, unless that is
    /// lost.
    pub(crate) fn resume_point(&self) -> StartAt<T> {
        match self.newest() {
            Some(token) if self.lost.is_none() => StartAt::After(token.clone()),
            _ => StartAt::Now,
        }
    }

    /// There is no position to come back to. The new one has a lineage above all that there were before.
    pub(crate) fn begin_anew(&mut self, lost: Option<GapCause>) {
        self.origin = Origin::Empty;
        self.lost = lost;
        self.lineage = self.fresh;
    }

    /// Rows carry the lineages that the topics' ends show, and keep off every event of a lower one. A record that
    /// is made anew goes above all of them, whatever the clock says. An older record that came back goes on in
    /// the newest of them: what it replays the rows have, and keep off one by one.
    pub(crate) fn outrank(&mut self, at_the_ends: Option<Lineage>, is_made_anew: bool) {
        let Some(Lineage(newest)) = at_the_ends else { return };
        let least = if is_made_anew { newest.saturating_add(1) } else { newest };
        self.lineage = self.lineage.max(Lineage(least));
    }

    /// The position is of no use any more: the next stream begins at the present. The source may have been
    /// restored, and its time gone back, so the lineage rises.
    pub(crate) fn lose_position(&mut self, cause: GapCause) {
        self.lost = Some(cause);
        self.lineage = self.fresh.max(Lineage(self.lineage.0.saturating_add(1)));
    }

    /// Forgets what is in flight; it is read again.
    pub(crate) fn rewind(&mut self) {
        self.window.rewind();
        self.markers.clear();
        self.announcing = None;
        self.unexplained = None;
        // What the stream has told beyond that point, it tells again.
        let newest = self.newest().cloned();
        self.notes.retain(|note| newest.as_ref().is_some_and(|newest| note.at <= *newest));
    }
}
