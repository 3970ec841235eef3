//! A member of the envelope, JSON with its types beside it, as BSON bytes.

use crate::bson_to_json::MAX_DEPTH;
use crate::documents_error::DocumentsError;
use crate::elements::tag;
use crate::envelope::Member;
use crate::fields::{TypeIndex, lookup};
use crate::scan::{self, Members};
use crate::types::BsonType;
use crate::{Value, decode_base64};

/// The types by their pointers, sorted; those of members that travel whole are left out.
pub(crate) struct Places<'t> {
    sorted: Vec<(&'t str, BsonType)>,
    found: usize,
    /// The pointer to the value being written.
    path: String,
}

impl<'t> Places<'t> {
    pub(crate) fn of(types: &'t TypeIndex, is_raw: impl Fn(Member) -> bool) -> Result<Self, DocumentsError> {
        let mut sorted = Vec::new();
        for (pointer, kind) in types.iter() {
            let member = member_of(pointer).ok_or(DocumentsError::Types)?;
            if !is_raw(member) {
                sorted.push((pointer, kind));
            }
        }
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(member_of(pair[0].0).map_or(DocumentsError::Types, DocumentsError::TwoTypes));
        }
        Ok(Self { sorted, found: 0, path: String::new() })
    }

    /// The type of the value at the path.
    fn take(&mut self) -> Option<BsonType> {
        let at = self.sorted.binary_search_by(|(pointer, _)| (**pointer).cmp(&self.path)).ok()?;
        // A path is met once: no document that is written here has a key twice.
        self.found += 1;
        self.sorted.get(at).map(|(_, kind)| *kind)
    }

    /// True once every type has found its value.
    pub(crate) fn all_found(&self) -> bool {
        self.found == self.sorted.len()
    }

    /// Goes below a key; the answer leads back.
    fn enter(&mut self, key: &str) -> usize {
        let back = self.path.len();
        self.path.push('/');
        for char in key.chars() {
            match char {
                '~' => self.path.push_str("~0"),
                '/' => self.path.push_str("~1"),
                _ => self.path.push(char),
            }
        }
        back
    }

    fn leave(&mut self, back: usize) {
        self.path.truncate(back);
    }
}

/// The member that the pointer leads into.
fn member_of(pointer: &str) -> Option<Member> {
    Member::ALL
        .into_iter()
        .find(|member| pointer.strip_prefix(member.pointer()).is_some_and(|rest| rest.starts_with('/')))
}

/// The member's document.
pub(crate) fn member(places: &mut Places<'_>, member: Member, text: &str) -> Result<Vec<u8>, DocumentsError> {
    places.path.clear();
    places.path.push_str(member.pointer());
    let mut writer = Writer { out: Vec::with_capacity(text.len()), places, member };
    match member {
        Member::DocumentKey | Member::FullDocument => writer.document(text, 1)?,
        Member::UpdateDesc => writer.update_description(text)?,
    }
    Ok(writer.out)
}

struct Writer<'p, 't> {
    out: Vec<u8>,
    places: &'p mut Places<'t>,
    member: Member,
}

impl Writer<'_, '_> {
    fn document(&mut self, text: &str, depth: u32) -> Result<(), DocumentsError> {
        let start = self.open(depth)?;
        let mut pairs = Members::object(text).ok_or(self.wrong(None))?;
        let mut keys = Vec::new();
        while let Some((key, value)) = pairs.next_pair() {
            let key = scan::string(key).ok_or(self.wrong(None))?;
            self.element(&key, value, depth)?;
            keys.push(key);
        }
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DocumentsError::KeyTwice(self.member));
        }
        self.close(start)
    }

    fn array(&mut self, text: &str, depth: u32) -> Result<(), DocumentsError> {
        let start = self.open(depth)?;
        let mut values = Members::array(text).ok_or(self.wrong(None))?;
        let mut digits = itoa::Buffer::new();
        let mut index = 0_usize;
        while let Some(value) = values.next_value() {
            self.element(digits.format(index), value, depth)?;
            index += 1;
        }
        self.close(start)
    }

    fn element(&mut self, key: &str, text: &str, depth: u32) -> Result<(), DocumentsError> {
        let back = self.places.enter(key);
        let kind = self.places.take();
        let value = Value::read(text, kind).map_err(|error| self.wrong(error.kind))?;
        self.out.push(tag_of(&value));
        self.cstring(key)?;
        self.value(&value, kind, depth)?;
        self.places.leave(back);
        Ok(())
    }

    fn value(&mut self, value: &Value<'_>, kind: Option<BsonType>, depth: u32) -> Result<(), DocumentsError> {
        match value {
            Value::Null | Value::Undefined | Value::MinKey | Value::MaxKey => {}
            Value::Bool(value) => self.out.push(u8::from(*value)),
            Value::Int32(value) => self.out.extend_from_slice(&value.to_le_bytes()),
            Value::Int64(value) | Value::Date(value) => self.out.extend_from_slice(&value.to_le_bytes()),
            Value::Double(value) => self.out.extend_from_slice(&value.to_bits().to_le_bytes()),
            Value::Decimal(value) => {
                let bytes = value.to_bson().ok_or(self.wrong(kind))?;
                self.out.extend_from_slice(&bytes);
            }
            Value::String(text) | Value::JavaScript(text) | Value::Symbol(text) => self.string(text)?,
            Value::ObjectId(digits) => self.object_id(digits, kind)?,
            Value::Timestamp(time) => {
                self.out.extend_from_slice(&time.i.to_le_bytes());
                self.out.extend_from_slice(&time.t.to_le_bytes());
            }
            Value::Binary { subtype, base64 } => {
                let payload = decode_base64(base64).ok_or(self.wrong(kind))?;
                self.binary(*subtype, &payload)?;
            }
            Value::Uuid(text) => {
                let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').collect();
                let mut bytes = [0; 16];
                scan::hex(&digits, &mut bytes).ok_or(self.wrong(kind))?;
                self.binary(4, &bytes)?;
            }
            Value::Regex { pattern, options } => {
                self.cstring(pattern)?;
                self.cstring(options)?;
            }
            Value::JavaScriptWithScope { code, scope } => {
                let start = self.out.len();
                self.out.extend_from_slice(&[0; 4]);
                self.string(code)?;
                let back = self.places.enter("scope");
                self.document(scope, depth + 1)?;
                self.places.leave(back);
                self.set_length(start)?;
            }
            Value::DbPointer { namespace, id } => {
                self.string(namespace)?;
                self.object_id(id, kind)?;
            }
            Value::Document(text) => self.document(text, depth + 1)?,
            Value::Array(text) => self.array(text, depth + 1)?,
        }
        Ok(())
    }

    /// In MongoDB's own words and order.
    fn update_description(&mut self, text: &str) -> Result<(), DocumentsError> {
        let start = self.open(1)?;
        self.header(tag::DOCUMENT, "updatedFields")?;
        let back = self.places.enter("updated_fields");
        self.document(lookup(text, &["updated_fields"]).ok_or(self.wrong(None))?, 1)?;
        self.places.leave(back);
        self.header(tag::ARRAY, "removedFields")?;
        self.list(lookup(text, &["removed_fields"]).ok_or(self.wrong(None))?, |writer, index, name| {
            writer.header(tag::STRING, index)?;
            writer.name(name)
        })?;
        if let Some(arrays) = lookup(text, &["truncated_arrays"]) {
            self.header(tag::ARRAY, "truncatedArrays")?;
            self.list(arrays, |writer, index, array| {
                writer.header(tag::DOCUMENT, index)?;
                writer.truncated_array(array)
            })?;
        }
        self.close(start)
    }

    fn truncated_array(&mut self, text: &str) -> Result<(), DocumentsError> {
        let wrong = self.wrong(None);
        let start = self.open(1)?;
        self.header(tag::STRING, "field")?;
        self.name(lookup(text, &["field"]).ok_or(wrong)?)?;
        match lookup(text, &["new_size"]).and_then(|size| Value::read(size, None).ok()) {
            Some(Value::Int32(size)) => {
                self.header(tag::INT32, "newSize")?;
                self.out.extend_from_slice(&size.to_le_bytes());
            }
            Some(Value::Int64(size)) => {
                self.header(tag::INT64, "newSize")?;
                self.out.extend_from_slice(&size.to_le_bytes());
            }
            Some(_) | None => return Err(wrong),
        }
        self.close(start)
    }

    fn list(
        &mut self,
        text: &str,
        mut write: impl FnMut(&mut Self, &str, &str) -> Result<(), DocumentsError>,
    ) -> Result<(), DocumentsError> {
        let start = self.open(1)?;
        let mut values = Members::array(text).ok_or(self.wrong(None))?;
        let mut digits = itoa::Buffer::new();
        let mut index = 0_usize;
        while let Some(value) = values.next_value() {
            write(self, digits.format(index), value)?;
            index += 1;
        }
        self.close(start)
    }

    fn name(&mut self, text: &str) -> Result<(), DocumentsError> {
        let name = scan::string(text).ok_or(self.wrong(None))?;
        self.string(&name)
    }

    fn header(&mut self, tag: u8, key: &str) -> Result<(), DocumentsError> {
        self.out.push(tag);
        self.cstring(key)
    }

    fn cstring(&mut self, text: &str) -> Result<(), DocumentsError> {
        if text.contains('\0') {
            return Err(DocumentsError::ZeroByte(self.member));
        }
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), DocumentsError> {
        self.length(text.len() + 1)?;
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(0);
        Ok(())
    }

    /// The old subtype carries its length a second time.
    fn binary(&mut self, subtype: u8, payload: &[u8]) -> Result<(), DocumentsError> {
        let old = subtype == 2;
        self.length(payload.len() + if old { 4 } else { 0 })?;
        self.out.push(subtype);
        if old {
            self.length(payload.len())?;
        }
        self.out.extend_from_slice(payload);
        Ok(())
    }

    fn object_id(&mut self, digits: &str, kind: Option<BsonType>) -> Result<(), DocumentsError> {
        let mut bytes = [0; 12];
        scan::hex(digits.as_bytes(), &mut bytes).ok_or(self.wrong(kind))?;
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    fn length(&mut self, length: usize) -> Result<(), DocumentsError> {
        let length = i32::try_from(length).map_err(|_| DocumentsError::TooLarge(self.member))?;
        self.out.extend_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Begins a document or an array; its length comes with [`Self::close`].
    fn open(&mut self, depth: u32) -> Result<usize, DocumentsError> {
        if depth > MAX_DEPTH {
            return Err(DocumentsError::TooDeep(self.member));
        }
        self.out.extend_from_slice(&[0; 4]);
        Ok(self.out.len() - 4)
    }

    fn close(&mut self, start: usize) -> Result<(), DocumentsError> {
        self.out.push(0);
        self.set_length(start)
    }

    fn set_length(&mut self, start: usize) -> Result<(), DocumentsError> {
        let too_large = DocumentsError::TooLarge(self.member);
        let length = i32::try_from(self.out.len() - start).map_err(|_| too_large)?;
        self.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    fn wrong(&self, kind: Option<BsonType>) -> DocumentsError {
        DocumentsError::Value(self.member, kind)
    }
}

fn tag_of(value: &Value<'_>) -> u8 {
    match value {
        Value::Null => tag::NULL,
        Value::Undefined => tag::UNDEFINED,
        Value::MinKey => tag::MIN_KEY,
        Value::MaxKey => tag::MAX_KEY,
        Value::Bool(_) => tag::BOOL,
        Value::Int32(_) => tag::INT32,
        Value::Int64(_) => tag::INT64,
        Value::Double(_) => tag::DOUBLE,
        Value::Decimal(_) => tag::DECIMAL128,
        Value::String(_) => tag::STRING,
        Value::ObjectId(_) => tag::OBJECT_ID,
        Value::Date(_) => tag::DATE,
        Value::Timestamp(_) => tag::TIMESTAMP,
        Value::Binary { .. } | Value::Uuid(_) => tag::BINARY,
        Value::Regex { .. } => tag::REGEX,
        Value::JavaScript(_) => tag::JAVASCRIPT,
        Value::JavaScriptWithScope { .. } => tag::JAVASCRIPT_WITH_SCOPE,
        Value::Symbol(_) => tag::SYMBOL,
        Value::DbPointer { .. } => tag::DB_POINTER,
        Value::Document(_) => tag::DOCUMENT,
        Value::Array(_) => tag::ARRAY,
    }
}
