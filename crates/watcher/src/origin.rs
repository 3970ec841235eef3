//! Where the stream begins, and the lineage of the positions that are given out from there on.

use cdc_machine::Lineage;

use crate::{GapCause, StartAt};

/// What the positions of this machine's life begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// The lineage of the position that the store holds; `None` where it holds none.
    recorded: Option<Lineage>,
    lineage: Lineage,
    /// The lineage that a new record would have got when the lease was taken.
    fresh: Lineage,
    /// Set from the moment when the position is known to be of no use until a stream is open at the present.
    lost: Option<GapCause>,
}

impl Origin {
    /// There is no position to come back to. The new one has a lineage above all that there were before.
    pub(crate) const fn anew(fresh: Lineage, lost: Option<GapCause>) -> Self {
        Self { recorded: None, lineage: fresh, fresh, lost }
    }

    /// The store holds a position of this lineage.
    pub(crate) const fn resumed(fresh: Lineage, lineage: Lineage) -> Self {
        Self { recorded: Some(lineage), lineage, fresh, lost: None }
    }

    /// The store holds a position of ours, of this lineage.
    pub(crate) const fn mark_recorded(&mut self, lineage: Lineage) {
        self.recorded = Some(lineage);
    }

    /// True where the store holds a position of the lineage that is given out. One that has risen is on record before
    /// anything is published in it: the record's fence then tells a process whose record another one has taken over,
    /// and whose topics show that one's lineage, from the one that is to go on in it.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded == Some(self.lineage)
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

    pub(crate) fn situation(&self) -> [u64; 2] {
        [u64::from(self.is_recorded()), u64::from(self.lost.is_some())]
    }
}
