//! What goes into the token record beside the position: gaps, and what the position knows of collections and
//! topics. A note is recorded by the first save that covers it, and forgotten by a rewind behind it.

use alloc::vec::Vec;

use cdc_machine::{Cause, SeqNo, Slot};

use crate::config::OnHistoryLost;
use crate::gap::{Note, Noted, Unexplained, uncopied};
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
    pub(crate) fn look_at_collections(&mut self, contents: &[Contents], resumed: Option<&T>, looked_at: T) {
        self.facts.known.resize(contents.len(), None);
        let mut unexplained = Vec::new();
        if let Some(at) = resumed {
            let mut added = Vec::new();
            for (id, (known, now)) in (0..).map(CollectionId).zip(self.facts.known.iter().zip(contents)) {
                let known = known.map(|known| Known { contents: self.noted_contents(id, known), ..known });
                match uncopied(known, *now) {
                    Some(GapCause::CollectionAdded) => added.push(id),
                    Some(_) => unexplained.push((id, *now)),
                    None => {}
                }
            }
            if !added.is_empty() {
                self.note_gap(None, at.clone(), GapCause::CollectionAdded, added);
            }
        }
        let noted: Vec<CollectionId> = self
            .facts
            .notes
            .iter()
            .filter_map(|note| match note.what {
                Noted::Found(id, _) => Some(id),
                Noted::Gap(_) | Noted::Filled(_) => None,
            })
            .collect();
        for (id, (known, now)) in (0..).map(CollectionId).zip(self.facts.known.iter_mut().zip(contents)) {
            let topic = self.facts.topics.get(usize::from(id.0));
            let holds_messages = known.is_some_and(|known| known.holds_messages);
            let recorded = known.and_then(|known| known.partitions);
            // What is not explained, or only noted so far, stays what it was: a crash must not make it look explained.
            let stays = unexplained.iter().any(|(other, _)| *other == id) || noted.contains(&id);
            let contents = known.map(|known| known.contents).filter(|_| stays);
            *known = Some(Known {
                contents: contents.unwrap_or(*now),
                partitions: recorded.or(topic.map(|topic| topic.partitions)),
                holds_messages: holds_messages || topic.is_some_and(|topic| topic.holds_messages),
            });
        }
        self.facts.unexplained =
            (!unexplained.is_empty()).then_some(Unexplained { looked_at, collections: unexplained });
    }

    /// True where the stream has come to where the collections were looked at, and has not told of one of them by
    /// now: it never will. The gap is noted; it is recorded and told before anything more is read.
    pub(crate) fn gives_up_unexplained(&mut self) -> bool {
        let Some(at) = self.facts.newest().cloned() else { return false };
        let Some(Unexplained { collections, .. }) =
            self.facts.unexplained.take_if(|unexplained| at >= unexplained.looked_at)
        else {
            return false;
        };
        let replaced = collections.iter().map(|(id, _)| *id).collect();
        self.note_gap(None, at.clone(), GapCause::CollectionRecreated, replaced);
        for (id, contents) in collections {
            self.facts.notes.push(Note { at: at.clone(), what: Noted::Found(id, contents) });
        }
        true
    }

    /// Which documents stand behind a collection's name, as far as it is known or noted.
    fn noted_contents(&self, id: CollectionId, known: Known) -> Contents {
        let noted = self.facts.notes.iter().rev().find_map(|note| match note.what {
            Noted::Found(found, contents) if found == id => Some(contents),
            Noted::Found(..) | Noted::Gap(_) | Noted::Filled(_) => None,
        });
        noted.unwrap_or(known.contents)
    }

    /// The stream tells why other documents stand behind the name.
    fn explain(&mut self, told: CollectionId) {
        if let Some(unexplained) = &mut self.facts.unexplained {
            unexplained.collections.retain(|(id, _)| *id != told);
        }
        self.facts.unexplained.take_if(|unexplained| unexplained.collections.is_empty());
        // The notes stay as many as they are: a save under way counts them.
        for note in &mut self.facts.notes {
            if let Noted::Found(id, contents) = &mut note.what
                && *id == told
            {
                *contents = Contents::Absent;
            }
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
            self.explain(*id);
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
                Noted::Found(id, contents) => {
                    if let Some(known) = known.get_mut(usize::from(id.0)) {
                        known.contents = *contents;
                    }
                }
            }
        }
        (Amendment { known, gaps, announced: self.facts.unannounced.is_empty() }, notes)
    }

    /// The record holds the first `notes` notes.
    pub(crate) fn mark_noted(&mut self, notes: usize) {
        for note in self.facts.notes.drain(..notes.min(self.facts.notes.len())) {
            let (Noted::Filled(id) | Noted::Found(id, _)) = note.what else { continue };
            let Some(Some(known)) = self.facts.known.get_mut(usize::from(id.0)) else { continue };
            if let Noted::Found(_, contents) = note.what {
                known.contents = contents;
            } else {
                known.holds_messages = true;
            }
        }
    }
}

/// A collection before the stream is open for the first time.
const UNSEEN: Known = Known { contents: Contents::Unknown, partitions: None, holds_messages: false };
