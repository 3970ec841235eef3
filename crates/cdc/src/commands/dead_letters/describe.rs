use serde_json::{Map, Value, json};

use super::desk::Letter;
use super::selection::fell_at;

/// The columns of the table.
const HEADINGS: [&str; 7] = ["LETTER", "FELL AT", "REASON", "SQLSTATE", "READ FROM", "KEY HASH", "BYTES"];
/// Stands for what there is not.
const NOTHING: &str = "-";

/// A letter's fields, without key and body.
pub(super) fn fields(letter: &Letter) -> Map<String, Value> {
    let dead = &letter.dead;
    let done = letter.done.as_ref();
    let fields = [
        ("letter", json!(letter.place().to_string())),
        ("topic", json!(&*dead.topic)),
        ("partition", json!(dead.partition)),
        ("offset", json!(dead.offset)),
        ("fell_at", json!(fell_at(dead).map(|at| at.to_string()))),
        ("first_fell_at", json!(dead.first_fell_at())),
        ("falls", json!(dead.falls())),
        ("attempts", json!(dead.attempts())),
        ("reason", json!(dead.reason())),
        ("sqlstate", json!(dead.sqlstate())),
        ("message", json!(dead.message())),
        ("source_topic", json!(dead.source_topic())),
        ("source_partition", json!(dead.source_partition())),
        ("source_offset", json!(dead.source_offset())),
        ("position", json!(dead.position())),
        ("key_hash", json!(dead.key_hash())),
        ("bytes", json!(dead.body_bytes())),
        ("body_omitted", json!(dead.omitted_body())),
        ("state", json!(done.map_or("open", |done| done.outcome.as_str()))),
        ("done_at", json!(done.map(|done| &done.at))),
        ("because", json!(done.and_then(|done| done.because.as_ref()))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where the record was read: topic, partition and offset; the topic alone where it never was in there.
pub(super) fn read_from(letter: &Letter) -> String {
    let topic = letter.dead.source_topic().unwrap_or(NOTHING);
    match (letter.dead.source_partition(), letter.dead.source_offset()) {
        (Some(partition), Some(offset)) => format!("{topic}/{partition}/{offset}"),
        _ => topic.to_owned(),
    }
}

/// The lines of a table; `with_state` adds how each letter is done with.
pub(super) fn lines(letters: &[Letter], with_headings: bool, with_state: bool) -> String {
    let mut rows: Vec<Vec<String>> = Vec::with_capacity(letters.len() + 1);
    if with_headings {
        let state = with_state.then(|| "STATE".to_owned());
        rows.push(HEADINGS.iter().map(|heading| (*heading).to_owned()).chain(state).collect());
    }
    for letter in letters {
        let dead = &letter.dead;
        let bytes =
            dead.omitted_body().map_or_else(|| dead.body_bytes().to_string(), |_| "omitted".to_owned());
        let mut row = vec![
            letter.place().to_string(),
            fell_at(dead).map_or_else(|| NOTHING.to_owned(), |at| at.to_string()),
            dead.reason().unwrap_or(NOTHING).to_owned(),
            dead.sqlstate().unwrap_or(NOTHING).to_owned(),
            read_from(letter),
            dead.key_hash(),
            bytes,
        ];
        if with_state {
            row.push(letter.done.as_ref().map_or_else(
                || "open".to_owned(),
                |done| match &done.because {
                    Some(because) => format!("{} {} ({because})", done.outcome.as_str(), done.at),
                    None => format!("{} {}", done.outcome.as_str(), done.at),
                },
            ));
        }
        rows.push(row);
    }
    aligned(&rows)
}

/// Cells below each other, two spaces apart.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Bytes as JSON: text where they are text, else their hexadecimal digits under another name.
pub(super) fn insert_bytes(into: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => drop(into.insert(name.to_owned(), Value::Null)),
        Some(Ok(text)) => drop(into.insert(name.to_owned(), text.into())),
        Some(Err(_)) => drop(into.insert(format!("{name}_hex"), hex(bytes.unwrap_or_default()).into())),
    }
}

/// Text as it is, and other bytes as hexadecimal digits.
pub(super) fn readable(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    std::str::from_utf8(bytes).map_or_else(|_| format!("0x{}", hex(bytes)), str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let rows = [["A", "LONG", "C"], ["aaa", "b", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "A    LONG  C\naaa  b\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_spelled_in_hex() {
        let mut fields = Map::new();
        insert_bytes(&mut fields, "key", Some(b"\"a\""));
        insert_bytes(&mut fields, "body", Some(&[0xff, 0x01]));
        insert_bytes(&mut fields, "none", None);
        assert_eq!(Value::Object(fields).to_string(), r#"{"key":"\"a\"","body_hex":"ff01","none":null}"#);
        assert_eq!(readable(Some(&[0xff])), "0xff");
    }
}
