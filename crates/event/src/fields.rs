use std::borrow::Cow;

use crate::envelope::Member;
use crate::scan::{self, Members};
use crate::types::BsonType;

/// The fields of a JSON object, in their order: each key decoded, each value as its JSON text. Nothing is
/// allocated unless a key has escapes. Of text that is not JSON the readable part is given.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    members: Option<Members<'a>>,
}

impl<'a> Fields<'a> {
    /// The fields of this object; none where the text is no object.
    #[must_use]
    pub fn of(object: &'a str) -> Self {
        Self { members: Members::object(object) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.members.as_mut()?.next_pair()?;
        Some((scan::string(key)?, value))
    }
}

/// The value at a path of keys (`["stats", "level"]`) inside an object, as JSON text. Of equal keys the last
/// counts. `None` where there is no such field, or where a step on the way is no document. An array is not
/// descended into.
#[must_use]
pub fn lookup<'a>(object: &'a str, path: &[&str]) -> Option<&'a str> {
    let (first, rest) = path.split_first()?;
    let found = Fields::of(object).filter(|(key, _)| key == first).last()?.1;
    if rest.is_empty() { Some(found) } else { lookup(found, rest) }
}

/// The types that a message's `bson_types` names, ready to be asked. The buffers are reused from message to
/// message.
#[derive(Debug, Default)]
pub struct TypeIndex {
    pointers: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    kind: BsonType,
    start: usize,
    end: usize,
}

/// The `bson_types` are not an object of known types with lists of pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypesError;

impl std::fmt::Display for TypesError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the message's bson_types are not lists of JSON Pointers under known type names")
    }
}

impl std::error::Error for TypesError {}

impl TypeIndex {
    /// Takes in a message's `bson_types` in place of the last message's; none empties the index.
    ///
    /// # Errors
    /// Where the text is not what `bson_types` holds. An unknown type is an error, since its values would
    /// otherwise be taken for something else.
    pub fn load(&mut self, bson_types: Option<&str>) -> Result<(), TypesError> {
        self.pointers.clear();
        self.entries.clear();
        let Some(text) = bson_types else { return Ok(()) };
        let mut pairs = Members::object(text).ok_or(TypesError)?;
        while let Some((name, list)) = pairs.next_pair() {
            let kind = scan::string(name).and_then(|name| BsonType::from_name(&name)).ok_or(TypesError)?;
            let mut values = Members::array(list).ok_or(TypesError)?;
            while let Some(value) = values.next_value() {
                let start = self.pointers.len();
                self.pointers.push_str(&scan::string(value).ok_or(TypesError)?);
                self.entries.push(Entry { kind, start, end: self.pointers.len() });
            }
        }
        Ok(())
    }

    /// The type of the value at this path in this member; `None` where its JSON spelling implies it.
    #[must_use]
    pub fn get(&self, member: Member, path: &[&str]) -> Option<BsonType> {
        let shortest = member.pointer().len() + path.iter().map(|key| key.len() + 1).sum::<usize>();
        self.entries
            .iter()
            .find(|entry| entry.end - entry.start >= shortest && points_at(self.pointer(entry), member, path))
            .map(|entry| entry.kind)
    }

    /// Every pointer with its type, in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = (&str, BsonType)> {
        self.entries.iter().map(|entry| (self.pointer(entry), entry.kind))
    }

    /// True where every value's type is implied by its spelling.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn pointer(&self, entry: &Entry) -> &str {
        self.pointers.get(entry.start..entry.end).unwrap_or_default()
    }
}

/// True where the pointer is the member's, followed by the path's keys in RFC 6901's escapes.
fn points_at(pointer: &str, member: Member, path: &[&str]) -> bool {
    let Some(mut rest) = pointer.strip_prefix(member.pointer()) else { return false };
    for key in path {
        let Some(segment) = rest.strip_prefix('/') else { return false };
        let Some(after) = strip_escaped(segment, key) else { return false };
        rest = after;
    }
    rest.is_empty()
}

fn strip_escaped<'p>(mut segment: &'p str, key: &str) -> Option<&'p str> {
    for part in key.split_inclusive(['~', '/']) {
        let (plain, escape) = match part.strip_suffix('~') {
            Some(plain) => (plain, "~0"),
            None => part.strip_suffix('/').map_or((part, ""), |plain| (plain, "~1")),
        };
        segment = segment.strip_prefix(plain)?.strip_prefix(escape)?;
    }
    Some(segment)
}
