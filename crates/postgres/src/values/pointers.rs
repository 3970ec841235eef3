//! What the pointers of a message's sidecar name.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cdc_event::{Envelope, FullDocument, Member, TypeIndex};

use crate::values::value_to_column;

/// The top-level field of the document that a pointer of `bson_types` leads into, and the rest of the pointer; `None` where it
/// leads elsewhere.
pub(crate) fn document_field(pointer: &str) -> Option<(Cow<'_, str>, &str)> {
    let path = pointer.strip_prefix(Member::FullDocument.pointer())?.strip_prefix('/')?;
    let (segment, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    if !segment.contains('~') {
        return Some((Cow::Borrowed(segment), rest));
    }
    // RFC 6901, section 4: in this order, so that `~01` is `~1`.
    Some((Cow::Owned(segment.replace("~1", "/").replace("~0", "~")), rest))
}

/// What a mirror table keeps beside the document: the types of the document's values, its raw BSON where
/// there is one, and its exact JSON under `raw_json`, in base64, where `jsonb` shows U+FFFD for U+0000.
pub(crate) fn mirrored_types(envelope: &Envelope<'_>, sidecar: &TypeIndex) -> Option<String> {
    let FullDocument::Present(document) = envelope.full_document else { return None };
    let mut members = serde_json::Map::new();
    let member = Member::FullDocument.pointer();
    for (pointer, bson_type) in sidecar.iter() {
        if pointer.strip_prefix(member).is_some_and(|rest| rest.starts_with('/')) {
            let pointers =
                members.entry(bson_type.to_string()).or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let serde_json::Value::Array(pointers) = pointers {
                pointers.push(pointer.into());
            }
        }
    }
    let raw = envelope.raw_bson_of(Member::FullDocument);
    if let Some(base64) = &raw {
        members.insert("raw_bson".to_owned(), serde_json::json!({ member: base64 }));
    } else if value_to_column::holds_nul(document) {
        members.insert("raw_json".to_owned(), BASE64.encode(document).into());
    }
    (!members.is_empty()).then(|| serde_json::Value::Object(members).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_name_fields() {
        let field = |pointer| document_field(pointer).map(|(field, rest)| (field.into_owned(), rest));
        assert_eq!(field("/full_document/a~1b~0c"), Some(("a/b~c".to_owned(), "")));
        assert_eq!(field("/full_document/~01"), Some(("~1".to_owned(), "")));
        assert_eq!(field("/full_document/a.b"), Some(("a.b".to_owned(), "")));
        assert_eq!(field("/full_document/"), Some((String::new(), "")));
        assert_eq!(field("/full_document/a/b~0"), Some(("a".to_owned(), "/b~0")));
        assert_eq!(document_field("/document_key/a"), None);
    }
}
