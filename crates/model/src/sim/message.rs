//! What travels through the model: resume tokens, versions, and messages small enough to be copied.

use cdc_machine::{Lineage, Plant, planted};

/// Watched collections, each with a topic and a table of its own. The tables have one shape.
pub const TABLES: usize = 2;
/// Partitions of each topic.
pub const PARTS: usize = 2;
/// Partitions of all topics.
pub const PARTITIONS: usize = TABLES * PARTS;
/// Documents of each collection.
pub const KEYS: usize = 6;

/// A resume token: cluster time, then the ordinal inside a transaction.
pub type Token = u64;

/// What orders the versions of a row: the lineage, then the token.
pub type Version = u64;

const ORDINAL_BITS: u32 = 8;
const TOKEN_BITS: u32 = 40;

/// The token of one change.
#[must_use]
pub const fn token(time: u32, ordinal: u8) -> Token {
    (time as u64) << ORDINAL_BITS | ordinal as u64
}

/// The version that a message carries.
#[must_use]
pub fn version(lineage: Lineage, token: Token) -> Version {
    // Planted in the model of the encoder: changes of one transaction share a position.
    let token = if planted(Plant::ClusterTimeAlone) { token >> ORDINAL_BITS << ORDINAL_BITS } else { token };
    u64::from(lineage.0) << TOKEN_BITS | token
}

/// The lineage of a version.
#[must_use]
pub fn lineage_of(version: Version) -> Lineage {
    Lineage(u32::try_from(version >> TOKEN_BITS).unwrap_or(u32::MAX))
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A document as it is.
    Upsert,
    /// A document is gone.
    Delete,
    /// An update whose document was gone by the time it was looked up.
    Absent,
    /// A gap, for every partition.
    Gap,
    /// In place of a message that does not fit.
    Marker,
}

/// A message, as both machines pass it through unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The collection.
    pub table: u8,
    /// The document.
    pub key: u8,
    /// The document's unique name.
    pub name: u16,
    /// No table takes it.
    pub is_poison: bool,
    /// The change that it tells of; of a gap, where the gap ends.
    pub token: Token,
    /// What the row is to carry.
    pub version: Version,
}

impl Message {
    /// True where it says what a row is to be.
    #[must_use]
    pub const fn has_row(&self) -> bool {
        matches!(self.kind, Kind::Upsert | Kind::Delete)
    }
}

/// The partition of a document, over all topics.
#[must_use]
pub const fn partition_of(table: u8, key: u8) -> usize {
    table as usize * PARTS + route(key) as usize % PARTS
}

/// The hash of a document's key.
#[must_use]
pub const fn route(key: u8) -> u64 {
    super::random::mix(key as u64 + 1) >> 8
}
