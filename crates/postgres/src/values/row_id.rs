//! From a record's `_id` to the columns of its row's id.

use std::borrow::Cow;

use cdc_event::{Envelope, Fields, Member, TypeIndex, Value, lookup, row_id_text};
use cdc_syncer::Reject;

use crate::table::Table;
use crate::table::column::Column;
use crate::table::column_type::ColumnType;
use crate::values::buffer::ColumnBuffer;
use crate::values::id_to_column;
use crate::values::value_to_column::{Mismatch, write_text};

/// What a record says of its `_id`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowId<'r, 'a> {
    /// The row's id as text.
    pub(crate) text: &'r str,
    /// The message; `None` where it cannot be read.
    pub(crate) envelope: Option<&'r Envelope<'a>>,
    pub(crate) types: &'r TypeIndex,
}

/// Why an `_id` has no place in a column, in words that continue after the column's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoPlace {
    pub(crate) reason: Reject,
    pub(crate) what: String,
}

impl NoPlace {
    fn new(reason: Reject, what: impl Into<String>) -> Self {
        Self { reason, what: what.into() }
    }
}

/// The fields of a composed `_id` that a table has columns for, in the order that an `_id` has to have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdParts {
    /// As they are spelled in a message's key.
    keys: Vec<String>,
}

impl IdParts {
    pub(crate) fn of(table: &Table) -> Self {
        let parts = table.ids().iter().filter_map(|column| column.path.part_of_id());
        // A key's own `$` is doubled at the front, so that no document passes for one of its wrappers.
        Self {
            keys: parts
                .map(|part| if part.starts_with('$') { format!("${part}") } else { part.to_owned() })
                .collect(),
        }
    }

    /// The texts of the fields. A record whose `_id` has others, or these in another order, is another document's than any
    /// row could say.
    fn of_id<'i>(&self, id: &'i str) -> Result<Vec<&'i str>, NoPlace> {
        let found: Vec<_> = Fields::of(id).collect();
        let same = found.len() == self.keys.len()
            && found.iter().zip(&self.keys).all(|((key, _), wanted)| key == wanted);
        if id.starts_with('{') && same {
            return Ok(found.into_iter().map(|(_, text)| text).collect());
        }
        let what = format!(
            "the _id has to be a document of exactly the fields {}, in this order",
            self.keys.join(", ")
        );
        Err(NoPlace::new(Reject::TypeConflict, what))
    }
}

/// Appends what one of the id's columns takes.
///
/// # Errors
/// Where the column cannot hold exactly this `_id`, or could not tell it from another one. The column is as before.
pub(crate) fn push(
    id: RowId<'_, '_>,
    place: usize,
    column: &Column,
    parts: &IdParts,
    buffer: &mut ColumnBuffer,
) -> Result<(), NoPlace> {
    let part = column.path.part_of_id();
    let text = match part {
        None => Cow::Borrowed(id.text),
        Some(_) => {
            let texts = parts.of_id(id.text)?;
            let text = texts.get(place).copied().unwrap_or_default();
            row_id_text(text.as_bytes())
                .map_err(|_| NoPlace::new(Reject::Malformed, "the message's key is not the text of an _id"))?
        }
    };
    if let ColumnType::Text { max_chars, .. } = column.column_type {
        return buffer
            .push_with(|out| write_text(&text, max_chars, out))
            .map_err(|mismatch| refused(mismatch, "_id"));
    }
    let envelope = id
        .envelope
        .ok_or_else(|| NoPlace::new(Reject::Malformed, "a body that cannot be read tells no value for it"))?;
    let keys = ["_id", part.unwrap_or_default()];
    let path = if part.is_some() { &keys[..] } else { &keys[..1] };
    let json = envelope.document_key.and_then(|key| lookup(key, path));
    let json = json.ok_or_else(|| NoPlace::new(Reject::Malformed, "the message has no document_key._id"))?;
    if envelope.raw_bson_of(Member::DocumentKey).is_some() {
        let what = "the document key has values that its JSON does not show, and which only an id column of type text \
                    tells apart";
        return Err(NoPlace::new(Reject::TypeConflict, what));
    }
    let value = Value::read(json, id.types.get(Member::DocumentKey, path)).map_err(|_| {
        NoPlace::new(Reject::Malformed, "the _id and its entry in bson_types do not go together")
    })?;
    buffer
        .push_with(|out| id_to_column::write(&value, json, column, out))
        .map_err(|mismatch| refused(mismatch, value.type_name()))
}

fn refused(mismatch: Mismatch, value: &str) -> NoPlace {
    NoPlace::new(mismatch.reason, format!("value of type {value}: {}", mismatch.what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_composed_id_has_exactly_its_fields_in_their_order() {
        let parts = IdParts { keys: vec!["tenant".to_owned(), "$$n".to_owned()] };
        let id = "{\"tenant\":\"a\",\"$$n\":{\"$numberInt\":\"1\"}}";
        assert_eq!(parts.of_id(id).unwrap(), ["\"a\"", "{\"$numberInt\":\"1\"}"]);
        for other in [
            "a",
            "{\"$oid\":\"507f1f77bcf86cd799439011\"}",
            "{\"tenant\":\"a\"}",
            "{\"$$n\":{\"$numberInt\":\"1\"},\"tenant\":\"a\"}",
            "{\"tenant\":\"a\",\"$$n\":{\"$numberInt\":\"1\"},\"more\":null}",
            "[\"a\",{\"$numberInt\":\"1\"}]",
        ] {
            assert_eq!(parts.of_id(other).unwrap_err().reason, Reject::TypeConflict, "{other}");
        }
    }
}
