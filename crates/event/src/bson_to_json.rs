//! BSON values as plain JSON, in one pass over the bytes, without a tree.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use crate::date;
use crate::decimal::Decimal;
use crate::elements::{self, Element, Elements, Malformed, tag};
use crate::json;
use crate::sidecar::Sidecar;
use crate::types::BsonType;

/// How many documents and arrays may stand inside one another. MongoDB itself stores at most 180 to 250;
/// what lies deeper is carried whole in `raw_bson` and shown as null.
pub(crate) const MAX_DEPTH: u32 = 255;

/// The payload of the NaN that is written without its bits.
const PLAIN_NAN: u64 = 0x7FF8_0000_0000_0000;

/// Up to this many keys are compared each with each; beyond it they are sorted.
const PAIRWISE_KEYS: usize = 24;

/// Scratch that outlives a member.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) sidecar: Sidecar,
    /// Hashes of the keys of the documents being written, innermost last.
    keys: Vec<u64>,
}

impl Scratch {
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.keys.clear();
        self.sidecar.shrink_to(bytes);
        self.keys.shrink_to(bytes / size_of::<u64>());
    }
}

/// Writes the values of one member of the envelope.
pub(crate) struct Walker<'s> {
    out: &'s mut Vec<u8>,
    scratch: &'s mut Scratch,
    /// False once a value was met that JSON pointers cannot address or JSON cannot spell.
    addressable: bool,
    /// True where the JSON is only a view: of duplicate keys the last is shown.
    view: bool,
}

/// Writes a member by `write`, and once more as a view beside the raw bytes where JSON cannot carry it.
pub(crate) fn member<'s>(
    out: &'s mut Vec<u8>,
    scratch: &'s mut Scratch,
    pointer: &'static str,
    document: &[u8],
    write: impl Fn(&mut Walker<'_>, &[u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let start = out.len();
    scratch.sidecar.begin(pointer);
    scratch.keys.clear();
    let mark = scratch.sidecar.mark();
    let mut walker = Walker { out, scratch, addressable: true, view: false };
    write(&mut walker, document)?;
    if walker.addressable && !walker.scratch.sidecar.is_full() {
        return Ok(());
    }
    let full = walker.scratch.sidecar.is_full();
    walker.out.truncate(start);
    walker.scratch.sidecar.rewind(mark);
    walker.scratch.sidecar.begin(pointer);
    if full {
        walker.scratch.sidecar.refuse();
    }
    walker.scratch.keys.clear();
    walker.view = true;
    write(&mut walker, document)?;
    walker.scratch.sidecar.add_raw(pointer, document);
    Ok(())
}

impl Walker<'_> {
    /// Text between the values.
    pub(crate) fn raw(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    /// A document under its key: the key becomes a segment of the pointers.
    pub(crate) fn document_under(&mut self, key: &[u8], document: &[u8]) -> Result<(), Malformed> {
        self.nested(key, document, 1, Self::document)
    }

    /// A document at the current pointer.
    pub(crate) fn document(&mut self, document: &[u8], depth: u32) -> Result<(), Malformed> {
        if self.view {
            return self.document_view(document, depth);
        }
        let first_key = self.scratch.keys.len();
        self.out.push(b'{');
        for element in Elements::new(document)? {
            let element = element?;
            if self.scratch.keys.len() > first_key {
                self.out.push(b',');
            }
            self.scratch.keys.push(key_hash(element.key));
            self.text(element.key);
            self.out.push(b':');
            self.value(&element, element.key, depth)?;
        }
        self.out.push(b'}');
        self.addressable &= distinct(&mut self.scratch.keys[first_key..]);
        self.scratch.keys.truncate(first_key);
        Ok(())
    }

    /// Of keys that look alike the last is shown, at its place, as PostgreSQL's `jsonb` does.
    fn document_view(&mut self, document: &[u8], depth: u32) -> Result<(), Malformed> {
        let mut last: HashMap<Cow<'_, str>, usize> = HashMap::new();
        for (index, element) in Elements::new(document)?.enumerate() {
            match last.entry(String::from_utf8_lossy(element?.key)) {
                Entry::Occupied(mut earlier) => *earlier.get_mut() = index,
                Entry::Vacant(new) => _ = new.insert(index),
            }
        }
        self.out.push(b'{');
        let mut first = true;
        for (index, element) in Elements::new(document)?.enumerate() {
            let element = element?;
            if last.get(&String::from_utf8_lossy(element.key)) != Some(&index) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            self.text(element.key);
            self.out.push(b':');
            self.value(&element, element.key, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// An array at the current pointer. Values are addressed by their place, whatever their keys say.
    pub(crate) fn array(&mut self, array: &[u8], depth: u32) -> Result<(), Malformed> {
        self.out.push(b'[');
        for (index, element) in Elements::new(array)?.enumerate() {
            let element = element?;
            if index > 0 {
                self.out.push(b',');
            }
            let mut digits = itoa::Buffer::new();
            let place = digits.format(index).as_bytes();
            self.addressable &= element.key == place;
            self.value(&element, place, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn value(&mut self, element: &Element<'_>, key: &[u8], depth: u32) -> Result<(), Malformed> {
        let bytes = element.value;
        match element.tag {
            tag::STRING => self.text(elements::string_bytes(bytes)?),
            tag::INT32 => json::integer(self.out, i32::from_le_bytes(elements::number(bytes)?)),
            tag::INT64 => self.int64(i64::from_le_bytes(elements::number(bytes)?), key),
            tag::DOUBLE => self.double(f64::from_le_bytes(elements::number(bytes)?), key),
            tag::BOOL => self.boolean(bytes),
            tag::NULL => self.raw(b"null"),
            tag::DOCUMENT => return self.nested(key, bytes, depth + 1, Self::document),
            tag::ARRAY => return self.nested(key, bytes, depth + 1, Self::array),
            tag::OBJECT_ID => {
                self.quoted(|out| json::hex(out, bytes));
                self.note(BsonType::ObjectId, key);
            }
            tag::DATE => self.date(i64::from_le_bytes(elements::number(bytes)?), key),
            _ => return self.rare_value(element, key, depth),
        }
        Ok(())
    }

    fn rare_value(&mut self, element: &Element<'_>, key: &[u8], depth: u32) -> Result<(), Malformed> {
        let bytes = element.value;
        let kind = match element.tag {
            tag::DECIMAL128 => {
                let (decimal, canonical) = Decimal::from_bson(elements::number(bytes)?);
                self.addressable &= canonical;
                self.quoted(|out| {
                    // Writing to a Vec cannot fail.
                    _ = write!(out, "{decimal}");
                });
                BsonType::Decimal
            }
            tag::TIMESTAMP => {
                timestamp(self.out, u64::from_le_bytes(elements::number(bytes)?));
                BsonType::Timestamp
            }
            tag::BINARY => self.binary(bytes)?,
            tag::REGEX => {
                let (pattern, options) = elements::regex(bytes)?;
                self.raw(b"{\"pattern\":");
                self.text(pattern);
                self.raw(b",\"options\":");
                self.text(options);
                self.raw(b"}");
                BsonType::Regex
            }
            tag::JAVASCRIPT | tag::SYMBOL => {
                self.text(elements::string_bytes(bytes)?);
                if element.tag == tag::SYMBOL { BsonType::Symbol } else { BsonType::JavaScript }
            }
            tag::JAVASCRIPT_WITH_SCOPE => {
                let (code, scope) = elements::javascript_with_scope(bytes)?;
                self.note(BsonType::JavaScriptWithScope, key);
                self.raw(b"{\"code\":");
                self.text(code);
                self.raw(b",\"scope\":");
                let back = self.scratch.sidecar.enter(key);
                self.nested(b"scope", scope, depth + 1, Self::document)?;
                self.scratch.sidecar.leave(back);
                self.raw(b"}");
                return Ok(());
            }
            tag::DB_POINTER => {
                let (namespace, id) = elements::db_pointer(bytes)?;
                self.raw(b"{\"ref\":");
                self.text(namespace);
                self.raw(b",\"id\":");
                self.quoted(|out| json::hex(out, id));
                self.raw(b"}");
                BsonType::DbPointer
            }
            tag::UNDEFINED | tag::MIN_KEY | tag::MAX_KEY => {
                self.raw(b"null");
                match element.tag {
                    tag::UNDEFINED => BsonType::Undefined,
                    tag::MIN_KEY => BsonType::MinKey,
                    _ => BsonType::MaxKey,
                }
            }
            _ => return Err(Malformed("a type that BSON does not have")),
        };
        self.note(kind, key);
        Ok(())
    }

    fn nested(
        &mut self,
        key: &[u8],
        bytes: &[u8],
        depth: u32,
        write: fn(&mut Self, &[u8], u32) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            self.addressable = false;
            self.raw(b"null");
            return Ok(());
        }
        let back = self.scratch.sidecar.enter(key);
        write(self, bytes, depth)?;
        self.scratch.sidecar.leave(back);
        Ok(())
    }

    fn note(&mut self, kind: BsonType, key: &[u8]) {
        self.scratch.sidecar.note(kind, key);
    }

    fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    /// A string; where it is not UTF-8, with U+FFFD in the place of what is not.
    #[inline]
    pub(crate) fn text(&mut self, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => json::string(self.out, text),
            Err(_) => {
                self.addressable = false;
                json::string(self.out, &String::from_utf8_lossy(bytes));
            }
        }
    }

    fn boolean(&mut self, bytes: &[u8]) {
        self.addressable &= matches!(bytes, [0 | 1]);
        self.raw(if bytes == [0] { b"false" } else { b"true" });
    }

    fn int64(&mut self, value: i64, key: &[u8]) {
        json::integer(self.out, value);
        if i32::try_from(value).is_ok() {
            self.note(BsonType::Long, key);
        }
    }

    fn double(&mut self, value: f64, key: &[u8]) {
        if value.is_finite() {
            json::finite(self.out, value);
            return;
        }
        match value.to_bits() {
            PLAIN_NAN => self.raw(b"\"NaN\""),
            bits if value.is_nan() => self.quoted(|out| {
                out.extend_from_slice(b"NaN(0x");
                json::hex(out, &bits.to_be_bytes());
                out.push(b')');
            }),
            _ => self.raw(if value < 0.0 { b"\"-Infinity\"" } else { b"\"Infinity\"" }),
        }
        self.note(BsonType::Double, key);
    }

    fn date(&mut self, millis: i64, key: &[u8]) {
        self.out.push(b'"');
        if date::write(self.out, millis) {
            self.out.push(b'"');
        } else {
            self.out.pop();
            json::integer(self.out, millis);
        }
        self.note(BsonType::Date, key);
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<BsonType, Malformed> {
        let (subtype, mut payload) = elements::binary(bytes)?;
        if subtype == 2 {
            match elements::old_binary(payload) {
                Some(inner) => payload = inner,
                None => self.addressable = false,
            }
        }
        match (subtype, <&[u8; 16]>::try_from(payload)) {
            (4, Ok(uuid)) => self.quoted(|out| json::uuid(out, uuid)),
            _ => self.quoted(|out| json::base64(out, payload)),
        }
        Ok(BsonType::Binary(subtype))
    }
}

/// `{"t":…,"i":…}`.
pub(crate) fn timestamp(out: &mut Vec<u8>, bits: u64) {
    out.extend_from_slice(b"{\"t\":");
    json::integer(out, bits >> 32);
    out.extend_from_slice(b",\"i\":");
    json::integer(out, bits & 0xFFFF_FFFF);
    out.push(b'}');
}

/// Keys of up to eight bytes stand for themselves (a key has no zero byte), longer ones are hashed. Two keys
/// taken for one cost a message its plain form, and lose nothing.
#[inline]
fn key_hash(key: &[u8]) -> u64 {
    if key.len() <= 8 {
        let mut word = [0; 8];
        word[..key.len()].copy_from_slice(key);
        u64::from_le_bytes(word)
    } else {
        xxh3_64(key)
    }
}

/// True where no two are equal. May reorder them.
fn distinct(hashes: &mut [u64]) -> bool {
    if hashes.len() <= PAIRWISE_KEYS {
        return hashes.iter().enumerate().all(|(index, hash)| !hashes[..index].contains(hash));
    }
    hashes.sort_unstable();
    hashes.windows(2).all(|pair| pair[0] != pair[1])
}
