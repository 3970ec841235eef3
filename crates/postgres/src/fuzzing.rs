//! What is fuzzed of this crate. `fuzz/` runs these functions under libFuzzer, `cargo test` over its corpora.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use cdc_event::Encoder;
use cdc_machine::{Epoch, SeqNo};
use cdc_ports::{KafkaRecord, TopicPartition};
use cdc_syncer::{Partition, Row};

use crate::bindings::Bindings;
use crate::decode::decode;
use crate::ledger::owned::{OwnedPartition, OwnedPartitions};
use crate::namespace::Namespace;
use crate::plan::Plan;
use crate::settings::{Endpoint, Settings};
use crate::table::column::{ColumnDefault, Origin};
use crate::table::column_type::{ColumnType, NumericLimit};
use crate::table::test_tables::{column, mirror, players};
use crate::table::{Table, quote, quote_literal};
use crate::tables::target::{KnownTable, Target};
use crate::values::buffer::ColumnBuffer;

#[expect(dead_code, reason = "rows are made of events; of keys there are targets of their own")]
#[path = "../../event/tests/it/generator.rs"]
mod generator;

const TOPIC: &str = "cdc.game_db.players";

/// A table with a column of every type, under names that drawn documents have.
fn every_type(id: ColumnType) -> Table {
    let numeric = |limit| ColumnType::Numeric { limit };
    let text = |max_chars| ColumnType::Text { max_chars, padded: false };
    let fields = [
        ("a", text(None)),
        ("b", ColumnType::Int2),
        ("0", ColumnType::Int4),
        ("1", ColumnType::Int8),
        ("scope", ColumnType::Float4),
        ("~0", ColumnType::Float8),
        ("~1", numeric(None)),
        ("a/b~c", numeric(Some(NumericLimit { precision: 20, scale: 3 }))),
        ("a.b", ColumnType::Bool),
        ("$oid", ColumnType::Timestamp { digits: 3 }),
        ("$$a", ColumnType::TimestampTz { digits: 0 }),
        ("$bson", ColumnType::Date),
        ("NaN", ColumnType::Uuid),
        ("true", ColumnType::Bytea),
        ("player123", ColumnType::Json),
        ("2024-01-15T10:30:00Z", ColumnType::Jsonb),
        ("507f1f77bcf86cd799439011", text(Some(5))),
    ];
    let mut columns = vec![column("id", id, Origin::Id)];
    columns.extend(fields.map(|(name, kind)| column(name, kind, Origin::Field)));
    // One column that no document has fed so far.
    let unfed = columns.last_mut().expect("the last column");
    unfed.fed = false;
    unfed.default = ColumnDefault::None;
    columns.push(column("cdc_position", ColumnType::Bytea, Origin::Position));
    Table::new("public".to_owned(), "every \"type\"".to_owned(), columns, Vec::new())
}

/// Messages out of any bytes: as they are, key and value with a line break between them, or drawn.
fn messages(data: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some((first, rest)) = data.split_first() else { return Vec::new() };
    if first % 4 == 0 {
        let mut parts = rest.splitn(2, |byte| *byte == b'\n').map(<[u8]>::to_vec);
        return parts.next().zip(parts.next()).into_iter().collect();
    }
    let mut draw = generator::Draw::new(rest);
    let mut encoder = Encoder::new(1);
    (0..1 + draw.below(3)).map(|order| drawn(&mut draw, &mut encoder, order)).collect()
}

/// The key and the value of an event about what is drawn.
fn drawn(draw: &mut generator::Draw<'_>, encoder: &mut Encoder, order: usize) -> (Vec<u8>, Vec<u8>) {
    let operation = ["insert", "replace", "delete"][draw.below(3)];
    let (id_type, id) = draw.value(1);
    let text = |text: &str| generator::string(text.as_bytes());
    let token = format!("82{:08X}{:08X}2B022C0100296E5A1004", 1_705_318_200, order + 1);
    let token = generator::document_of(&[(2, b"_data".to_vec(), text(&token))]);
    let namespace = [(2, b"db".to_vec(), text("game_db")), (2, b"coll".to_vec(), text("players"))];
    let mut parts = vec![
        (3, b"_id".to_vec(), token),
        (2, b"operationType".to_vec(), text(operation)),
        (3, b"ns".to_vec(), generator::document_of(&namespace)),
        (3, b"documentKey".to_vec(), generator::document_of(&[(id_type, b"_id".to_vec(), id)])),
    ];
    if operation != "delete" {
        parts.push((3, b"fullDocument".to_vec(), draw.document(1)));
    }
    let event = bson_document(generator::document_of(&parts));
    let (mut out, mut tokens) = (Vec::new(), Vec::new());
    let encoded = encoder.encode(&event, &mut out, &mut tokens).expect("an event");
    (out[encoded.key].to_vec(), out[encoded.value].to_vec())
}

fn bson_document(bytes: Vec<u8>) -> bson::RawDocumentBuf {
    bson::RawDocumentBuf::from_bytes(bytes).expect("a document")
}

/// Records become rows whose every value has its column's form, or are rejected with a reason; none is forgotten.
pub fn row(data: &[u8]) {
    let partition = Partition(0);
    let mut owned = OwnedPartitions::default();
    let name = TopicPartition { topic: TOPIC.into(), partition: 0 };
    let (owner, server) = ("a".to_owned(), SystemTime::UNIX_EPOCH);
    let row = OwnedPartition { assignment: Epoch(1), name, epoch: 1, owner, floor: None, server };
    owned.push(partition, &row);
    let namespace = Namespace::new("game_db", "players");
    let mut settings = Settings::new(Endpoint::Host(String::new()), "", "");
    settings.namespaces = BTreeMap::from([(TOPIC.to_owned(), namespace)]);
    let bindings = Bindings::new(&settings);
    let topics = bindings.of(&owned).expect("a bound topic");
    let rows: Vec<Row<KafkaRecord>> = (0..)
        .zip(messages(data))
        .map(|(offset, (key, value))| Row {
            partition,
            epoch: Epoch(1),
            seq: SeqNo(offset),
            offset: i64::try_from(offset).expect("a small number"),
            route: 0,
            bytes: 1,
            handle: KafkaRecord::new(&key, Some(&value), b"", 0),
        })
        .collect();
    let text = ColumnType::Text { max_chars: None, padded: false };
    let ids =
        [text, ColumnType::Int8, ColumnType::Numeric { limit: None }, ColumnType::Float8, ColumnType::Uuid];
    let tables = [players(), mirror()].into_iter().chain(ids.map(every_type));
    for table in tables {
        let known = KnownTable { target: Arc::new(Target::new(table)), absent: Arc::default() };
        let plan = Plan::new(decode(&rows, &topics), &[Some(known)], true);
        check(&plan, rows.len());
    }
}

fn check(plan: &Plan, records: usize) {
    let mut accounted = plan.rejected.len();
    for table in &plan.tables {
        for column in &table.upserts.buffers {
            assert_eq!(column.len(), table.upserts.len(), "each row has a value of each column");
        }
        let columns = table.target.statements.source.iter().zip(&table.upserts.buffers);
        for (source, buffer) in columns {
            for row in 0..buffer.len() {
                if let Some(value) = buffer.value(row) {
                    check_value(&source.element, value);
                }
            }
        }
        accounted += table.upserts.len() + table.deletes.len();
        check_ids(&table.deletes.row_ids);
    }
    let counts = &plan.counts;
    accounted += usize::try_from(counts.merged + counts.null_lookups + counts.ignored).expect("a few");
    assert_eq!(accounted, records, "{plan:?}");
}

fn check_ids(row_ids: &ColumnBuffer) {
    for row in 0..row_ids.len() {
        assert!(std::str::from_utf8(row_ids.value(row).expect("no id is NULL")).is_ok());
    }
}

/// What PostgreSQL's receive functions ask of a value.
fn check_value(element: &postgres_types::Type, value: &[u8]) {
    use postgres_types::Type;
    let fixed = match *element {
        Type::BOOL => Some(1),
        Type::INT2 => Some(2),
        Type::INT4 | Type::FLOAT4 | Type::DATE => Some(4),
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ => Some(8),
        Type::UUID => Some(16),
        _ => None,
    };
    if let Some(length) = fixed {
        assert_eq!(value.len(), length, "{element}");
    }
    match *element {
        Type::BOOL => assert!(value[0] < 2),
        Type::TEXT => assert!(std::str::from_utf8(value).is_ok_and(|text| !text.contains('\0'))),
        Type::JSON => assert!(is_json(value)),
        Type::JSONB => {
            assert_eq!(value[0], 1, "the version of jsonb");
            assert!(is_json(&value[1..]));
            // What is too deep or too large a number for serde_json is not looked into.
            let read = serde_json::from_slice(&value[1..]);
            assert!(!read.is_ok_and(|value| has_zero(&value)), "jsonb holds no U+0000");
        }
        Type::NUMERIC => {
            let digits = usize::from(u16::from_be_bytes([value[0], value[1]]));
            assert_eq!(value.len(), 8 + 2 * digits, "a numeric's digits");
            assert!(
                value[8..].chunks_exact(2).all(|digit| u16::from_be_bytes([digit[0], digit[1]]) < 10_000)
            );
        }
        _ => {}
    }
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(text).is_ok()
}

fn has_zero(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_zero),
        serde_json::Value::Object(fields) => {
            fields.iter().any(|(key, value)| key.contains('\0') || has_zero(value))
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
    }
}

/// Any text as an identifier and as a literal: the quoted form is one token of PostgreSQL's scanner, which ends where the
/// quoted form ends, and stands for the text.
pub fn identifier(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // PostgreSQL has no text with U+0000, and no identifier without a character.
    if text.is_empty() || text.contains('\0') {
        return;
    }
    assert_eq!(scan_identifier(&quote(text)).as_deref(), Some(text));
    for conforming in [true, false] {
        assert_eq!(scan_literal(&quote_literal(text), conforming).as_deref(), Some(text), "{conforming}");
    }
}

/// `<xd>` of PostgreSQL's scan.l: between double quotes, a doubled one stands for itself. `None` unless the token is all
/// of the text.
fn scan_identifier(text: &str) -> Option<String> {
    unquote(text, '"')
}

/// `<xq>` and `<xe>` of scan.l. Of the latter's escapes only the doubled backslash is read: nothing else may be
/// written.
fn scan_literal(text: &str, standard_conforming_strings: bool) -> Option<String> {
    let (text, escapes) = match text.strip_prefix('E') {
        Some(text) => (text, true),
        None => (text, !standard_conforming_strings),
    };
    let inner = unquote(text, '\'')?;
    if !escapes {
        return Some(inner);
    }
    let mut read = String::new();
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        if char == '\\' && chars.next() != Some('\\') {
            return None;
        }
        read.push(char);
    }
    Some(read)
}

fn unquote(text: &str, mark: char) -> Option<String> {
    let mut chars = text.strip_prefix(mark)?.chars();
    let mut read = String::new();
    loop {
        match chars.next()? {
            char if char != mark => read.push(char),
            _ => match chars.next() {
                None => return Some(read),
                Some(char) if char == mark => read.push(mark),
                Some(_) => return None,
            },
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay;

    #[test]
    fn the_corpora_are_replayed() {
        replay::replay("row", super::row);
        replay::replay("identifier", super::identifier);
    }
}
