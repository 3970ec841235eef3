//! The message key: the canonical `_id`, the same text exactly for what MongoDB calls the same `_id`.
//!
//! MongoDB compares numbers by value across int32, int64, double and decimal128, exactly, without rounding
//! (`src/mongo/base/compare_numbers.h`); strings and symbols by their bytes; documents field by field, keys
//! and order included. Everything else is equal only to its own type.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use crate::bson_to_json::MAX_DEPTH;
use crate::decimal::Decimal;
use crate::elements::{self, Element, Elements, Malformed, tag};
use crate::json;

/// The key of control messages, which go to every partition.
pub const CONTROL_KEY: &str = "cdc.control";

/// The hash of a message key, which decides the worker that writes its row. Equal keys have equal hashes.
#[must_use]
pub fn route(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Writes the key of an `_id`.
///
/// A document's own key that begins with `$` gets one more `$`, so that no document passes for one of the
/// wrappers (`{"$oid":…}`). What has no canonical text (invalid UTF-8, nesting beyond the bound, a broken
/// inner length of binary subtype 2) is `{"$bson":{"type":"02","base64":"…"}}` around the value's bytes.
pub(crate) fn write(out: &mut Vec<u8>, id: &Element<'_>) -> Result<(), Malformed> {
    let start = out.len();
    match value(out, id, 0) {
        Ok(()) => Ok(()),
        Err(Unwritable::Malformed(malformed)) => Err(malformed),
        Err(Unwritable::NoText) => {
            out.truncate(start);
            out.extend_from_slice(b"{\"$bson\":{\"type\":\"");
            json::hex(out, &[id.tag]);
            out.extend_from_slice(b"\",\"base64\":\"");
            json::base64(out, id.value);
            out.extend_from_slice(b"\"}}");
            Ok(())
        }
    }
}

enum Unwritable {
    Malformed(Malformed),
    NoText,
}

impl From<Malformed> for Unwritable {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

fn value(out: &mut Vec<u8>, element: &Element<'_>, depth: u32) -> Result<(), Unwritable> {
    let bytes = element.value;
    match element.tag {
        tag::OBJECT_ID => wrapped(out, "$oid", |out| json::hex(out, bytes)),
        tag::STRING | tag::SYMBOL => text(out, elements::string_bytes(bytes)?)?,
        tag::INT32 => integer(out, i32::from_le_bytes(elements::number(bytes)?).into()),
        tag::INT64 => integer(out, i64::from_le_bytes(elements::number(bytes)?)),
        tag::DOUBLE => double(out, f64::from_le_bytes(elements::number(bytes)?)),
        tag::DECIMAL128 => decimal(out, Decimal::from_bson(elements::number(bytes)?).0),
        tag::DOCUMENT => document(out, bytes, depth + 1)?,
        tag::ARRAY => array(out, bytes, depth + 1)?,
        tag::BOOL => out.extend_from_slice(if bytes == [0] { b"false" } else { b"true" }),
        tag::NULL => out.extend_from_slice(b"null"),
        tag::UNDEFINED => out.extend_from_slice(b"{\"$undefined\":true}"),
        tag::MIN_KEY => out.extend_from_slice(b"{\"$minKey\":1}"),
        tag::MAX_KEY => out.extend_from_slice(b"{\"$maxKey\":1}"),
        tag::DATE => {
            out.extend_from_slice(b"{\"$date\":");
            let millis = i64::from_le_bytes(elements::number(bytes)?);
            wrapped(out, "$numberLong", |out| json::integer(out, millis));
            out.push(b'}');
        }
        tag::TIMESTAMP => {
            out.extend_from_slice(b"{\"$timestamp\":");
            crate::bson_to_json::timestamp(out, u64::from_le_bytes(elements::number(bytes)?));
            out.push(b'}');
        }
        tag::BINARY => binary(out, bytes)?,
        _ => code_or_pattern(out, element, depth)?,
    }
    Ok(())
}

fn code_or_pattern(out: &mut Vec<u8>, element: &Element<'_>, depth: u32) -> Result<(), Unwritable> {
    let bytes = element.value;
    match element.tag {
        tag::REGEX => {
            let (pattern, options) = elements::regex(bytes)?;
            out.extend_from_slice(b"{\"$regularExpression\":{\"pattern\":");
            text(out, pattern)?;
            out.extend_from_slice(b",\"options\":");
            text(out, options)?;
            out.extend_from_slice(b"}}");
        }
        tag::JAVASCRIPT => {
            out.extend_from_slice(b"{\"$code\":");
            text(out, elements::string_bytes(bytes)?)?;
            out.push(b'}');
        }
        tag::JAVASCRIPT_WITH_SCOPE => {
            let (code, scope) = elements::javascript_with_scope(bytes)?;
            out.extend_from_slice(b"{\"$code\":");
            text(out, code)?;
            out.extend_from_slice(b",\"$scope\":");
            document(out, scope, depth + 1)?;
            out.push(b'}');
        }
        tag::DB_POINTER => {
            let (namespace, id) = elements::db_pointer(bytes)?;
            out.extend_from_slice(b"{\"$dbPointer\":{\"$ref\":");
            text(out, namespace)?;
            out.extend_from_slice(b",\"$id\":");
            wrapped(out, "$oid", |out| json::hex(out, id));
            out.extend_from_slice(b"}}");
        }
        _ => return Err(Malformed("a type that BSON does not have").into()),
    }
    Ok(())
}

fn document(out: &mut Vec<u8>, bytes: &[u8], depth: u32) -> Result<(), Unwritable> {
    if depth > MAX_DEPTH {
        return Err(Unwritable::NoText);
    }
    out.push(b'{');
    for (index, element) in Elements::new(bytes)?.enumerate() {
        let element = element?;
        if index > 0 {
            out.push(b',');
        }
        let key = std::str::from_utf8(element.key).map_err(|_| Unwritable::NoText)?;
        out.push(b'"');
        if key.starts_with('$') {
            out.push(b'$');
        }
        json::escape(out, key);
        out.extend_from_slice(b"\":");
        value(out, &element, depth)?;
    }
    out.push(b'}');
    Ok(())
}

/// Keys do not count: MongoDB's index entries for arrays hold the values only.
fn array(out: &mut Vec<u8>, bytes: &[u8], depth: u32) -> Result<(), Unwritable> {
    if depth > MAX_DEPTH {
        return Err(Unwritable::NoText);
    }
    out.push(b'[');
    for (index, element) in Elements::new(bytes)?.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value(out, &element?, depth)?;
    }
    out.push(b']');
    Ok(())
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Unwritable> {
    json::string(out, std::str::from_utf8(bytes).map_err(|_| Unwritable::NoText)?);
    Ok(())
}

fn wrapped(out: &mut Vec<u8>, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    write(out);
    out.extend_from_slice(b"\"}");
}

fn integer(out: &mut Vec<u8>, value: i64) {
    let name = if i32::try_from(value).is_ok() { "$numberInt" } else { "$numberLong" };
    wrapped(out, name, |out| json::integer(out, value));
}

fn double(out: &mut Vec<u8>, value: f64) {
    /// 2^63: the first double above int64. Below it, and from its negative on, every integral double is one.
    const BEYOND_I64: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() == 0.0 && (-BEYOND_I64..BEYOND_I64).contains(&value) {
        integer(out, value as i64);
        return;
    }
    wrapped(out, "$numberDouble", |out| {
        if value.is_finite() {
            json::finite(out, value);
        } else {
            out.extend_from_slice(match value {
                f64::INFINITY => b"Infinity",
                f64::NEG_INFINITY => b"-Infinity",
                _ => b"NaN",
            });
        }
    });
}

fn decimal(out: &mut Vec<u8>, value: Decimal) {
    if let Some(equal) = value.to_i64() {
        integer(out, equal);
    } else if let Some(equal) = value.to_f64_exactly() {
        double(out, equal);
    } else {
        wrapped(out, "$numberDecimal", |out| {
            // Writing to a Vec cannot fail.
            _ = write!(out, "{}", value.normalised());
        });
    }
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Unwritable> {
    let (subtype, payload) = elements::binary(bytes)?;
    let payload =
        if subtype == 2 { elements::old_binary(payload).ok_or(Unwritable::NoText)? } else { payload };
    out.extend_from_slice(b"{\"$binary\":{\"base64\":\"");
    json::base64(out, payload);
    out.extend_from_slice(b"\",\"subType\":\"");
    json::hex(out, &[subtype]);
    out.extend_from_slice(b"\"}}");
    Ok(())
}

/// A message key that is not the text of an `_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message key is not the canonical JSON text of an _id")
    }
}

impl std::error::Error for KeyError {}

/// A row's id as text, from the message key alone: an ObjectId's 24 hexadecimal digits, a string itself,
/// otherwise the key's text.
///
/// A string that could be taken for something else keeps the quotes of its key: 24 hexadecimal digits, one
/// that begins with `{`, `[` or `"`, and `true`, `false` and `null`, which are the keys of those values. So
/// two ids share a text only where they share a key.
///
/// # Errors
/// Where the key is not JSON text.
pub fn row_id_text(key: &[u8]) -> Result<Cow<'_, str>, KeyError> {
    let key = std::str::from_utf8(key).map_err(|_| KeyError)?;
    let shape_of_id = |text: &str| text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(id) = key.strip_prefix("{\"$oid\":\"").and_then(|rest| rest.strip_suffix("\"}")) {
        return if shape_of_id(id) { Ok(Cow::Borrowed(id)) } else { Err(KeyError) };
    }
    match key.as_bytes().first() {
        None => Err(KeyError),
        Some(b'"') => {
            let text = crate::scan::string(key).ok_or(KeyError)?;
            let ambiguous = shape_of_id(&text)
                || text.starts_with(['{', '[', '"'])
                || matches!(&*text, "true" | "false" | "null");
            Ok(if ambiguous { Cow::Borrowed(key) } else { text })
        }
        Some(b'{' | b'[') => Ok(Cow::Borrowed(key)),
        Some(_) if matches!(key, "true" | "false" | "null") => Ok(Cow::Borrowed(key)),
        Some(_) => Err(KeyError),
    }
}
