//! What goes into the token record beside the position: gaps, and what the position knows of collections and
//! topics. A note is recorded by the first save that covers it, and forgotten by a rewind behind it.

use alloc::vec::Vec;

use cdc_machine::{Cause, SeqNo, Slot};

use crate::config::OnHistoryLost;
use crate::gap::{Note, Noted, uncopied};
use crate::turn::Turn;
use crate::{Amendment, CollectionId, Contents, Effect, Gap, GapCause, Known, Notice, TopicState};

impl<R: Clone, T: Clone + Ord> Turn<'_, R, T> {
    /// Compares the topics with what the position knows of them.
    ///
    /// # Errors
    /// The cause of an end, where a person has to decide.
    pub(crate) fn look_at_topics(&mut self, topics: &[TopicState]) -> Result<(), Cause> {
        self.facts.known.resize(topics.len(), None);
        self.facts.copies = topics.iter().map(|topic| topic.partitions.max(1)).sum();
        let mut lost = Vec::new();
        for ((id, known), topic) in (0..).map(CollectionId).zip(&mut self.facts.known).zip(topics) {
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
        self.facts.topics = topics.to_vec();
        match self.facts.newest().cloned() {
            Some(at) if !lost.is_empty() => match self.config.on_history_lost {
                OnHistoryLost::Stop => Err(Cause::TopicLost),
                OnHistoryLost::FromNow => {
                    self.note_gap(None, at, GapCause::TopicLost, lost);
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    /// Compares the collections with what the position knows of them. Without a position to come from, there
    /// is nothing to compare.
    pub(crate) fn look_at_collections(&mut self, contents: &[Contents], resumed: Option<&T>) {
        self.facts.known.resize(contents.len(), None);
        if let Some(at) = resumed {
            for cause in [GapCause::CollectionAdded, GapCause::CollectionRecreated] {
                let found: Vec<CollectionId> = (0..)
                    .map(CollectionId)
                    .zip(self.facts.known.iter().zip(contents))
                    .filter(|(_, (known, now))| uncopied(**known, **now) == Some(cause))
                    .map(|(id, _)| id)
                    .collect();
                if !found.is_empty() {
                    self.note_gap(None, at.clone(), cause, found);
                }
            }
        }
        for (index, (known, now)) in self.facts.known.iter_mut().zip(contents).enumerate() {
            let topic = self.facts.topics.get(index);
            let holds_messages = known.is_some_and(|known| known.holds_messages);
            let recorded = known.and_then(|known| known.partitions);
            *known = Some(Known {
                contents: *now,
                partitions: recorded.or(topic.map(|topic| topic.partitions)),
                holds_messages: holds_messages || topic.is_some_and(|topic| topic.holds_messages),
            });
        }
    }

    /// Every watched collection.
    pub(crate) fn all_collections(&self) -> Vec<CollectionId> {
        (0..).map(CollectionId).zip(&self.facts.known).map(|(id, _)| id).collect()
    }

    /// A gap that ends at the point from which the stream goes on.
    pub(crate) fn note_gap(
        &mut self,
        from: Option<T>,
        at: T,
        cause: GapCause,
        collections: Vec<CollectionId>,
    ) {
        let gap = Gap { from, to: at.clone(), cause, collections, announced: false };
        self.facts.notes.push(Note { at, what: Noted::Gap(gap) });
    }

    /// The topic of a collection gets a message.
    pub(crate) fn note_filled(&mut self, collection: CollectionId, at: &T) {
        let Some(Some(known)) = self.facts.known.get(usize::from(collection.0)) else { return };
        let filled = Noted::Filled(collection);
        if !known.holds_messages && !self.facts.notes.iter().any(|note| note.what == filled) {
            self.facts.notes.push(Note { at: at.clone(), what: filled });
        }
    }

    /// Reads control messages into one slot, and notes what they tell.
    pub(crate) fn read_control(
        &mut self,
        token: T,
        notices: Vec<Notice<R>>,
        gone: &[CollectionId],
        replaced: Vec<CollectionId>,
    ) {
        for id in gone.iter().chain(&replaced) {
            if let Some(Some(known)) = self.facts.known.get_mut(usize::from(id.0)) {
                known.contents = Contents::Absent;
            }
        }
        if !replaced.is_empty() {
            let gap = Gap {
                from: self.facts.newest().cloned(),
                to: token.clone(),
                cause: GapCause::CollectionReplaced,
                collections: replaced,
                announced: true,
            };
            self.facts.notes.push(Note { at: token.clone(), what: Noted::Gap(gap) });
        }
        self.publish_control(token, notices);
    }

    fn publish_control(&mut self, position: T, notices: Vec<Notice<R>>) -> SeqNo {
        let copies = self.facts.copies;
        let bytes: u64 = notices.iter().map(|notice| u64::from(notice.bytes)).sum();
        let messages = u32::try_from(notices.len()).unwrap_or(u32::MAX);
        let slot = Slot {
            position,
            weight: 1,
            bytes: bytes.saturating_mul(u64::from(copies)),
            reports: copies.saturating_mul(messages),
        };
        let seq = self.facts.window.open(slot);
        let records = notices.into_iter().map(|notice| notice.record).collect();
        self.out.push(Effect::PublishControl { seq, records, copies });
        seq
    }

    /// Sends the control messages of recorded gaps, before anything is read.
    pub(crate) fn announce(&mut self) {
        let Some(position) = self.facts.newest().cloned() else { return };
        let notices = self.facts.unannounced.clone();
        let count = notices.len();
        let seq = self.publish_control(position, notices);
        self.facts.announcing = Some((seq, count));
    }

    /// Kafka has every copy of a slot's messages.
    pub(crate) fn mark_announced(&mut self, seq: SeqNo) {
        if let Some((announcing, count)) = self.facts.announcing
            && announcing == seq
        {
            self.facts.announcing = None;
            self.facts.unannounced.drain(..count.min(self.facts.unannounced.len()));
        }
    }

    /// What a save of `token` changes beside the position, and how many notes that takes.
    pub(crate) fn amendment(&self, token: &T) -> (Amendment<T>, usize) {
        let covered = self.facts.notes.iter().take_while(|note| note.at <= *token);
        let mut known: Vec<Known> = self.facts.known.iter().map(|known| known.unwrap_or(UNSEEN)).collect();
        let mut gaps = Vec::new();
        let mut notes = 0;
        for note in covered {
            notes += 1;
            match &note.what {
                Noted::Gap(gap) => gaps.push(gap.clone()),
                Noted::Filled(id) => {
                    if let Some(known) = known.get_mut(usize::from(id.0)) {
                        known.holds_messages = true;
                    }
                }
            }
        }
        (Amendment { known, gaps, announced: self.facts.unannounced.is_empty() }, notes)
    }

    /// The record holds the first `notes` notes.
    pub(crate) fn mark_noted(&mut self, notes: usize) {
        for note in self.facts.notes.drain(..notes.min(self.facts.notes.len())) {
            if let Noted::Filled(id) = note.what
                && let Some(Some(known)) = self.facts.known.get_mut(usize::from(id.0))
            {
                known.holds_messages = true;
            }
        }
    }
}

/// A collection before the stream is open for the first time.
const UNSEEN: Known = Known { contents: Contents::Unknown, partitions: None, holds_messages: false };
