//! The statements that write one table, as text. Names come from the catalog and are quoted; values are
//! parameters.
//!
//! Every statement reads its rows from a source `s` whose columns are `c0`, `c1`, … by the table's columns that
//! the pipeline writes, and `k` with the row's id as text where the id column is not text itself. The source is
//! either `unnest` over one array a column, or the temporary table that a COPY has filled.
//!
//! A column that no document has fed is in none of them. Where such a column has a default that changes, a
//! sequence for instance, rows that are there are updated, and only the others are inserted: `ON CONFLICT` alone
//! would evaluate that default for every row.

mod lineage;
pub(crate) mod source;
pub(crate) mod stage;

use std::fmt::Write as _;
use std::sync::Arc;

use postgres_types::Type;

use self::lineage::FencedByLineage;
use self::source::{
    SourceColumn, declared, delete_rows, delete_types, evicted_rows, id_types, key_of, position_index,
    same_id, same_row, source_columns, unnest,
};
use self::stage::Stage;
use crate::mapping::Deletes;
use crate::table::column::{Column, Origin};
use crate::table::column_type::array_of;
use crate::table::{Table, quote, quote_literal};
use crate::values::buffer::ColumnBuffer;

/// The statements of one table.
#[derive(Clone, Debug)]
pub(crate) struct Statements {
    /// The source's columns, in the order of the parameters and of COPY's fields.
    pub source: Vec<SourceColumn>,
    /// Upsert from arrays.
    pub upsert: Arc<str>,
    /// The arrays' types.
    pub upsert_types: Vec<Type>,
    /// The temporary table.
    pub stage: Stage,
    /// Upsert from it.
    pub merge: Arc<str>,
    /// Deletes by id, row id and position.
    pub delete: Arc<str>,
    /// The arrays' types.
    pub delete_types: Vec<Type>,
    /// Asks after rows that a higher lineage fences off.
    pub fenced_by_lineage: Option<FencedByLineage>,
    /// Takes rows that are older than a position out of the table, by id and position, and leaves no
    /// tombstone: the parked version fences.
    pub evict_older: Arc<str>,
    /// The arrays' types.
    pub evict_types: Vec<Type>,
}

impl Statements {
    /// The statements for a table.
    #[must_use]
    pub(crate) fn new(table: &Table) -> Self {
        let source = source_columns(table);
        let stage = Stage::new(&table.quoted(), &declared(&source));
        let (arrays, rows) = (unnest(&source), format!("{} AS s", stage.quoted));
        Self {
            fenced_by_lineage: FencedByLineage::new(table, &arrays, &rows),
            upsert: upsert(table, &arrays).into(),
            upsert_types: source.iter().map(|column| array_of(&column.element)).collect(),
            merge: upsert(table, &rows).into(),
            delete: delete(table).into(),
            delete_types: delete_types(table),
            evict_older: evict_older(table).into(),
            evict_types: id_types(table).iter().map(array_of).chain([Type::BYTEA_ARRAY]).collect(),
            stage,
            source,
        }
    }

    /// Empty buffers, one a column of the source.
    #[must_use]
    pub(crate) fn buffers(&self) -> Vec<ColumnBuffer> {
        self.source.iter().map(|column| ColumnBuffer::new(column.element.clone())).collect()
    }
}

/// Rows that a tombstone does not keep off.
fn living(table: &Table, source: &str) -> String {
    let Some(position) = position_index(table) else { return source.to_owned() };
    let key = key_of(table);
    format!(
        "{source} WHERE NOT EXISTS (SELECT FROM cdc.tombstones AS d WHERE d.table_name = {} \
         AND d.id = s.{key} AND d.position >= s.c{position})",
        quote_literal(&table.label()),
    )
}

fn upsert(table: &Table, source: &str) -> String {
    let living = living(table, source);
    if table.evaluates_defaults() {
        return update_then_insert(table, &living);
    }
    format!(
        "WITH written AS ({}) SELECT inserted, written - inserted FROM ({}) AS counted",
        insert(table, &living),
        count_written(table),
    )
}

/// All parts see the statement's one snapshot. What is inserted meanwhile meets the conflict clause.
fn update_then_insert(table: &Table, living: &str) -> String {
    let quoted = table.quoted();
    let mut sql = format!("WITH s AS (SELECT s.* FROM {living}), updated AS (UPDATE {quoted} AS t SET ");
    sql.push_str(&assignments(table, |name, index, column| format!("{name} = {}", value_of(index, column))));
    let of_source = |index: usize| format!("s.c{index}");
    let _infallible = write!(sql, " FROM s WHERE {}", same_row(table, "t", of_source));
    if let Some(position) = position_index(table) {
        let _infallible =
            write!(sql, " AND (t.\"cdc_position\" IS NULL OR s.c{position} > t.\"cdc_position\")");
    }
    let absent =
        format!("s WHERE NOT EXISTS (SELECT FROM {quoted} AS o WHERE {})", same_row(table, "o", of_source));
    let _infallible = write!(
        sql,
        " RETURNING 1), written AS ({}) SELECT inserted, written - inserted + (SELECT count(*) FROM updated) \
         FROM ({}) AS counted",
        insert(table, &absent),
        count_written(table),
    );
    sql
}

/// Counts the rows that were inserted, and all that were written. Of each it is asked once whether it is fresh: on a
/// partitioned table that is a look at an index.
fn count_written(table: &Table) -> String {
    let fresh = fresh(table);
    format!("SELECT count(*) FILTER (WHERE {fresh}) AS inserted, count(*) AS written FROM written")
}

/// Whether a written row was not there before. A partitioned table has no `xmax` to return; there the statement's
/// snapshot is asked, which shows what was there when it began.
fn fresh(table: &Table) -> String {
    if table.partitioned {
        let of_written = |index: usize| format!("written.id{index}");
        format!(
            "(NOT EXISTS (SELECT FROM {} AS o WHERE {}))",
            table.quoted(),
            same_row(table, "o", of_written)
        )
    } else {
        "fresh".to_owned()
    }
}

/// `xmax` is zero in a row that the statement inserted, and holds the row lock that `DO UPDATE` took in one
/// that it updated.
fn insert(table: &Table, source: &str) -> String {
    let names: Vec<String> = table.written().map(|(_, column)| quote(&column.name)).collect();
    let values: Vec<String> = table.written().map(|(index, column)| value_of(index, column)).collect();
    let mut sql = format!(
        "INSERT INTO {} AS t ({}) SELECT {} FROM {source} ON CONFLICT ({}) DO UPDATE SET {}",
        table.quoted(),
        names.join(", "),
        values.join(", "),
        table.quoted_ids(),
        assignments(table, |name, _, _| format!("{name} = excluded.{name}")),
    );
    if table.fenced {
        sql.push_str(" WHERE t.\"cdc_position\" IS NULL OR excluded.\"cdc_position\" > t.\"cdc_position\"");
    }
    if table.partitioned {
        let ids = (0..).zip(table.ids()).map(|(index, id)| format!("t.{} AS id{index}", quote(&id.name)));
        let _infallible = write!(sql, " RETURNING {}", ids.collect::<Vec<_>>().join(", "));
    } else {
        sql.push_str(" RETURNING (t.xmax = 0) AS fresh");
    }
    sql
}

/// A value of the source as the column takes it. What is text on the way is converted here: a label, or an array.
fn value_of(index: usize, column: &Column) -> String {
    match column.column_type.cast() {
        Some(cast) => format!("s.c{index}::{cast}"),
        None => format!("s.c{index}"),
    }
}

/// Of every column but the id, unless there is no other.
fn assignments(table: &Table, assign: impl Fn(&str, usize, &Column) -> String) -> String {
    let alone = table.written().count() == table.ids().len();
    let assigned: Vec<String> = table
        .written()
        .filter(|(_, column)| alone || column.origin != Origin::Id)
        .map(|(index, column)| assign(&quote(&column.name), index, column))
        .collect();
    assigned.join(", ")
}

/// A row goes only where nothing of others would go with it: what a person wrote beside the document, or a key that
/// a new row would not have.
fn evict_older(table: &Table) -> String {
    let mut sql = format!(
        "DELETE FROM {} AS t USING {} WHERE {}{}",
        table.quoted(),
        evicted_rows(table),
        same_id(table, "t"),
        older_than_source(table),
    );
    for condition in table.untouched().unwrap_or_else(|| vec!["false"]) {
        let _infallible = write!(sql, " AND {condition}");
    }
    sql
}

fn older_than_source(table: &Table) -> &'static str {
    if table.fenced { " AND (t.\"cdc_position\" IS NULL OR t.\"cdc_position\" < s.position)" } else { "" }
}

/// Answers how many rows were deleted, how many were there, and whether a policy may have hidden some. All parts see
/// the statement's one snapshot.
fn delete(table: &Table) -> String {
    let quoted = table.quoted();
    let mut sql = format!("WITH s AS (SELECT * FROM {})", delete_rows(table));
    if table.fenced {
        let _infallible = write!(
            sql,
            ", buried AS (INSERT INTO cdc.tombstones AS d (table_name, id, position) \
             SELECT {}, s.k, s.position FROM s \
             ON CONFLICT (table_name, id) DO UPDATE SET position = excluded.position \
             WHERE excluded.position > d.position)",
            quote_literal(&table.label()),
        );
    }
    let (fence, same) = (older_than_source(table), same_id(table, "t"));
    let _infallible = write!(
        sql,
        ", deleted AS ({} WHERE {same}{fence} RETURNING 1) \
         SELECT (SELECT count(*) FROM deleted), \
         (SELECT count(*) FROM {quoted} AS t, s WHERE {same}), row_security_active({}::regclass)",
        deletion(table),
        quote_literal(&quoted),
    );
    sql
}

/// A soft deletion is a write like any other: it takes the row's position along.
fn deletion(table: &Table) -> String {
    let quoted = table.quoted();
    if table.deletes != Deletes::Soft {
        return format!("DELETE FROM {quoted} AS t USING s");
    }
    let assigned: Vec<String> = table
        .columns
        .iter()
        .filter_map(|column| {
            let value = match column.origin {
                Origin::DeletedAt | Origin::UpdatedAt => "s.at",
                Origin::Operation => "'delete'",
                Origin::WrittenAt => "now()",
                Origin::Position => "s.position",
                Origin::Id | Origin::Field | Origin::Document | Origin::BsonTypes => return None,
            };
            Some(format!("{} = {value}", quote(&column.name)))
        })
        .collect();
    format!("UPDATE {quoted} AS t SET {} FROM s", assigned.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::test_tables::{mirror, numbered, people, players};

    #[test]
    fn the_players_table() {
        insta::assert_snapshot!(render(&Statements::new(&players())));
    }

    #[test]
    fn a_mirror_table() {
        insta::assert_snapshot!(render(&Statements::new(&mirror())));
    }

    #[test]
    fn a_numbered_table_without_the_fence() {
        insta::assert_snapshot!(render(&Statements::new(&numbered())));
    }

    #[test]
    fn a_table_with_a_sequence_and_a_column_that_people_fill() {
        insta::assert_snapshot!(render(&Statements::new(&people())));
    }

    #[test]
    fn what_is_fed_is_written() {
        let fed = people().feeding(&["pk".to_owned(), "note".to_owned()]);
        assert!(!fed.evaluates_defaults());
        let statements = Statements::new(&fed);
        assert!(statements.upsert.contains("\"note\" = excluded.\"note\""), "{}", statements.upsert);
    }

    #[test]
    fn a_row_is_taken_out_only_where_nothing_of_others_goes_with_it() {
        let evict_older = |table: &Table| Statements::new(table).evict_older;
        assert!(evict_older(&players()).ends_with("t.\"cdc_position\" < s.position)"));
        let fed = people().feeding(&["pk".to_owned()]);
        assert!(evict_older(&fed).ends_with(" AND t.\"note\" IS NULL"), "{}", evict_older(&fed));
        let mut numbered = people();
        numbered.others_untouched = None;
        assert!(evict_older(&numbered).ends_with(" AND false"), "{}", evict_older(&numbered));
    }

    #[test]
    fn of_each_row_of_a_partitioned_table_it_is_asked_once_whether_it_is_fresh() {
        let mut partitioned = players();
        partitioned.partitioned = true;
        let upsert = Statements::new(&partitioned).upsert;
        assert_eq!(upsert.matches("AS o WHERE o.\"id\" = written.id0").count(), 1, "{upsert}");
    }

    fn render(statements: &Statements) -> String {
        [
            &*statements.upsert,
            &statements.stage.create,
            &statements.stage.empty,
            &statements.stage.copy,
            &statements.merge,
            &statements.delete,
        ]
        .join("\n\n")
    }
}
