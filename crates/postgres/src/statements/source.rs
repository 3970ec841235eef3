//! What a statement reads its rows from: one array a column, or a temporary table of the same columns.

use postgres_types::Type;

use crate::table::{Column, ColumnType, Origin, Table};

/// One column of a statement's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceColumn {
    /// Its name in the statement.
    pub alias: String,
    /// Its element type.
    pub element: Type,
    /// What it holds.
    pub content: Content,
}

/// What a column of the source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The values of the table's column of this index.
    Value(usize),
    /// The row's id as text.
    RowId,
}

/// True where the id column holds the row's id as text, so that no second copy of it is needed.
#[must_use]
pub(crate) fn id_is_text(table: &Table) -> bool {
    matches!(table.columns.first(), Some(Column { column_type: ColumnType::Text { .. }, .. }))
}

pub(crate) fn id_type(table: &Table) -> Type {
    table.columns.first().map_or(Type::TEXT, |column| column.column_type.wire())
}

pub(crate) fn source_columns(table: &Table) -> Vec<SourceColumn> {
    let mut source = Vec::with_capacity(table.columns.len() + 1);
    for (index, column) in table.written() {
        source.push(SourceColumn {
            alias: format!("c{index}"),
            element: column.column_type.wire(),
            content: Content::Value(index),
        });
    }
    if !id_is_text(table) {
        source.push(SourceColumn { alias: "k".to_owned(), element: Type::TEXT, content: Content::RowId });
    }
    source
}

/// The name of an element type in SQL.
pub(crate) fn sql_type(element: &Type) -> &'static str {
    match *element {
        Type::INT2 => "smallint",
        Type::INT4 => "integer",
        Type::INT8 => "bigint",
        Type::FLOAT4 => "real",
        Type::FLOAT8 => "double precision",
        Type::NUMERIC => "numeric",
        Type::BOOL => "boolean",
        Type::TIMESTAMP => "timestamp",
        Type::TIMESTAMPTZ => "timestamp with time zone",
        Type::DATE => "date",
        Type::UUID => "uuid",
        Type::BYTEA => "bytea",
        Type::JSON => "json",
        Type::JSONB => "jsonb",
        _ => "text",
    }
}

pub(crate) fn declared(source: &[SourceColumn]) -> String {
    let columns: Vec<String> =
        source.iter().map(|column| format!("{} {}", column.alias, sql_type(&column.element))).collect();
    columns.join(", ")
}

pub(crate) fn unnest(source: &[SourceColumn]) -> String {
    let arrays: Vec<String> = source
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::{}[]", index + 1, sql_type(&column.element)))
        .collect();
    let aliases: Vec<&str> = source.iter().map(|column| column.alias.as_str()).collect();
    format!("unnest({}) AS s({})", arrays.join(", "), aliases.join(", "))
}

/// The source's column that holds the row's id as text.
pub(crate) fn key_of(table: &Table) -> &'static str {
    if id_is_text(table) { "c0" } else { "k" }
}

/// The rows to delete, as a source `s`.
pub(crate) fn delete_rows(table: &Table) -> String {
    let id = sql_type(&id_type(table));
    format!("unnest($1::{id}[], $2::text[], $3::bytea[]) AS s(id, k, position)")
}

pub(crate) fn position_index(table: &Table) -> Option<usize> {
    table.columns.iter().position(|column| column.origin == Origin::Position)
}
