use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::scan::{self, Members};
use crate::{ClusterTime, Position, WIRE_VERSION};

/// What a message says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A document was inserted.
    Insert,
    /// A document was changed in part.
    Update,
    /// A document was replaced.
    Replace,
    /// A document was deleted.
    Delete,
    /// A document as the initial copy found it.
    Snapshot,
    /// Control: the initial copy begins.
    SnapshotBegin,
    /// Control: the initial copy is complete.
    SnapshotEnd,
    /// Control: the collection was dropped.
    Drop,
    /// Control: the collection was renamed.
    Rename,
    /// Control: events are missing here.
    Gap,
}

impl Operation {
    const NAMED: [(Self, &'static str); 10] = [
        (Self::Insert, "insert"),
        (Self::Update, "update"),
        (Self::Replace, "replace"),
        (Self::Delete, "delete"),
        (Self::Snapshot, "snapshot"),
        (Self::SnapshotBegin, "snapshot_begin"),
        (Self::SnapshotEnd, "snapshot_end"),
        (Self::Drop, "drop"),
        (Self::Rename, "rename"),
        (Self::Gap, "gap"),
    ];

    /// The operation of that name; `None` where there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(_, known)| *known == name).map(|(operation, _)| *operation)
    }

    /// The name as it stands in the message.
    #[must_use]
    pub fn name(self) -> &'static str {
        // Every operation is in the table.
        Self::NAMED.iter().find(|(operation, _)| *operation == self).map_or("", |(_, name)| name)
    }

    /// True for messages that concern no single document.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::SnapshotBegin | Self::SnapshotEnd | Self::Drop | Self::Rename | Self::Gap)
    }
}

/// A message's `full_document`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullDocument<'a> {
    /// Not in the message: a delete, or an update whose document nobody asked for.
    Absent,
    /// The document was gone when it was looked up.
    Null,
    /// The document, as JSON text.
    Present(&'a str),
}

/// The parts of the envelope that hold BSON values, by which `bson_types` and `raw_bson` point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// `document_key`.
    DocumentKey,
    /// `full_document`.
    FullDocument,
    /// `update_desc`.
    UpdateDesc,
}

impl Member {
    /// In the order of the message.
    pub(crate) const ALL: [Self; 3] = [Self::DocumentKey, Self::FullDocument, Self::UpdateDesc];

    /// The JSON Pointer to it.
    #[must_use]
    pub const fn pointer(self) -> &'static str {
        match self {
            Self::DocumentKey => "/document_key",
            Self::FullDocument => "/full_document",
            Self::UpdateDesc => "/update_desc",
        }
    }
}

/// A control message's gap.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Gap<'a> {
    /// The position before it, in hex; `None` where nobody knows.
    #[serde(borrow)]
    pub from: Option<Cow<'a, str>>,
    /// The position behind it, in hex.
    #[serde(borrow)]
    pub to: Cow<'a, str>,
    /// Why.
    #[serde(borrow)]
    pub cause: Cow<'a, str>,
    /// Where.
    pub collections: Vec<String>,
}

/// A message, taken apart as far as its envelope goes. Everything is borrowed from the message's bytes; the
/// JSON parts are well-formed but not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The event's id: 32 lowercase hexadecimal digits.
    pub id: Cow<'a, str>,
    /// What happened.
    pub operation: Operation,
    /// The database.
    pub database: Cow<'a, str>,
    /// The collection.
    pub collection: Cow<'a, str>,
    /// JSON object; always there unless [`Operation::is_control`].
    pub document_key: Option<&'a str>,
    /// The document; always there for insert, replace and snapshot.
    pub full_document: FullDocument<'a>,
    /// JSON object; updates only.
    pub update_desc: Option<&'a str>,
    /// When it happened.
    pub cluster_time: ClusterTime,
    /// Where it stands in the order of events.
    pub position: Position,
    /// JSON object: type to pointers. For [`crate::TypeIndex::load`].
    pub bson_types: Option<&'a str>,
    /// JSON object: pointer to base64.
    pub raw_bson: Option<&'a str>,
    /// Only in an [`Operation::Gap`].
    pub gap: Option<Box<Gap<'a>>>,
}

/// A message that this version does not understand. Texts name fields, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not a JSON object, or a known field of another JSON type; the place in the message.
    Json {
        /// From 1.
        line: usize,
        /// Bytes, from 1.
        column: usize,
    },
    /// Written by a newer version of this program.
    NewerVersion(u32),
    /// An operation type of no known name.
    UnknownOperation,
    /// A field that every message of its kind has is not there, or null.
    Missing(&'static str),
    /// A field does not have the form that it always has.
    Invalid(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { line, column } => {
                write!(f, "the message is not an envelope in JSON (line {line}, column {column})")
            }
            Self::NewerVersion(version) => write!(
                f,
                "the message has version {version}, this program reads up to {WIRE_VERSION}: upgrade the Syncer"
            ),
            Self::UnknownOperation => f.write_str("the message's operation_type is unknown"),
            Self::Missing(field) => write!(f, "the message has no {field}"),
            Self::Invalid(field) => write!(f, "the message's {field} is not of the documented form"),
        }
    }
}

impl std::error::Error for DecodeError {}

#[derive(Deserialize)]
struct WireVersion {
    version: Option<u32>,
}

#[derive(Deserialize)]
struct WireNamespace<'a> {
    #[serde(borrow)]
    database: Cow<'a, str>,
    #[serde(borrow)]
    collection: Cow<'a, str>,
}

#[derive(Deserialize)]
struct WireTime {
    t: u32,
    i: u32,
}

#[derive(Deserialize)]
struct Wire<'a> {
    version: Option<u32>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    operation_type: Cow<'a, str>,
    #[serde(borrow)]
    namespace: WireNamespace<'a>,
    #[serde(borrow)]
    document_key: Option<&'a RawValue>,
    /// The outer option tells absent from null.
    #[serde(default, borrow, deserialize_with = "present")]
    full_document: Option<Option<&'a RawValue>>,
    #[serde(borrow)]
    update_desc: Option<&'a RawValue>,
    cluster_time: WireTime,
    #[serde(borrow)]
    position: Cow<'a, str>,
    #[serde(borrow)]
    bson_types: Option<&'a RawValue>,
    #[serde(borrow)]
    raw_bson: Option<&'a RawValue>,
    #[serde(borrow)]
    gap: Option<Box<Gap<'a>>>,
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<&'de RawValue>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl<'a> Envelope<'a> {
    /// Parses a message. Unknown fields are passed over.
    ///
    /// # Errors
    /// Where it is not a message of this version; a newer one is refused by its number even where its form
    /// has changed.
    pub fn parse(message: &'a [u8]) -> Result<Self, DecodeError> {
        let wire: Wire<'a> = match serde_json::from_slice(message) {
            Ok(wire) => wire,
            Err(error) => {
                newer(serde_json::from_slice::<WireVersion>(message).ok().and_then(|only| only.version))?;
                return Err(DecodeError::Json { line: error.line(), column: error.column() });
            }
        };
        newer(Some(wire.version.ok_or(DecodeError::Missing("version"))?))?;
        let envelope = Self {
            operation: Operation::from_name(&wire.operation_type).ok_or(DecodeError::UnknownOperation)?,
            document_key: object(wire.document_key, "document_key")?,
            full_document: match wire.full_document {
                None => FullDocument::Absent,
                Some(None) => FullDocument::Null,
                Some(text) => {
                    object(text, "full_document")?.map_or(FullDocument::Null, FullDocument::Present)
                }
            },
            update_desc: object(wire.update_desc, "update_desc")?,
            cluster_time: ClusterTime { t: wire.cluster_time.t, i: wire.cluster_time.i },
            position: Position::from_hex(&wire.position).ok_or(DecodeError::Invalid("position"))?,
            bson_types: object(wire.bson_types, "bson_types")?,
            raw_bson: object(wire.raw_bson, "raw_bson")?,
            gap: wire.gap,
            id: wire.id,
            database: wire.namespace.database,
            collection: wire.namespace.collection,
        };
        envelope.check()?;
        Ok(envelope)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if !self.operation.is_control() && self.document_key.is_none() {
            return Err(DecodeError::Missing("document_key"));
        }
        let whole = matches!(self.operation, Operation::Insert | Operation::Replace | Operation::Snapshot);
        if whole && !matches!(self.full_document, FullDocument::Present(_)) {
            return Err(DecodeError::Missing("full_document"));
        }
        Ok(())
    }

    /// The base64 text of a member's whole BSON document, where its JSON is only a view.
    #[must_use]
    pub fn raw_bson_of(&self, member: Member) -> Option<Cow<'a, str>> {
        let mut pairs = Members::object(self.raw_bson?)?;
        while let Some((key, value)) = pairs.next_pair() {
            if scan::string(key).is_some_and(|key| key == member.pointer()) {
                return scan::string(value);
            }
        }
        None
    }
}

fn newer(version: Option<u32>) -> Result<(), DecodeError> {
    match version {
        Some(version) if version > WIRE_VERSION => Err(DecodeError::NewerVersion(version)),
        _ => Ok(()),
    }
}

fn object<'a>(value: Option<&'a RawValue>, name: &'static str) -> Result<Option<&'a str>, DecodeError> {
    match value.map(RawValue::get) {
        Some(text) if !text.starts_with('{') => Err(DecodeError::Invalid(name)),
        text => Ok(text),
    }
}
