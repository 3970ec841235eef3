//! Tables for the unit tests.

use super::*;
use crate::mapping::FieldPath;
use crate::table::column_type::ColumnType;

pub(crate) fn column(name: &str, column_type: ColumnType, origin: Origin) -> Column {
    Column {
        name: name.to_owned(),
        column_type,
        origin,
        path: FieldPath::of_field(if origin == Origin::Id { "_id" } else { name }),
        coerced: false,
        not_null: false,
        default: ColumnDefault::None,
        untouched: None,
        fed: true,
    }
}

const fn text(max_chars: usize) -> ColumnType {
    ColumnType::Text { max_chars: Some(max_chars), padded: false }
}

const TEXT: ColumnType = ColumnType::Text { max_chars: None, padded: false };
const TIMESTAMP: ColumnType = ColumnType::Timestamp { digits: 6 };

/// The specification's own table, with the fence's column.
pub(crate) fn players() -> Table {
    let required = |column: Column| Column { not_null: true, ..column };
    let defaulted = |column: Column, default: ColumnDefault| Column { not_null: true, default, ..column };
    let columns = vec![
        required(column("id", text(24), Origin::Id)),
        required(column("username", text(255), Origin::Field)),
        defaulted(
            column("level", ColumnType::Int4, Origin::Field),
            ColumnDefault::Constant(vec![0, 0, 0, 1]),
        ),
        defaulted(column("score", ColumnType::Int8, Origin::Field), ColumnDefault::Constant(vec![0; 8])),
        required(column("created_at", TIMESTAMP, Origin::Field)),
        defaulted(column("updated_at", TIMESTAMP, Origin::UpdatedAt), ColumnDefault::Changing),
        column("cdc_operation", text(20), Origin::Operation),
        required(column("cdc_timestamp", TIMESTAMP, Origin::WrittenAt)),
        column("cdc_position", ColumnType::Bytea, Origin::Position),
    ];
    Table::new("public".to_owned(), "players".to_owned(), columns, Vec::new())
}

pub(crate) fn mirror() -> Table {
    let columns = vec![
        column("id", TEXT, Origin::Id),
        column("document", ColumnType::Jsonb, Origin::Document),
        column("bson_types", ColumnType::Jsonb, Origin::BsonTypes),
        column("cdc_operation", TEXT, Origin::Operation),
        column("cdc_timestamp", ColumnType::TimestampTz { digits: 6 }, Origin::WrittenAt),
        column("cdc_position", ColumnType::Bytea, Origin::Position),
    ];
    Table::new("public".to_owned(), "odd \"name\"".to_owned(), columns, Vec::new())
}

/// A table with a key of its own that documents do not know, and a column that people fill.
pub(crate) fn people() -> Table {
    let unfed = |column: Column, default| Column {
        untouched: Some(format!("t.\"{}\" IS NULL", column.name)),
        fed: false,
        default,
        ..column
    };
    let columns = vec![
        column("id", TEXT, Origin::Id),
        unfed(column("pk", ColumnType::Int8, Origin::Field), ColumnDefault::Changing),
        column("name", TEXT, Origin::Field),
        unfed(column("note", TEXT, Origin::Field), ColumnDefault::None),
        column("cdc_position", ColumnType::Bytea, Origin::Position),
    ];
    Table::new("public".to_owned(), "people".to_owned(), columns, Vec::new())
}

pub(crate) fn numbered() -> Table {
    let columns =
        vec![column("id", ColumnType::Int8, Origin::Id), column("ratio", ColumnType::Float8, Origin::Field)];
    Table::new("it's".to_owned(), "numbered".to_owned(), columns, Vec::new())
}
