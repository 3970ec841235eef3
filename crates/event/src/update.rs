//! The description of an update.

use crate::bson_to_json::Walker;
use crate::elements::{self, Element, Elements, Malformed, tag};

/// `{"updated_fields":{…},"removed_fields":[…]}`, and `truncated_arrays` where there are any.
pub(crate) fn write_update(walker: &mut Walker<'_>, description: &[u8]) -> Result<(), Malformed> {
    let (mut updated, mut removed, mut truncated) = (None, None, None);
    for element in Elements::new(description)? {
        let element = element?;
        match (element.key, element.tag) {
            (b"updatedFields", tag::DOCUMENT) => updated = Some(element.value),
            (b"removedFields", tag::ARRAY) => removed = Some(element.value),
            (b"truncatedArrays", tag::ARRAY) => truncated = Some(element.value),
            _ => {}
        }
    }
    walker.raw(b"{\"updated_fields\":");
    match updated {
        Some(fields) => walker.document_under(b"updated_fields", fields)?,
        None => walker.raw(b"{}"),
    }
    walker.raw(b",\"removed_fields\":[");
    if let Some(fields) = removed {
        for (index, element) in Elements::new(fields)?.enumerate() {
            separate(walker, index);
            write_name(walker, &element?)?;
        }
    }
    walker.raw(b"]");
    if let Some(arrays) = truncated {
        write_truncated_arrays(walker, arrays)?;
    }
    walker.raw(b"}");
    Ok(())
}

fn write_truncated_arrays(walker: &mut Walker<'_>, arrays: &[u8]) -> Result<(), Malformed> {
    let mut any = false;
    for (index, element) in Elements::new(arrays)?.enumerate() {
        let element = element?;
        if element.tag != tag::DOCUMENT {
            return Err(Malformed("a truncated array that is not a document"));
        }
        walker.raw(if index == 0 { b",\"truncated_arrays\":[" } else { b"," });
        any = true;
        let (mut field, mut new_size) = (None, None);
        for part in Elements::new(element.value)? {
            let part = part?;
            match (part.key, part.tag) {
                (b"field", tag::STRING) => field = Some(part),
                (b"newSize", tag::INT32) => {
                    new_size = Some(i64::from(i32::from_le_bytes(elements::number(part.value)?)));
                }
                (b"newSize", tag::INT64) => {
                    new_size = Some(i64::from_le_bytes(elements::number(part.value)?));
                }
                _ => {}
            }
        }
        let (Some(field), Some(new_size)) = (field, new_size) else {
            return Err(Malformed("a truncated array without its field or size"));
        };
        walker.raw(b"{\"field\":");
        write_name(walker, &field)?;
        walker.raw(b",\"new_size\":");
        walker.raw(itoa::Buffer::new().format(new_size).as_bytes());
        walker.raw(b"}");
    }
    if any {
        walker.raw(b"]");
    }
    Ok(())
}

fn separate(walker: &mut Walker<'_>, index: usize) {
    if index > 0 {
        walker.raw(b",");
    }
}

fn write_name(walker: &mut Walker<'_>, element: &Element<'_>) -> Result<(), Malformed> {
    if element.tag != tag::STRING {
        return Err(Malformed("a field's name that is not a string"));
    }
    walker.text(elements::string_bytes(element.value)?);
    Ok(())
}
