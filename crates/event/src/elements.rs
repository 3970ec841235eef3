//! A total reader of raw BSON: any bytes give elements or [`Malformed`], never a panic.
//!
//! Unlike a driver's reader it hands out keys and strings as bytes, because a document that JSON cannot
//! address (invalid UTF-8, duplicate keys, …) must still get through. Layout: <https://bsonspec.org/spec.html>.

use std::fmt;

/// The element types, by their tag byte.
pub(crate) mod tag {
    pub(crate) const DOUBLE: u8 = 0x01;
    pub(crate) const STRING: u8 = 0x02;
    pub(crate) const DOCUMENT: u8 = 0x03;
    pub(crate) const ARRAY: u8 = 0x04;
    pub(crate) const BINARY: u8 = 0x05;
    pub(crate) const UNDEFINED: u8 = 0x06;
    pub(crate) const OBJECT_ID: u8 = 0x07;
    pub(crate) const BOOL: u8 = 0x08;
    pub(crate) const DATE: u8 = 0x09;
    pub(crate) const NULL: u8 = 0x0A;
    pub(crate) const REGEX: u8 = 0x0B;
    pub(crate) const DB_POINTER: u8 = 0x0C;
    pub(crate) const JAVASCRIPT: u8 = 0x0D;
    pub(crate) const SYMBOL: u8 = 0x0E;
    pub(crate) const JAVASCRIPT_WITH_SCOPE: u8 = 0x0F;
    pub(crate) const INT32: u8 = 0x10;
    pub(crate) const TIMESTAMP: u8 = 0x11;
    pub(crate) const INT64: u8 = 0x12;
    pub(crate) const DECIMAL128: u8 = 0x13;
    pub(crate) const MIN_KEY: u8 = 0xFF;
    pub(crate) const MAX_KEY: u8 = 0x7F;
}

/// The bytes are not BSON: a length leads out of the document, a terminator is missing, a type is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed BSON: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// One element: its type, its key without the terminator, and exactly the bytes of its value.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// The elements of one document or array, in their order. Ends after the first error.
#[derive(Clone)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// The document must fill the slice exactly.
    pub(crate) fn new(document: &'a [u8]) -> Result<Self, Malformed> {
        if length_at(document, 0) != Some(document.len()) {
            return Err(Malformed("a document's length is not that of its bytes"));
        }
        match document {
            [_, _, _, _, rest @ .., 0] => Ok(Self { rest }),
            _ => Err(Malformed("a document has no terminator")),
        }
    }

    fn read(&mut self) -> Result<Element<'a>, Malformed> {
        let (&tag, rest) = self.rest.split_first().ok_or(Malformed("no element"))?;
        let (key, rest) = split_cstring(rest).ok_or(Malformed("a key has no terminator"))?;
        let size = value_size(tag, rest)?;
        let (value, rest) =
            rest.split_at_checked(size).ok_or(Malformed("a value leads out of its document"))?;
        self.rest = rest;
        Ok(Element { tag, key, value })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let element = self.read();
        if element.is_err() {
            self.rest = &[];
        }
        Some(element)
    }
}

/// How many bytes the value at the start of `rest` takes.
fn value_size(tag: u8, rest: &[u8]) -> Result<usize, Malformed> {
    const OUT: Malformed = Malformed("a length is negative or leads out of its document");
    Ok(match tag {
        tag::UNDEFINED | tag::NULL | tag::MIN_KEY | tag::MAX_KEY => 0,
        tag::BOOL => 1,
        tag::INT32 => 4,
        tag::DOUBLE | tag::DATE | tag::TIMESTAMP | tag::INT64 => 8,
        tag::OBJECT_ID => 12,
        tag::DECIMAL128 => 16,
        tag::STRING | tag::JAVASCRIPT | tag::SYMBOL => 4 + length_at(rest, 0).ok_or(OUT)?,
        tag::BINARY => 5 + length_at(rest, 0).ok_or(OUT)?,
        tag::DB_POINTER => 16 + length_at(rest, 0).ok_or(OUT)?,
        tag::DOCUMENT | tag::ARRAY | tag::JAVASCRIPT_WITH_SCOPE => length_at(rest, 0).ok_or(OUT)?,
        tag::REGEX => {
            let (pattern, rest) = split_cstring(rest).ok_or(OUT)?;
            let (options, _) = split_cstring(rest).ok_or(OUT)?;
            pattern.len() + options.len() + 2
        }
        _ => return Err(Malformed("a type that BSON does not have")),
    })
}

/// The little-endian length at `offset`; `None` where it is cut off or negative.
fn length_at(bytes: &[u8], offset: usize) -> Option<usize> {
    let length = i32::from_le_bytes(fixed(bytes.get(offset..)?)?);
    usize::try_from(length).ok()
}

/// The first `N` bytes.
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk().copied()
}

/// What precedes the first zero byte, and what follows it.
pub(crate) fn split_cstring(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// The contents of a length-prefixed string that fills the slice.
pub(crate) fn string_bytes(value: &[u8]) -> Result<&[u8], Malformed> {
    match value {
        [_, _, _, _, text @ .., 0] => Ok(text),
        _ => Err(Malformed("a string has no terminator")),
    }
}

/// A binary's subtype and payload, the inner length of subtype 2 included.
pub(crate) fn binary(value: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    match value {
        [_, _, _, _, subtype, payload @ ..] => Ok((*subtype, payload)),
        _ => Err(Malformed("a binary is cut off")),
    }
}

/// The payload of subtype 2 behind its inner length; `None` where that length is broken.
pub(crate) fn old_binary(payload: &[u8]) -> Option<&[u8]> {
    (length_at(payload, 0)? == payload.len() - 4).then(|| payload.get(4..))?
}

/// Namespace and id of a DBPointer.
pub(crate) fn db_pointer(value: &[u8]) -> Result<(&[u8], &[u8; 12]), Malformed> {
    let (namespace, id) = value.split_last_chunk::<12>().ok_or(Malformed("a DBPointer is cut off"))?;
    Ok((string_bytes(namespace)?, id))
}

/// Code and scope of JavaScript with scope.
pub(crate) fn javascript_with_scope(value: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    const BROKEN: Malformed = Malformed("JavaScript with scope whose lengths disagree");
    let inner = value.get(4..).ok_or(BROKEN)?;
    let length = length_at(inner, 0).ok_or(BROKEN)?;
    let (code, scope) = inner.split_at_checked(4 + length).ok_or(BROKEN)?;
    Ok((string_bytes(code)?, scope))
}

/// Pattern and options of a regular expression.
pub(crate) fn regex(value: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    const BROKEN: Malformed = Malformed("a regular expression is cut off");
    let (pattern, rest) = split_cstring(value).ok_or(BROKEN)?;
    let (options, _) = split_cstring(rest).ok_or(BROKEN)?;
    Ok((pattern, options))
}

/// A number's bytes, whose count [`Elements`] has seen to.
pub(crate) fn number<const N: usize>(value: &[u8]) -> Result<[u8; N], Malformed> {
    fixed(value).ok_or(Malformed("a number is cut off"))
}
