//! From the source to Kafka: what a token may cover, who may save it, and how much a crash replays.

use super::{Invariant, Violation, demand};

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    /// Kafka has to get it.
    Owed,
    /// Kafka has it.
    Arrived,
    /// It was before the very first start, or is named by a gap.
    Excused,
}

/// The changes that a majority of the source has, each with what became of it.
#[derive(Clone, Debug, Default, Hash)]
pub struct Delivery {
    changes: Vec<(u64, Fate)>,
    /// All before this one are arrived or excused.
    settled: usize,
    /// A process knows that a position is on record.
    is_born: bool,
    incarnation: u64,
}

impl Delivery {
    /// A majority has this change.
    pub fn happened(&mut self, token: u64) {
        self.changes.push((token, Fate::Owed));
    }

    /// The very first stream begins after this; only the last of such begins counts, as long as no position is saved.
    pub fn born(&mut self, token: u64) {
        if !self.is_born {
            self.excuse(0, token);
        }
    }

    /// Kafka has the change.
    pub fn arrived(&mut self, token: u64) {
        if let Ok(at) = self.changes.binary_search_by_key(&token, |(token, _)| *token)
            && let Some((_, fate)) = self.changes.get_mut(at)
        {
            *fate = Fate::Arrived;
        }
    }

    /// Changes after `from`, up to and including `to`, are given up, on record.
    pub fn excuse(&mut self, from: u64, to: u64) {
        let begin = self.changes.partition_point(|(token, _)| *token <= from);
        let end = self.changes.partition_point(|(token, _)| *token <= to);
        for (_, fate) in self.changes.get_mut(begin..end).into_iter().flatten() {
            if *fate == Fate::Owed {
                *fate = Fate::Excused;
            }
        }
    }

    /// A position is saved, by this incarnation.
    ///
    /// # Errors
    /// Where it covers a change that nobody has, or an earlier incarnation saved it.
    pub fn saved(&mut self, token: u64, incarnation: u64) -> Result<(), Violation> {
        self.wrote(incarnation)?;
        while let Some((_, fate)) = self.changes.get(self.settled)
            && *fate != Fate::Owed
        {
            self.settled += 1;
        }
        let first = self.changes.get(self.settled).map(|(token, _)| *token);
        demand(first.is_none_or(|first| first > token), Invariant::TokenCoversAcked, || {
            format!("token {token} is saved, and Kafka does not have {first:?}")
        })
    }

    /// A process of this incarnation changed the record.
    ///
    /// # Errors
    /// Where a later one has before.
    pub fn wrote(&mut self, incarnation: u64) -> Result<(), Violation> {
        let before = self.incarnation;
        self.incarnation = before.max(incarnation);
        demand(incarnation >= before, Invariant::SavesFenced, || {
            format!("incarnation {incarnation} writes after {before}")
        })
    }

    /// A process knows that a position is on record: nothing after it may be skipped from now on.
    pub const fn known(&mut self) {
        self.is_born = true;
    }

    /// The store lost or rolled back its record: whatever it holds now is the newest. Without a position, and without a
    /// message in any topic, nobody can tell it from one that is new.
    pub const fn store_lost(&mut self, incarnation: u64, has_position: bool) {
        self.incarnation = incarnation;
        self.is_born &= has_position;
    }

    /// The first change that Kafka still has to get.
    #[must_use]
    pub fn first_owed(&self) -> Option<u64> {
        let owed = self.changes.get(self.settled..).unwrap_or_default();
        owed.iter().find(|(_, fate)| *fate == Fate::Owed).map(|(token, _)| *token)
    }

    /// True where the change is given up.
    #[must_use]
    pub fn is_excused(&self, token: u64) -> bool {
        let at = self.changes.binary_search_by_key(&token, |(token, _)| *token);
        at.is_ok_and(|at| self.changes.get(at).is_some_and(|(_, fate)| *fate == Fate::Excused))
    }

    /// A process ended, and the next one goes on from `saved`.
    ///
    /// # Errors
    /// Where it has published more than `bound` changes beyond that.
    pub fn replayed(published: &mut Vec<u64>, saved: Option<u64>, bound: u64) -> Result<(), Violation> {
        published.sort_unstable();
        published.dedup();
        let beyond = published.partition_point(|token| saved.is_some_and(|saved| *token <= saved));
        let count = (published.len() - beyond) as u64;
        demand(count <= bound, Invariant::ReplayBound, || {
            format!("{count} changes are replayed after {saved:?}, and {bound} may be")
        })
    }
}
