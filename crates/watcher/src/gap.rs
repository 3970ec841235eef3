//! What is given up, and what a position is good for: the parts of the token record beside the position.

use alloc::vec::Vec;
use core::fmt;

use cdc_machine::{Lineage, labels};

/// A watched collection, by its place in the sorted list of the configuration. Its topic has the same place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionId(pub u16);

impl fmt::Debug for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which documents stand behind a collection's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contents {
    /// Nobody looked: a record of an earlier version does not say.
    Unknown,
    /// None, or only such as the stream tells of: it saw the collection go.
    Absent,
    /// Those of the collection with this UUID.
    Uuid([u8; 16]),
}

/// A collection as a position knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its documents.
    pub contents: Contents,
    /// The partitions among which its topic's keys are spread, where anybody looked: the topic's own, when the
    /// position was first recorded with it. It may have got more since.
    pub partitions: Option<u32>,
    /// True once its topic has held a message.
    pub holds_messages: bool,
}

/// A topic as the producer found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicState {
    /// Its partitions, at least 1.
    pub partitions: u32,
    /// True where it was not there and has just been made.
    pub was_made: bool,
    /// True where any end offset is above 0.
    pub holds_messages: bool,
    /// The greatest lineage among the positions at its end; `None` where nothing there has one.
    pub lineage: Option<Lineage>,
}

labels! {
    /// Why a part of the history was not delivered.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum GapCause {
        /// The position had left the source's history.
        HistoryLost: "history_lost",
        /// The store held no position beside a topic with messages.
        TokenMissing: "token_missing",
        /// The token record could not be read.
        TokenDamaged: "token_damaged",
        /// A topic was gone, or emptied, with what had not been consumed.
        TopicLost: "topic_lost",
        /// The collection was not watched before: what it holds was never copied.
        CollectionAdded: "collection_added",
        /// Another collection stands behind the name.
        CollectionRecreated: "collection_recreated",
        /// A rename or `$out` onto the name replaced its documents without change events.
        CollectionReplaced: "collection_replaced",
    }
}

/// A part of the history that was not delivered, on its way into the record.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Gap<T> {
    /// Where it begins; `None` where nobody knows, or at the very beginning.
    pub from: Option<T>,
    /// Where it ends: everything after this is delivered.
    pub to: T,
    /// Why.
    pub cause: GapCause,
    /// Where.
    pub collections: Vec<CollectionId>,
    /// True where its control message stands in Kafka before this gap is recorded: it came with the stream.
    pub announced: bool,
}

/// `token_missing ?..12 of [0]`
impl<T: fmt::Debug> fmt::Debug for Gap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.cause.as_str())?;
        match &self.from {
            Some(from) => write!(f, "{from:?}")?,
            None => f.write_str("?")?,
        }
        write!(f, "..{:?} of {:?}", self.to, self.collections)?;
        f.write_str(if self.announced { " told" } else { "" })
    }
}

/// What a save changes in the record beside the position, in the same compare-and-set.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RecordChange<T> {
    /// The watched collections, in the configuration's order.
    pub known: Vec<Known>,
    /// Gaps to add.
    pub gaps: Vec<Gap<T>>,
    /// True where Kafka has a control message of every gap that the record held before.
    pub announced: bool,
}

/// The gaps, and whether some are still to be announced. The collections are left out, since every save carries them all.
impl<T: fmt::Debug> fmt::Debug for RecordChange<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.gaps)?;
        f.write_str(if self.announced { "" } else { ", gaps to announce" })
    }
}
