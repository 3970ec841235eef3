//! Rows fenced off by a higher *lineage*. Within a lineage an older position is a replay, and harmless; across
//! lineages it is a source or a token record that was replaced, and what it sends may be lost for good. Asked
//! only after a statement that the fence has kept something from.

use std::sync::Arc;

use crate::statements::source::{delete_rows, key_of, position_index, same_id, same_row};
use crate::table::{Table, quote_literal};

/// How many bytes of a position are its lineage.
const LINEAGE_BYTES: u32 = 4;

/// The questions for one table; each answers with one number.
#[derive(Clone, Debug)]
pub(crate) struct FencedByLineage {
    /// Of the upsert from arrays, with its parameters.
    pub(crate) upsert: Arc<str>,
    /// Of the upsert from the temporary table.
    pub(crate) merge: Arc<str>,
    /// Of the delete, with its parameters.
    pub(crate) delete: Arc<str>,
}

impl FencedByLineage {
    /// `None` for a table without the fence.
    pub(crate) fn new(table: &Table, arrays: &str, staged: &str) -> Option<Self> {
        let position = format!("c{}", position_index(table)?);
        let of = |source: &str| of_upserts(table, source, &position).into();
        Some(Self { upsert: of(arrays), merge: of(staged), delete: of_deletes(table).into() })
    }
}

fn lineage(position: &str) -> String {
    format!("substring({position} FROM 1 FOR {LINEAGE_BYTES})")
}

fn of_upserts(table: &Table, source: &str, position: &str) -> String {
    let mine = lineage(&format!("s.{position}"));
    format!(
        "SELECT count(*) FROM {source} WHERE EXISTS (SELECT FROM {} AS t WHERE {} AND {} > {mine}) \
         OR EXISTS (SELECT FROM cdc.tombstones AS d WHERE d.table_name = {} AND d.id = s.{} AND {} > {mine})",
        table.quoted(),
        same_row(table, "t", |index| format!("s.c{index}")),
        lineage("t.\"cdc_position\""),
        quote_literal(&table.label()),
        key_of(table),
        lineage("d.position"),
    )
}

fn of_deletes(table: &Table) -> String {
    format!(
        "SELECT count(*) FROM {} JOIN {} AS t ON {} WHERE {} > {}",
        delete_rows(table),
        table.quoted(),
        same_id(table, "t"),
        lineage("t.\"cdc_position\""),
        lineage("s.position"),
    )
}
