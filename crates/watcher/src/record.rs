//! What goes into the token record beside the position: gaps, and what the position knows of collections and
//! topics. What is pending is recorded by the first save that covers it, and forgotten by a rewind behind it.

use alloc::vec::Vec;

use cdc_machine::{Cause, ensure};

use crate::config::{Config, OnHistoryLost};
use crate::{CollectionId, Contents, Gap, GapCause, Known, RecordChange, TopicState};

/// The record beside the position, as it is and as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record<T> {
    /// The watched collections; `None` for one that the record does not name.
    known: Vec<Option<Known>>,
    /// Collections that are others than the position knows, as long as the stream may still tell why.
    unexplained: Option<Unexplained<T>>,
    /// Their topics, as the producer found them last.
    topics: Vec<TopicState>,
    /// What the record is still to hold, in the order of positions.
    pending: Vec<Pending<T>>,
}

/// Something that is to be in the record no later than a position.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending<T> {
    at: T,
    what: Learned<T>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Learned<T> {
    Gap(Gap<T>),
    /// The collection's topic holds messages.
    Filled(CollectionId),
    /// These documents stand behind the collection's name.
    Found(CollectionId, Contents),
}

/// Collections behind whose names others stand than the position knows. Whatever the stream tells of one of them
/// before it has come to where they were looked at explains that; what is left then was replaced behind the
/// stream's back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Unexplained<T> {
    looked_at: T,
    collections: Vec<(CollectionId, Contents)>,
}

/// A collection before the stream is open for the first time.
const UNSEEN: Known = Known { contents: Contents::Unknown, partitions: None, holds_messages: false };

impl<T: Clone + Ord> Record<T> {
    pub(crate) const fn new() -> Self {
        Self { known: Vec::new(), unexplained: None, topics: Vec::new(), pending: Vec::new() }
    }

    /// The store's record says this.
    pub(crate) fn resume(&mut self, known: Vec<Option<Known>>) {
        self.known = known;
    }

    /// The watched collections, as far as the position knows them.
    pub(crate) fn known(&self) -> &[Option<Known>] {
        &self.known
    }

    /// Compares the topics with what the position knows of them.
    ///
    /// # Errors
    /// The cause of an end, where a person has to decide.
    pub(crate) fn look_at_topics(
        &mut self,
        topics: Vec<TopicState>,
        newest: Option<&T>,
        config: &Config,
    ) -> Result<(), Cause> {
        self.known.resize(topics.len(), None);
        let mut lost = Vec::new();
        for ((id, known), topic) in (0..).map(CollectionId).zip(&mut self.known).zip(&topics) {
            let Some(known) = known else { continue };
            // One that has grown is used as far as the record says, so that no key moves.
            let before = known.partitions.filter(|_| !topic.was_made);
            if before.is_some_and(|before| topic.partitions < before) {
                return Err(Cause::PartitionsChanged);
            }
            let is_gone = topic.was_made && known.partitions.is_some();
            if is_gone || (known.holds_messages && !topic.holds_messages) {
                lost.push(id);
            }
            known.partitions = Some(before.unwrap_or(topic.partitions));
            known.holds_messages = topic.holds_messages;
        }
        self.topics = topics;
        let Some(at) = newest.filter(|_| !lost.is_empty()) else { return Ok(()) };
        match config.on_history_lost {
            OnHistoryLost::Stop => Err(Cause::TopicLost),
            OnHistoryLost::FromNow => {
                self.open_gap(None, at.clone(), GapCause::TopicLost, lost);
                Ok(())
            }
        }
    }

    /// The topics, as they were looked at last.
    pub(crate) fn topics(&self) -> &[TopicState] {
        &self.topics
    }

    /// Compares the collections with what the position knows of them. Without a position to come from (`resumed`), there
    /// is nothing to compare.
    pub(crate) fn look_at_collections(&mut self, contents: &[Contents], resumed: Option<&T>, looked_at: T) {
        self.known.resize(contents.len(), None);
        let (mut added, mut collections) = (Vec::new(), Vec::new());
        for ((id, known), now) in (0..).map(CollectionId).zip(&mut self.known).zip(contents) {
            let topic = self.topics.get(usize::from(id.0));
            let found = found(&self.pending, id);
            let before = known.map(|known| found.unwrap_or(known.contents));
            let change = resumed.and_then(|_| uncopied(before, *now));
            let is_unexplained = change.is_some_and(|cause| cause != GapCause::CollectionAdded);
            if is_unexplained {
                collections.push((id, *now));
            } else if change.is_some() {
                added.push(id);
            }
            // What is not explained, or only pending so far, stays what it was: a crash must not make it look explained.
            let stays = known.filter(|_| is_unexplained || found.is_some());
            *known = Some(Known {
                contents: stays.map_or(*now, |known| known.contents),
                partitions: known.and_then(|known| known.partitions).or(topic.map(|topic| topic.partitions)),
                holds_messages: known.is_some_and(|known| known.holds_messages)
                    || topic.is_some_and(|topic| topic.holds_messages),
            });
        }
        if let Some(at) = resumed.filter(|_| !added.is_empty()) {
            self.open_gap(None, at.clone(), GapCause::CollectionAdded, added);
        }
        self.unexplained = (!collections.is_empty()).then_some(Unexplained { looked_at, collections });
    }

    /// True where the stream has come to where the collections were looked at, and has not told of one of them by
    /// now: it never will. The gap is pending; it is recorded and told before anything more is read.
    pub(crate) fn gives_up_unexplained(&mut self, newest: Option<&T>) -> bool {
        let Some(at) = newest else { return false };
        let Some(Unexplained { collections, .. }) =
            self.unexplained.take_if(|unexplained| *at >= unexplained.looked_at)
        else {
            return false;
        };
        let replaced = collections.iter().map(|(id, _)| *id).collect();
        self.open_gap(None, at.clone(), GapCause::CollectionRecreated, replaced);
        for (id, contents) in collections {
            self.pending.push(Pending { at: at.clone(), what: Learned::Found(id, contents) });
        }
        true
    }

    /// The stream tells why other documents stand behind the name.
    fn explain(&mut self, told: CollectionId) {
        if let Some(unexplained) = &mut self.unexplained {
            unexplained.collections.retain(|(id, _)| *id != told);
        }
        self.unexplained.take_if(|unexplained| unexplained.collections.is_empty());
        // What is pending stays as much as it is: a save under way counts it.
        for pending in &mut self.pending {
            if let Learned::Found(id, contents) = &mut pending.what
                && *id == told
            {
                *contents = Contents::Absent;
            }
        }
    }

    /// A gap that ends at the point from which the stream goes on.
    fn open_gap(&mut self, from: Option<T>, at: T, cause: GapCause, collections: Vec<CollectionId>) {
        let gap = Gap { from, to: at.clone(), cause, collections, announced: false };
        self.pending.push(Pending { at, what: Learned::Gap(gap) });
    }

    /// Everything from `from` on was lost, up to where the stream begins anew.
    pub(crate) fn lose_all(&mut self, from: Option<T>, at: T, cause: GapCause) {
        let all = (0..).map(CollectionId).zip(&self.known).map(|(id, _)| id).collect();
        self.open_gap(from, at, cause, all);
    }

    /// The topic of a collection gets a message.
    pub(crate) fn fill(&mut self, collection: CollectionId, at: &T) {
        let filled = Learned::Filled(collection);
        if at_mut(&mut self.known, collection).is_some_and(|known| !known.holds_messages)
            && !self.pending.iter().any(|pending| pending.what == filled)
        {
            self.pending.push(Pending { at: at.clone(), what: filled });
        }
    }

    /// The message at this position did not fit its topic, which may be as empty as before. A later message of the
    /// collection says so in its turn.
    pub(crate) fn leave_empty(&mut self, at: &T) {
        self.pending.retain(|pending| !matches!(pending.what, Learned::Filled(_)) || pending.at != *at);
    }

    /// The stream tells at `token` that collections are gone, or that others stand behind their names.
    pub(crate) fn lose_collections(
        &mut self,
        token: &T,
        gone: &[CollectionId],
        replaced: Vec<CollectionId>,
        newest: Option<&T>,
    ) {
        for id in gone.iter().chain(&replaced) {
            self.explain(*id);
            Learned::<T>::Found(*id, Contents::Absent).enter(&mut self.known);
        }
        if !replaced.is_empty() {
            let gap = Gap {
                from: newest.cloned(),
                to: token.clone(),
                cause: GapCause::CollectionReplaced,
                collections: replaced,
                announced: true,
            };
            self.pending.push(Pending { at: token.clone(), what: Learned::Gap(gap) });
        }
    }

    /// True where a gap is to be recorded before anything is read behind it.
    pub(crate) fn has_gap_to_record(&self) -> bool {
        self.pending.iter().any(|pending| matches!(&pending.what, Learned::Gap(gap) if !gap.announced))
    }

    /// The partitions among which a collection's keys are spread: those of the record, however many its topic has
    /// got since.
    pub(crate) fn partitions_of(&self, collection: CollectionId) -> u32 {
        let index = usize::from(collection.0);
        let recorded = self.known.get(index).copied().flatten().and_then(|known| known.partitions);
        let found = || self.topics.get(index).map(|topic| topic.partitions);
        recorded.or_else(found).unwrap_or(1).max(1)
    }

    /// What a save of `token` changes beside the position, and how much of what is pending that takes. `announced`: Kafka
    /// has a control message of every recorded gap.
    pub(crate) fn change(&self, token: &T, announced: bool) -> (RecordChange<T>, usize) {
        let mut known = self.known.clone();
        let mut gaps = Vec::new();
        let count = self.pending.partition_point(|pending| pending.at <= *token);
        for pending in self.pending.iter().take(count) {
            pending.what.enter(&mut known);
            if let Learned::Gap(gap) = &pending.what {
                gaps.push(gap.clone());
            }
        }
        let known = known.into_iter().map(|known| known.unwrap_or(UNSEEN)).collect();
        (RecordChange { known, gaps, announced }, count)
    }

    /// The record holds the first `count` of what is pending.
    pub(crate) fn mark_recorded(&mut self, count: usize) {
        for pending in self.pending.drain(..count.min(self.pending.len())) {
            pending.what.enter(&mut self.known);
        }
    }

    /// What the stream has told beyond the newest position, it tells again.
    pub(crate) fn rewind(&mut self, newest: Option<&T>) {
        self.unexplained = None;
        self.pending.retain(|pending| newest.is_some_and(|newest| pending.at <= *newest));
    }

    /// A save of `token` carries the first `count` of what is pending.
    pub(crate) fn check_save(&self, token: &T, count: usize) -> Result<(), &'static str> {
        let covered = self.pending.iter().take(count).all(|pending| pending.at <= *token);
        ensure(count <= self.pending.len() && covered, "a save carries what it covers")
    }

    pub(crate) fn check(&self, newest: Option<&T>) -> Result<(), &'static str> {
        let is_sorted = self.pending.is_sorted_by(|one, next| one.at <= next.at);
        ensure(is_sorted, "what is pending is in the order of positions")?;
        let is_read = |at: &T| newest.is_some_and(|newest| at <= newest);
        let is_all_read = self.pending.iter().all(|pending| is_read(&pending.at));
        ensure(is_all_read, "what is pending is of something that was read")
    }

    /// What is pending; and of the one collection that a small machine watches, what is known.
    pub(crate) fn situation(&self) -> [u64; 3] {
        let pending = u64::from(self.has_gap_to_record()) << 1 | u64::from(!self.pending.is_empty());
        let Some(Some(known)) = self.known.first() else { return [pending, 0, 0] };
        let contents = match known.contents {
            Contents::Unknown => 0,
            Contents::Absent => 1,
            Contents::Uuid([first, ..]) => 2 + u64::from(first),
        };
        let flags = u64::from(self.unexplained.is_some()) << 2 | 2 | u64::from(known.holds_messages);
        [pending, contents, flags]
    }
}

impl<T> Learned<T> {
    /// Enters it into what is known of its collection.
    fn enter(&self, known: &mut [Option<Known>]) {
        match self {
            Self::Gap(_) => {}
            Self::Filled(id) => at_mut(known, *id).into_iter().for_each(|known| known.holds_messages = true),
            Self::Found(id, contents) => {
                at_mut(known, *id).into_iter().for_each(|known| known.contents = *contents);
            }
        }
    }
}

fn at_mut(known: &mut [Option<Known>], id: CollectionId) -> Option<&mut Known> {
    known.get_mut(usize::from(id.0))?.as_mut()
}

/// Which documents stand behind a collection's name, where that is pending.
fn found<T>(pending: &[Pending<T>], id: CollectionId) -> Option<Contents> {
    pending.iter().rev().find_map(|pending| match pending.what {
        Learned::Found(found, contents) if found == id => Some(contents),
        Learned::Found(..) | Learned::Gap(_) | Learned::Filled(_) => None,
    })
}

/// Compares a collection with what the position knows of it. `None` in `recorded`: the position knows of no
/// such collection. A collection that the stream tells of from its first document is no gap.
fn uncopied(recorded: Option<Contents>, now: Contents) -> Option<GapCause> {
    match (recorded, now) {
        (None, Contents::Uuid(_)) => Some(GapCause::CollectionAdded),
        (Some(Contents::Uuid(before)), Contents::Uuid(now)) if before != now => {
            Some(GapCause::CollectionRecreated)
        }
        _ => None,
    }
}
