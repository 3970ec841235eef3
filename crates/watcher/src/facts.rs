use alloc::collections::BTreeSet;
use core::time::Duration;

use cdc_machine::{Backoff, EffectId, Epoch, Lineage, SeqNo, Watermark};

use crate::timers::Timers;
use crate::{AckedToken, Config, StartAt};

/// What the machine knows, whichever state it is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Facts<T> {
    pub(crate) lease: Lease,
    pub(crate) origin: Origin<T>,
    pub(crate) lineage: Lineage,
    /// What was read, what Kafka has of it, and what the store has of that.
    pub(crate) window: Watermark<T>,
    /// Slots whose message did not fit and whose marker is in flight instead; a part of the window.
    pub(crate) markers: BTreeSet<SeqNo>,
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
    /// The store was empty, and holds nothing of ours yet.
    Empty,
    /// The store held this, or holds a first record of ours.
    Recorded(T),
}

/// The one save that may be under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Saving<T> {
    No,
    InFlight { id: EffectId, token: AckedToken<T> },
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

impl<T: Clone> Facts<T> {
    pub(crate) fn new() -> Self {
        Self {
            lease: Lease::Free,
            origin: Origin::Unknown,
            lineage: Lineage::default(),
            window: Watermark::starting_at(SeqNo(0)),
            markers: BTreeSet::new(),
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

    /// Where to open a stream once nothing is in flight: after the last contiguous acked token.
    pub(crate) fn resume_point(&self) -> StartAt<T> {
        self.newest().map_or(StartAt::Now, |token| StartAt::After(token.clone()))
    }

    /// Forgets what is in flight; it is read again.
    pub(crate) fn rewind(&mut self) {
        self.window.rewind();
        self.markers.clear();
    }
}
