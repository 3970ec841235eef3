//! Change events as MongoDB sends them, and JSON read without the crate under test.

use bson::{Bson, Document, RawDocument, RawDocumentBuf, Timestamp, doc, oid::ObjectId};
use cdc_event::{Encoded, Encoder, Envelope};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) const LINEAGE: u32 = 0x6B04_5F00;

/// An event's token as MongoDB 6 writes it, at this cluster time.
pub(crate) fn token(t: u32, i: u32) -> Document {
    doc! { "_data": format!("82{t:08X}{i:08X}2B022C0100296E5A1004B7A61B0EF2B94D6CA0F6A1B2C3D4E5F646645F69640064507F1F77BCF86CD7994390110004") }
}

/// An event of the seed's collection with this document as its subject.
pub(crate) fn event(operation: &str, id: impl Into<Bson>, rest: Document) -> Document {
    let mut event = doc! {
        "_id": token(1_705_318_200, 1),
        "operationType": operation,
        "clusterTime": Timestamp { time: 1_705_318_200, increment: 1 },
        "ns": { "db": "game_db", "coll": "players" },
        "documentKey": { "_id": id.into() },
    };
    event.extend(rest);
    event
}

pub(crate) fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

/// What became of an event: its message and key.
pub(crate) struct Encoding {
    pub(crate) value: String,
    pub(crate) key: String,
    pub(crate) token: Vec<u8>,
}

pub(crate) fn encode(event: &RawDocument) -> Result<Encoding, cdc_event::EncodeError> {
    let (mut out, mut tokens) = (b"before".to_vec(), b"too".to_vec());
    let result = Encoder::new(LINEAGE).encode(event, &mut out, &mut tokens);
    let Encoded { key, value, token, .. } = match result {
        Ok(encoded) => encoded,
        Err(error) => {
            assert_eq!(
                (&out[..], &tokens[..]),
                (&b"before"[..], &b"too"[..]),
                "an error leaves the buffers alone"
            );
            return Err(error);
        }
    };
    let text = |range: std::ops::Range<usize>| String::from_utf8(out[range].to_vec()).unwrap();
    Ok(Encoding { value: text(value), key: text(key), token: tokens[token].to_vec() })
}

pub(crate) fn encode_document(event: &Document) -> Encoding {
    encode(&raw(event)).unwrap()
}

/// The message of an insert of this document.
pub(crate) fn insert(document: Document) -> String {
    let id = document.get("_id").cloned().unwrap_or(Bson::Int32(1));
    encode_document(&event("insert", id, doc! { "fullDocument": document })).value
}

pub(crate) fn key_of(id: impl Into<Bson>) -> String {
    encode_document(&event("delete", id, Document::new())).key
}

pub(crate) fn oid(hex: &str) -> ObjectId {
    ObjectId::parse_str(hex).unwrap()
}

pub(crate) fn envelope(message: &str) -> Envelope<'_> {
    Envelope::parse(message.as_bytes()).unwrap()
}

/// An element by hand: type, key, value.
pub(crate) fn element(tag: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(key);
    bytes.push(0);
    bytes.extend_from_slice(value);
    bytes
}

/// A document of elements made by hand.
pub(crate) fn document_of(elements: &[Vec<u8>]) -> Vec<u8> {
    let body = elements.concat();
    let mut bytes = i32::try_from(body.len() + 5).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes.push(0);
    bytes
}

/// An insert whose `fullDocument` are these bytes.
pub(crate) fn insert_of(document: &[u8]) -> RawDocumentBuf {
    let head = raw(&event("insert", 1, Document::new())).into_bytes();
    let mut elements = vec![head[4..head.len() - 1].to_vec()];
    elements.push(element(3, b"fullDocument", document));
    RawDocumentBuf::from_bytes(document_of(&elements)).unwrap()
}

/// An object's fields, in order, by serde_json.
pub(crate) fn pairs(json: &str) -> Vec<(String, String)> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                pairs.push((key, value.get().to_owned()));
            }
            Ok(pairs)
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_map(Pairs).unwrap()
}

/// An array's values, by serde_json.
pub(crate) fn items(json: &str) -> Vec<String> {
    struct Items;
    impl<'de> Visitor<'de> for Items {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(value) = seq.next_element::<&RawValue>()? {
                items.push(value.get().to_owned());
            }
            Ok(items)
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_seq(Items).unwrap()
}

/// A field's JSON text.
pub(crate) fn field(json: &str, name: &str) -> Option<String> {
    pairs(json).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
