//! A change event as a message: one pass over its bytes, into buffers that are used again.

use std::ops::Range;

use bson::RawDocument;
use xxhash_rust::xxh3::xxh3_128;

use crate::bson_to_json::{self, Scratch};
use crate::elements::{self, Element, Elements, tag};
use crate::encode_error::EncodeError;
use crate::kind::Kind;
use crate::token::{cluster_time_of_data, position_of_data, token_data};
use crate::update::write_update;
use crate::{ClusterTime, Position, WIRE_VERSION, json, key};

/// Scratch beyond this many bytes is given back after the event that needed it.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

/// The field that a pipeline adds to an event in the place of the documents that it leaves out: their size.
pub const OMITTED_FIELD: &str = "cdcOmittedBytes";

/// Where an event's parts were put, and what it is. Ranges count from the buffers' beginnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded<'e> {
    /// What the event is about.
    pub kind: Kind,
    /// The database; empty where the event names none.
    pub database: &'e str,
    /// The collection; empty where the event names none.
    pub collection: &'e str,
    /// The database and the collection that a `rename` gives; empty for all else.
    pub renamed_to: (&'e str, &'e str),
    /// The size in bytes of what the server left out of the event ([`OMITTED_FIELD`]); there is a key then,
    /// but no value.
    pub omitted_bytes: Option<u64>,
    /// The message key in the message buffer, right behind the value; empty unless [`Kind::is_document`].
    pub key: Range<usize>,
    /// The message value in the message buffer; empty unless [`Kind::is_document`].
    pub value: Range<usize>,
    /// The resume token's document in the token buffer.
    pub token: Range<usize>,
    /// The event's position.
    pub position: Position,
    /// The event's cluster time.
    pub cluster_time: ClusterTime,
}

/// Turns change events into messages. Owns scratch that is reused from event to event, so that encoding
/// allocates nothing once the buffers have grown.
#[derive(Debug)]
pub struct Encoder {
    lineage: u32,
    scratch: Scratch,
}

impl Encoder {
    /// An encoder whose positions belong to this lineage (architecture: the token record's creation time).
    #[must_use]
    pub fn new(lineage: u32) -> Self {
        Self { lineage, scratch: Scratch::default() }
    }

    /// Appends the event's message, value then key, to `out` and its resume token to `tokens`. The tokens
    /// have a buffer of their own so that a token kept for long does not keep a batch of documents alive.
    ///
    /// An event without a document (`drop`, `invalidate`, …) leaves `out` alone.
    ///
    /// # Errors
    /// Where the event is not what a change stream sends. Both buffers are then as they were.
    pub fn encode<'e>(
        &mut self,
        event: &'e RawDocument,
        out: &mut Vec<u8>,
        tokens: &mut Vec<u8>,
    ) -> Result<Encoded<'e>, EncodeError> {
        self.encode_parts(&Parts::read(event.as_bytes())?, out, tokens)
    }

    /// The same for an update that came without its document: `found` is what was found of it since, if it is
    /// still there.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_with<'e>(
        &mut self,
        event: &'e RawDocument,
        found: Option<&'e RawDocument>,
        out: &mut Vec<u8>,
        tokens: &mut Vec<u8>,
    ) -> Result<Encoded<'e>, EncodeError> {
        let (tag, value) = found.map_or((tag::NULL, &[][..]), |found| (tag::DOCUMENT, found.as_bytes()));
        let mut parts = Parts::read(event.as_bytes())?;
        parts.full_document = Some(Element { tag, key: b"fullDocument", value });
        self.encode_parts(&parts, out, tokens)
    }

    fn encode_parts<'e>(
        &mut self,
        parts: &Parts<'e>,
        out: &mut Vec<u8>,
        tokens: &mut Vec<u8>,
    ) -> Result<Encoded<'e>, EncodeError> {
        let start = out.len();
        let data = token_data(parts.token)?;
        let head = Head {
            parts,
            id: xxh3_128(data),
            position: position_of_data(data, self.lineage)?,
            cluster_time: match parts.cluster_time {
                Some(time) => time,
                None => cluster_time_of_data(data)?,
            },
        };
        let mut value_end = start;
        if parts.kind.is_document() {
            let value = match parts.omitted_bytes {
                None => write_value(out, &mut self.scratch, &head),
                Some(_) => Ok(()),
            };
            let written = value.and_then(|()| {
                value_end = out.len();
                write_key(out, parts.document_key)
            });
            self.scratch.shrink_to(SCRATCH_KEPT_BYTES);
            if let Err(error) = written {
                out.truncate(start);
                return Err(error);
            }
        }
        let token_start = tokens.len();
        tokens.extend_from_slice(parts.token);
        Ok(Encoded {
            kind: parts.kind,
            database: parts.database,
            collection: parts.collection,
            renamed_to: parts.renamed_to,
            omitted_bytes: parts.omitted_bytes,
            key: value_end..out.len(),
            value: start..value_end,
            token: token_start..tokens.len(),
            position: head.position,
            cluster_time: head.cluster_time,
        })
    }
}

/// An update that came without its document, and what it takes to look it up.
#[derive(Clone, Copy, Debug)]
pub struct Imageless<'e> {
    /// The collection.
    pub collection: &'e str,
    /// The document's key.
    pub document_key: &'e RawDocument,
    /// When it happened.
    pub cluster_time: ClusterTime,
}

impl<'e> Imageless<'e> {
    /// What an event lacks; `None` where it is whole, or no update.
    ///
    /// # Errors
    /// Where the event is not what a change stream sends.
    pub fn of(event: &'e RawDocument) -> Result<Option<Self>, EncodeError> {
        let parts = Parts::read(event.as_bytes())?;
        let has_document = parts.full_document.is_some_and(|element| element.tag != tag::NULL);
        if parts.kind != Kind::Update || has_document || parts.omitted_bytes.is_some() {
            return Ok(None);
        }
        let key = parts.document_key.ok_or(EncodeError::Missing("documentKey"))?;
        let document_key = RawDocument::from_bytes(key).map_err(|_| EncodeError::WrongType("documentKey"))?;
        let cluster_time = match parts.cluster_time {
            Some(time) => time,
            None => cluster_time_of_data(token_data(parts.token)?)?,
        };
        Ok(Some(Self { collection: parts.collection, document_key, cluster_time }))
    }
}

/// The event's fields, found but not yet looked into.
struct Parts<'e> {
    kind: Kind,
    token: &'e [u8],
    database: &'e str,
    collection: &'e str,
    cluster_time: Option<ClusterTime>,
    document_key: Option<&'e [u8]>,
    full_document: Option<Element<'e>>,
    update_description: Option<&'e [u8]>,
    renamed_to: (&'e str, &'e str),
    omitted_bytes: Option<u64>,
}

/// What the message says besides the document.
struct Head<'p, 'e> {
    parts: &'p Parts<'e>,
    id: u128,
    position: Position,
    cluster_time: ClusterTime,
}

impl<'e> Parts<'e> {
    fn read(event: &'e [u8]) -> Result<Self, EncodeError> {
        let mut kind = None;
        let mut token = None;
        let (mut database, mut collection) = ("", "");
        let mut cluster_time = None;
        let (mut document_key, mut full_document, mut update_description) = (None, None, None);
        let (mut renamed_to, mut omitted_bytes) = (("", ""), None);
        for element in Elements::new(event)? {
            let element = element?;
            match element.key {
                b"_id" => token = Some(document(&element, "_id")?),
                b"operationType" => {
                    kind = Some(Kind::from_operation(string(&element, "operationType")?.as_bytes()));
                }
                b"clusterTime" => cluster_time = Some(time(&element)?),
                b"ns" => (database, collection) = namespace(document(&element, "ns")?)?,
                b"to" => renamed_to = namespace(document(&element, "to")?)?,
                _ if element.key == OMITTED_FIELD.as_bytes() => omitted_bytes = Some(size(&element)?),
                b"documentKey" => document_key = Some(document(&element, "documentKey")?),
                b"fullDocument" => full_document = Some(element),
                b"updateDescription" => {
                    update_description = Some(document(&element, "updateDescription")?);
                }
                _ => {}
            }
        }
        Ok(Self {
            kind: kind.ok_or(EncodeError::Missing("operationType"))?,
            token: token.ok_or(EncodeError::Missing("_id"))?,
            database,
            collection,
            cluster_time,
            document_key,
            full_document,
            update_description,
            renamed_to,
            omitted_bytes,
        })
    }
}

fn namespace(ns: &[u8]) -> Result<(&str, &str), EncodeError> {
    let (mut database, mut collection) = ("", "");
    for element in Elements::new(ns)? {
        let element = element?;
        match element.key {
            b"db" => database = string(&element, "ns.db")?,
            b"coll" => collection = string(&element, "ns.coll")?,
            _ => {}
        }
    }
    Ok((database, collection))
}

fn document<'e>(element: &Element<'e>, field: &'static str) -> Result<&'e [u8], EncodeError> {
    if element.tag == tag::DOCUMENT { Ok(element.value) } else { Err(EncodeError::WrongType(field)) }
}

fn string<'e>(element: &Element<'e>, field: &'static str) -> Result<&'e str, EncodeError> {
    if element.tag != tag::STRING {
        return Err(EncodeError::WrongType(field));
    }
    std::str::from_utf8(elements::string_bytes(element.value)?).map_err(|_| EncodeError::WrongType(field))
}

fn time(element: &Element<'_>) -> Result<ClusterTime, EncodeError> {
    if element.tag != tag::TIMESTAMP {
        return Err(EncodeError::WrongType("clusterTime"));
    }
    let [i0, i1, i2, i3, t0, t1, t2, t3] = elements::number(element.value)?;
    Ok(ClusterTime { t: u32::from_le_bytes([t0, t1, t2, t3]), i: u32::from_le_bytes([i0, i1, i2, i3]) })
}

/// A number of bytes, as the server's arithmetic gives it.
fn size(element: &Element<'_>) -> Result<u64, EncodeError> {
    const WRONG: EncodeError = EncodeError::WrongType(OMITTED_FIELD);
    let bytes = match element.tag {
        tag::INT32 => i64::from(i32::from_le_bytes(elements::number(element.value)?)),
        tag::INT64 => i64::from_le_bytes(elements::number(element.value)?),
        _ => return Err(WRONG),
    };
    u64::try_from(bytes).map_err(|_| WRONG)
}

fn write_value(out: &mut Vec<u8>, scratch: &mut Scratch, head: &Head<'_, '_>) -> Result<(), EncodeError> {
    let parts = head.parts;
    scratch.sidecar.clear();
    out.extend_from_slice(b"{\"version\":");
    json::integer(out, WIRE_VERSION);
    out.extend_from_slice(b",\"id\":\"");
    json::hex(out, &head.id.to_be_bytes());
    out.extend_from_slice(b"\",\"operation_type\":\"");
    out.extend_from_slice(parts.kind.name().as_bytes());
    out.extend_from_slice(b"\",\"namespace\":{\"database\":");
    json::string(out, parts.database);
    out.extend_from_slice(b",\"collection\":");
    json::string(out, parts.collection);
    out.extend_from_slice(b"},\"document_key\":");
    let document_key = parts.document_key.ok_or(EncodeError::Missing("documentKey"))?;
    bson_to_json::member(out, scratch, "/document_key", document_key, |walker, doc| walker.document(doc, 1))?;
    write_full_document(out, scratch, parts)?;
    if parts.kind == Kind::Update {
        let description = parts.update_description.ok_or(EncodeError::Missing("updateDescription"))?;
        out.extend_from_slice(b",\"update_desc\":");
        bson_to_json::member(out, scratch, "/update_desc", description, write_update)?;
    }
    out.extend_from_slice(b",\"cluster_time\":{\"t\":");
    json::integer(out, head.cluster_time.t);
    out.extend_from_slice(b",\"i\":");
    json::integer(out, head.cluster_time.i);
    out.extend_from_slice(b"},\"position\":\"");
    json::hex(out, head.position.as_bytes());
    out.push(b'"');
    scratch.sidecar.write(out);
    out.push(b'}');
    Ok(())
}

/// A delete has none. An update has what the look-up or the post-image gave, and none where neither was
/// asked for.
fn write_full_document(
    out: &mut Vec<u8>,
    scratch: &mut Scratch,
    parts: &Parts<'_>,
) -> Result<(), EncodeError> {
    let element = match (parts.kind, &parts.full_document) {
        (Kind::Delete | Kind::Other(_), _) | (Kind::Update, None) => return Ok(()),
        (Kind::Insert | Kind::Replace, None) => return Err(EncodeError::Missing("fullDocument")),
        (_, Some(element)) => element,
    };
    out.extend_from_slice(b",\"full_document\":");
    match (parts.kind, element.tag) {
        (_, tag::DOCUMENT) => {
            bson_to_json::member(out, scratch, "/full_document", element.value, |walker, doc| {
                walker.document(doc, 1)
            })?;
        }
        (Kind::Update, tag::NULL) => out.extend_from_slice(b"null"),
        _ => return Err(EncodeError::WrongType("fullDocument")),
    }
    Ok(())
}

fn write_key(out: &mut Vec<u8>, document_key: Option<&[u8]>) -> Result<(), EncodeError> {
    const ID: EncodeError = EncodeError::Missing("documentKey._id");
    for element in Elements::new(document_key.ok_or(ID)?)? {
        let element = element?;
        if element.key == b"_id" {
            return Ok(key::write(out, &element)?);
        }
    }
    Err(ID)
}
