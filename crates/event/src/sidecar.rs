//! What plain JSON does not show: the types of values by JSON Pointer (RFC 6901), and whole documents in
//! base64 where JSON cannot address their values.

use std::borrow::Cow;

use crate::json;
use crate::types::BsonType;

/// The most bytes of pointers in one message. A member that needs more travels in `raw_bson` instead: deep
/// paths over many small values could otherwise multiply a document's size.
const MAX_POINTER_BYTES: usize = 16 << 20;

/// Collects one message's sidecar. The buffers are reused from message to message.
#[derive(Debug, Default)]
pub(crate) struct Sidecar {
    /// The pointer to the value's container, escaped twice: as a pointer, then as JSON.
    path: Vec<u8>,
    pointers: Vec<u8>,
    entries: Vec<Entry>,
    raw: Vec<(&'static str, std::ops::Range<usize>)>,
    raw_text: Vec<u8>,
    full: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: BsonType,
    end: u32,
    start: u32,
}

/// A state to come back to, when a member has to be written again.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    entries: usize,
    pointers: usize,
}

impl Sidecar {
    pub(crate) fn clear(&mut self) {
        self.path.clear();
        self.pointers.clear();
        self.entries.clear();
        self.raw.clear();
        self.raw_text.clear();
        self.full = false;
    }

    /// Frees what one giant document needed.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.clear();
        self.pointers.shrink_to(bytes);
        self.raw_text.shrink_to(bytes);
        self.path.shrink_to(bytes);
        self.entries.shrink_to(bytes / size_of::<Entry>());
    }

    /// Begins a member: `/full_document`.
    pub(crate) fn begin(&mut self, pointer: &str) {
        self.path.clear();
        self.path.extend_from_slice(pointer.as_bytes());
        self.full = false;
    }

    /// Goes into a container; the answer leads back out of it.
    #[inline]
    pub(crate) fn enter(&mut self, key: &[u8]) -> usize {
        let back = self.path.len();
        // Within the bound no pointer can need more than this, so a path beyond it is never written.
        if back <= MAX_POINTER_BYTES {
            push_segment(&mut self.path, key);
        } else {
            self.full = true;
        }
        back
    }

    #[inline]
    pub(crate) fn leave(&mut self, back: usize) {
        self.path.truncate(back);
    }

    /// Notes the type of the container's value under this key.
    #[inline]
    pub(crate) fn note(&mut self, kind: BsonType, key: &[u8]) {
        let start = self.pointers.len();
        if self.full || start + self.path.len() + key.len() > MAX_POINTER_BYTES {
            self.full = true;
            return;
        }
        self.pointers.extend_from_slice(&self.path);
        push_segment(&mut self.pointers, key);
        // The bound, with one segment's escapes on top, is far below 4 GiB.
        self.entries.push(Entry { kind, start: start as u32, end: self.pointers.len() as u32 });
    }

    /// True once the pointers no longer fit; they are incomplete then.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Takes no more pointers for this member.
    pub(crate) fn refuse(&mut self) {
        self.full = true;
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { entries: self.entries.len(), pointers: self.pointers.len() }
    }

    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.entries.truncate(mark.entries);
        self.pointers.truncate(mark.pointers);
    }

    /// Carries the member's document whole.
    pub(crate) fn add_raw(&mut self, pointer: &'static str, document: &[u8]) {
        let start = self.raw_text.len();
        json::base64(&mut self.raw_text, document);
        self.raw.push((pointer, start..self.raw_text.len()));
    }

    /// `,"bson_types":{…}` and `,"raw_bson":{…}`, each only where there is something to say. Types stand in
    /// the order of [`BsonType`], pointers in document order.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        if !self.entries.is_empty() {
            self.entries.sort_unstable_by_key(|entry| (entry.kind, entry.start));
            out.extend_from_slice(b",\"bson_types\":{");
            let mut previous = None;
            for entry in &self.entries {
                match previous {
                    Some(kind) if kind == entry.kind => out.push(b','),
                    _ => {
                        if previous.is_some() {
                            out.extend_from_slice(b"],");
                        }
                        out.push(b'"');
                        entry.kind.write_name(out);
                        out.extend_from_slice(b"\":[");
                    }
                }
                previous = Some(entry.kind);
                out.push(b'"');
                out.extend_from_slice(&self.pointers[entry.start as usize..entry.end as usize]);
                out.push(b'"');
            }
            out.extend_from_slice(b"]}");
        }
        for (index, (pointer, range)) in self.raw.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"raw_bson\":{\"" } else { b",\"" });
            out.extend_from_slice(pointer.as_bytes());
            out.extend_from_slice(b"\":\"");
            out.extend_from_slice(&self.raw_text[range.clone()]);
            out.push(b'"');
        }
        if !self.raw.is_empty() {
            out.push(b'}');
        }
    }
}

/// `/` and the key: `~` and `/` escaped as RFC 6901 says, then JSON's own escapes.
fn push_segment(out: &mut Vec<u8>, key: &[u8]) {
    out.push(b'/');
    if key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        out.extend_from_slice(key);
        return;
    }
    let key: Cow<'_, str> = String::from_utf8_lossy(key);
    let mut rest = &*key;
    while let Some(at) = rest.find(['~', '/']) {
        let (plain, special) = rest.split_at(at);
        json::escape(out, plain);
        out.extend_from_slice(if special.starts_with('~') { b"~0" } else { b"~1" });
        rest = &special[1..];
    }
    json::escape(out, rest);
}
