//! A target table as the catalog describes it, and what the pipeline makes of it.

pub(crate) mod column;
pub(crate) mod column_type;
pub(crate) mod fields;

use crate::mapping::{Deletes, Naming};
use crate::table::column::{Closed, Column, ColumnDefault, Origin};
use crate::table::fields::FieldIndex;

/// A target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// The columns that the pipeline writes, those of the id first.
    pub columns: Vec<Column>,
    /// Columns that no field can be written to: a document must not have such a field.
    pub closed: Vec<Closed>,
    /// The conditions under which nobody wrote to the columns beside these; nothing where that cannot be told.
    pub others_untouched: Option<Vec<String>>,
    /// Whether a column beside these has a default that changes, which an INSERT evaluates.
    pub others_change: bool,
    /// Whether the whole document is kept in one column.
    pub mirror: bool,
    /// Whether rows carry the position of the event that wrote them.
    pub fenced: bool,
    /// Whether its rows are its partitions'.
    pub partitioned: bool,
    /// Whether deleting a row would delete or change rows of other tables, by their foreign keys.
    pub cascades: bool,
    /// What a deleted document does to its row.
    pub deletes: Deletes,
    /// Columns that are left alone, each with the reason.
    pub left: Vec<LeftAlone>,
    /// How a field finds a column that is not called like it; nothing where each column's field is named.
    naming: Option<Naming>,
    fields: FieldIndex,
}

/// A column that the pipeline leaves alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftAlone {
    /// Its name, unquoted.
    pub name: String,
    /// In words.
    pub why: &'static str,
}

impl Table {
    /// Puts a table together; `columns` has those of the id first.
    #[must_use]
    pub(crate) fn new(schema: String, name: String, columns: Vec<Column>, closed: Vec<Closed>) -> Self {
        let mirror = columns.iter().any(|column| column.origin == Origin::Document);
        let fenced = columns.iter().any(|column| column.origin == Origin::Position);
        let fields = FieldIndex::new(&columns, &closed, None);
        Self {
            schema,
            name,
            columns,
            closed,
            others_untouched: Some(Vec::new()),
            others_change: false,
            mirror,
            fenced,
            partitioned: false,
            cascades: false,
            deletes: Deletes::Hard,
            left: Vec::new(),
            naming: None,
            fields,
        }
    }

    /// The same table, whose columns take fields of other names, too.
    #[must_use]
    pub(crate) fn naming(mut self, naming: Naming) -> Self {
        self.naming = Some(naming);
        self.index_fields();
        self
    }

    /// True where it has the other's columns, whichever of them documents have fed.
    #[must_use]
    pub(crate) fn has_columns_of(&self, other: &Self) -> bool {
        let is_alike = |(mine, its): (&Column, &Column)| Column { fed: its.fed, ..mine.clone() } == *its;
        self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).all(is_alike)
            && self.closed == other.closed
    }

    /// The same table once documents have fed these columns, too.
    #[must_use]
    pub(crate) fn feeding(&self, names: &[String]) -> Self {
        let mut table = self.clone();
        table.columns.iter_mut().for_each(|column| column.fed |= names.contains(&column.name));
        table.index_fields();
        table
    }

    fn index_fields(&mut self) {
        self.fields = FieldIndex::new(&self.columns, &self.closed, self.naming);
    }

    /// The columns of the row's id: one, or those of a composed one, in the order of its fields.
    #[must_use]
    pub(crate) fn ids(&self) -> &[Column] {
        let ids = self.columns.iter().take_while(|column| column.origin == Origin::Id).count();
        &self.columns[..ids]
    }

    /// The names of the id's columns, quoted for a statement.
    #[must_use]
    pub(crate) fn quoted_ids(&self) -> String {
        let names: Vec<String> = self.ids().iter().map(|column| quote(&column.name)).collect();
        names.join(", ")
    }

    /// The columns that statements name, each with its place.
    pub(crate) fn written(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.fed)
    }

    /// The conditions under which a row can be taken out and made anew without a loss to anybody; nothing where
    /// none can.
    #[must_use]
    pub(crate) fn untouched(&self) -> Option<Vec<&str>> {
        let others = self.others_untouched.as_ref()?.iter().map(|condition| Some(condition.as_str()));
        let unfed = self.columns.iter().filter(|column| !column.fed);
        others.chain(unfed.map(|column| column.untouched.as_deref())).collect()
    }

    /// True where an INSERT evaluates a default that changes, because it does not name the column.
    #[must_use]
    pub(crate) fn evaluates_defaults(&self) -> bool {
        self.others_change
            || self.columns.iter().any(|column| !column.fed && column.default == ColumnDefault::Changing)
    }

    /// Which columns the documents' fields go to.
    #[must_use]
    pub(crate) const fn fields(&self) -> &FieldIndex {
        &self.fields
    }

    /// Schema and name, quoted for a statement.
    #[must_use]
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    /// Schema and name as they stand in the bookkeeping and in messages.
    #[must_use]
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// An identifier, quoted for a statement.
#[must_use]
pub(crate) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A string, quoted for a statement. The doubled backslash makes it hold whatever
/// `standard_conforming_strings` says.
#[must_use]
pub(crate) fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "the fuzz target needs some of the tables, the tests all"))]
#[path = "test_tables.rs"]
pub(crate) mod test_tables;
