//! Where the stream begins, and the lineage of the positions that are given out from there on.

use cdc_machine::Lineage;

use crate::{GapCause, StartAt};

/// What the positions of this machine's life begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    record: RecordState,
    lineage: Lineage,
    /// The lineage that a new record would have got when the lease was taken.
    fresh: Lineage,
    /// Set from the moment when the position is known to be of no use until a stream is open at the present.
    lost: Option<GapCause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RecordState {
    /// The store has not been read yet.
    Unread,
    /// The store held no position, and holds none of ours yet.
    Empty,
    /// The store held a position, or holds a first one of ours.
    Recorded,
}

impl Origin {
    pub(crate) fn new() -> Self {
        let lineage = Lineage::default();
        Self { record: RecordState::Unread, lineage, fresh: lineage, lost: None }
    }

    /// There is no position to come back to. The new one has a lineage above all that there were before.
    pub(crate) fn begin_anew(&mut self, fresh: Lineage, lost: Option<GapCause>) {
        *self = Self { record: RecordState::Empty, lineage: fresh, fresh, lost };
    }

    /// The store holds a position of this lineage.
    pub(crate) fn resume(&mut self, fresh: Lineage, lineage: Lineage) {
        *self = Self { record: RecordState::Recorded, lineage, fresh, lost: self.lost };
    }

    /// The store holds a position of ours.
    pub(crate) fn mark_recorded(&mut self) {
        self.record = RecordState::Recorded;
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.record == RecordState::Recorded
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.record == RecordState::Empty
    }

    pub(crate) const fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Rows carry the lineages that the topics' ends show, and keep off every event of a lower one. A record that
    /// is made anew goes above all of them, whatever the clock says. An older record that came back goes on in
    /// the newest of them: what it replays the rows have, and keep off one by one.
    pub(crate) fn outrank(&mut self, at_the_ends: Option<Lineage>, is_made_anew: bool) {
        let Some(Lineage(newest)) = at_the_ends else { return };
        let least = if is_made_anew { newest.saturating_add(1) } else { newest };
        self.lineage = self.lineage.max(Lineage(least));
    }

    /// The position was lost before it was read.
    pub(crate) fn miss_position(&mut self) {
        self.lost = Some(GapCause::TokenMissing);
    }

    /// The position is of no use any more: the next stream begins at the present. The source may have been
    /// restored, and its time gone back, so the lineage rises.
    pub(crate) fn lose_history(&mut self) {
        self.lost = Some(GapCause::HistoryLost);
        self.lineage = self.fresh.max(Lineage(self.lineage.0.saturating_add(1)));
    }

    pub(crate) const fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// A stream is open at the present: why, where a position was lost.
    pub(crate) const fn take_lost(&mut self) -> Option<GapCause> {
        self.lost.take()
    }

    /// Where to open a stream once nothing is in flight: after the last contiguous acked token, unless that is
    /// lost.
    pub(crate) fn resume_point<T: Clone>(&self, newest: Option<&T>) -> StartAt<T> {
        match newest {
            Some(token) if self.lost.is_none() => StartAt::After(token.clone()),
            _ => StartAt::Now,
        }
    }

    pub(crate) fn situation(&self) -> [u8; 2] {
        [self.record as u8, u8::from(self.lost.is_some())]
    }
}
