//! What a statement reads its rows from: one array a column, or a temporary table of the same columns.

use postgres_types::Type;

use crate::mapping::Deletes;
use crate::table::column::{Column, Origin};
use crate::table::column_type::{ColumnType, array_of, sql_type};
use crate::table::{Table, quote};

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
    matches!(table.ids(), [Column { column_type: ColumnType::Text { .. }, path, .. }] if path.is_id())
}

/// The types of the id's columns.
pub(crate) fn id_types(table: &Table) -> Vec<Type> {
    table.ids().iter().map(|column| column.column_type.wire()).collect()
}

/// The types of what a delete is told: ids, row ids and positions; and of soft ones, the times.
pub(crate) fn delete_types(table: &Table) -> Vec<Type> {
    let mut types: Vec<Type> = id_types(table).iter().map(array_of).collect();
    types.extend([Type::TEXT_ARRAY, Type::BYTEA_ARRAY]);
    types.extend((table.deletes == Deletes::Soft).then_some(Type::TIMESTAMPTZ_ARRAY));
    types
}

/// The condition that a row of the table is a source's.
pub(crate) fn same_row(table: &Table, row: &str, source: impl Fn(usize) -> String) -> String {
    let is_same =
        |(index, column): (usize, &Column)| format!("{row}.{} = {}", quote(&column.name), source(index));
    let conditions: Vec<String> = table.ids().iter().enumerate().map(is_same).collect();
    conditions.join(" AND ")
}

/// The same of a row that is told by its id alone.
pub(crate) fn same_id(table: &Table, row: &str) -> String {
    same_row(table, row, |index| format!("s.{}", id_name(table, index)))
}

fn id_name(table: &Table, index: usize) -> String {
    if table.ids().len() == 1 { "id".to_owned() } else { format!("id{index}") }
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
    let mut columns: Vec<(String, &str)> =
        id_types(table).iter().enumerate().map(|(index, id)| (id_name(table, index), sql_type(id))).collect();
    columns.extend([("k".to_owned(), "text"), ("position".to_owned(), "bytea")]);
    if table.deletes == Deletes::Soft {
        columns.push(("at".to_owned(), "timestamp with time zone"));
    }
    arrays(&columns)
}

/// Rows to take out for a newer version, as a source `s`.
pub(crate) fn evicted_rows(table: &Table) -> String {
    let mut columns: Vec<(String, &str)> =
        id_types(table).iter().enumerate().map(|(index, id)| (id_name(table, index), sql_type(id))).collect();
    columns.push(("position".to_owned(), "bytea"));
    arrays(&columns)
}

fn arrays(columns: &[(String, &str)]) -> String {
    let arrays: Vec<String> =
        (1..).zip(columns).map(|(number, (_, of))| format!("${number}::{of}[]")).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    format!("unnest({}) AS s({})", arrays.join(", "), names.join(", "))
}

pub(crate) fn position_index(table: &Table) -> Option<usize> {
    table.columns.iter().position(|column| column.origin == Origin::Position)
}
