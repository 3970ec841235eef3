//! A message key read back.

use std::borrow::Cow;

use crate::bson_to_json::MAX_DEPTH;
use crate::elements::{Elements, tag};
use crate::fields::Fields;
use crate::scan::{self, Members};
use crate::{Decimal, KeyError, decode_base64, key};

/// The `_id` that a message key stands for, as the BSON document `{_id: …}`: of all those that MongoDB calls equal, the
/// one with the narrowest numbers, and a string in the place of a symbol. The event's own `_id`, with its types, is in the
/// message's `document_key`; where a message has no body, this finds its document.
///
/// # Errors
/// Where the key is not one that an `_id` has.
pub fn id_of_key(key: &[u8]) -> Result<Vec<u8>, KeyError> {
    let text = std::str::from_utf8(key).map_err(|_| KeyError)?;
    let document = read(text).ok_or(KeyError)?;
    // The one test for everything that is spelled in another way than it is written.
    let id = Elements::new(&document).ok().and_then(|mut elements| elements.next()?.ok()).ok_or(KeyError)?;
    let mut again = Vec::with_capacity(key.len());
    key::write(&mut again, &id).map_err(|_| KeyError)?;
    if again == key { Ok(document) } else { Err(KeyError) }
}

fn read(text: &str) -> Option<Vec<u8>> {
    let mut out = vec![0; 4];
    match without_text(text) {
        Some((id_tag, value)) => {
            out.push(id_tag);
            out.extend_from_slice(b"_id\0");
            out.extend_from_slice(&value);
        }
        None => element(&mut out, "_id", text, 0)?,
    }
    close(&mut out, 0)?;
    Some(out)
}

/// Type and bytes of `{"$bson":{"type":"02","base64":"…"}}`.
fn without_text(text: &str) -> Option<(u8, Vec<u8>)> {
    let [(name, inner)] = pairs(text)?;
    let [(first, id_tag), (second, base64)] = pairs(inner)?;
    if name != "$bson" || first != "type" || second != "base64" {
        return None;
    }
    Some((byte(id_tag)?, decode_base64(&scan::string(base64)?)?))
}

/// The fields of an object that has exactly so many.
fn pairs<const N: usize>(object: &str) -> Option<[(Cow<'_, str>, &str); N]> {
    let mut fields = Fields::of(object);
    let mut pairs: [(Cow<'_, str>, &str); N] = [const { (Cow::Borrowed(""), "") }; N];
    for pair in &mut pairs {
        *pair = fields.next()?;
    }
    fields.next().is_none().then_some(pairs)
}

fn element(out: &mut Vec<u8>, key: &str, text: &str, depth: u32) -> Option<()> {
    let tag_at = out.len();
    out.push(0);
    out.extend_from_slice(key.as_bytes());
    out.push(0);
    out[tag_at] = value(out, text, depth)?;
    (!key.contains('\0')).then_some(())
}

/// Writes the value; its type.
fn value(out: &mut Vec<u8>, text: &str, depth: u32) -> Option<u8> {
    match text.as_bytes().first()? {
        b'"' => {
            string(out, &scan::string(text)?)?;
            Some(tag::STRING)
        }
        b'[' => array(out, text, depth + 1),
        b'{' => match Fields::of(text).next() {
            Some((name, _)) if name.starts_with('$') && !name.starts_with("$$") => wrapped(out, text, depth),
            _ => document(out, text, depth + 1),
        },
        b't' | b'f' => {
            out.push(u8::from(text == "true"));
            Some(tag::BOOL)
        }
        b'n' => Some(tag::NULL),
        _ => None,
    }
}

fn array(out: &mut Vec<u8>, text: &str, depth: u32) -> Option<u8> {
    let start = open(out, depth)?;
    let mut values = Members::array(text)?;
    let mut index = 0_usize;
    while let Some(value) = values.next_value() {
        element(out, itoa::Buffer::new().format(index), value, depth)?;
        index += 1;
    }
    close(out, start)?;
    Some(tag::ARRAY)
}

/// A key of the document's own that begins with `$` has one more in the text.
fn document(out: &mut Vec<u8>, text: &str, depth: u32) -> Option<u8> {
    let start = open(out, depth)?;
    for (key, value) in Fields::of(text) {
        let own = if key.starts_with('$') { key.strip_prefix('$')? } else { &key };
        element(out, own, value, depth)?;
    }
    close(out, start)?;
    Some(tag::DOCUMENT)
}

fn wrapped(out: &mut Vec<u8>, text: &str, depth: u32) -> Option<u8> {
    if let Some([(code, text), (scope, fields)]) = pairs(text) {
        return (code == "$code" && scope == "$scope").then(|| with_scope(out, text, fields, depth))?;
    }
    let [(name, text)] = pairs(text)?;
    Some(match &*name {
        "$oid" => {
            object_id(out, text)?;
            tag::OBJECT_ID
        }
        "$numberInt" => {
            let number: i32 = scan::string(text)?.parse().ok()?;
            out.extend_from_slice(&number.to_le_bytes());
            tag::INT32
        }
        "$numberLong" => {
            out.extend_from_slice(&long(text)?.to_le_bytes());
            tag::INT64
        }
        "$numberDouble" => {
            // Rust reads all that is written: Infinity, -Infinity and NaN too.
            let number: f64 = scan::string(text)?.parse().ok()?;
            out.extend_from_slice(&number.to_le_bytes());
            tag::DOUBLE
        }
        "$numberDecimal" => {
            out.extend_from_slice(&Decimal::parse(&scan::string(text)?)?.to_bson()?);
            tag::DECIMAL128
        }
        "$date" => {
            let [(name, millis)] = pairs(text)?;
            out.extend_from_slice(&(name == "$numberLong").then(|| long(millis))??.to_le_bytes());
            tag::DATE
        }
        "$timestamp" => {
            let [(_, t), (_, i)] = pairs(text)?;
            let (t, i): (u32, u32) = (t.parse().ok()?, i.parse().ok()?);
            out.extend_from_slice(&i.to_le_bytes());
            out.extend_from_slice(&t.to_le_bytes());
            tag::TIMESTAMP
        }
        "$binary" => {
            let [(_, base64), (_, subtype)] = pairs(text)?;
            binary(out, byte(subtype)?, &decode_base64(&scan::string(base64)?)?)?;
            tag::BINARY
        }
        "$regularExpression" => {
            let [(_, pattern), (_, options)] = pairs(text)?;
            for part in [pattern, options] {
                out.extend_from_slice(scan::string(part)?.as_bytes());
                out.push(0);
            }
            tag::REGEX
        }
        "$code" => {
            string(out, &scan::string(text)?)?;
            tag::JAVASCRIPT
        }
        "$dbPointer" => {
            let [(_, namespace), (_, id)] = pairs(text)?;
            string(out, &scan::string(namespace)?)?;
            let [(_, digits)] = pairs(id)?;
            object_id(out, digits)?;
            tag::DB_POINTER
        }
        "$undefined" => tag::UNDEFINED,
        "$minKey" => tag::MIN_KEY,
        "$maxKey" => tag::MAX_KEY,
        _ => return None,
    })
}

fn with_scope(out: &mut Vec<u8>, code: &str, scope: &str, depth: u32) -> Option<u8> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    string(out, &scan::string(code)?)?;
    document(out, scope, depth + 1)?;
    set_length(out, start)?;
    Some(tag::JAVASCRIPT_WITH_SCOPE)
}

fn object_id(out: &mut Vec<u8>, text: &str) -> Option<()> {
    let mut bytes = [0; 12];
    scan::hex(scan::string(text)?.as_bytes(), &mut bytes)?;
    out.extend_from_slice(&bytes);
    Some(())
}

fn long(text: &str) -> Option<i64> {
    scan::string(text)?.parse().ok()
}

fn byte(text: &str) -> Option<u8> {
    let mut bytes = [0; 1];
    scan::hex(scan::string(text)?.as_bytes(), &mut bytes)?;
    Some(bytes[0])
}

fn string(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&i32::try_from(text.len() + 1).ok()?.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    Some(())
}

fn binary(out: &mut Vec<u8>, subtype: u8, payload: &[u8]) -> Option<()> {
    let inner = i32::try_from(payload.len()).ok()?;
    let old = subtype == 2;
    out.extend_from_slice(&inner.checked_add(if old { 4 } else { 0 })?.to_le_bytes());
    out.push(subtype);
    if old {
        out.extend_from_slice(&inner.to_le_bytes());
    }
    out.extend_from_slice(payload);
    Some(())
}

fn open(out: &mut Vec<u8>, depth: u32) -> Option<usize> {
    if depth > MAX_DEPTH {
        return None;
    }
    out.extend_from_slice(&[0; 4]);
    Some(out.len() - 4)
}

fn close(out: &mut Vec<u8>, start: usize) -> Option<()> {
    out.push(0);
    set_length(out, start)
}

fn set_length(out: &mut [u8], start: usize) -> Option<()> {
    let length = i32::try_from(out.len() - start).ok()?;
    out.get_mut(start..start + 4)?.copy_from_slice(&length.to_le_bytes());
    Some(())
}
