//! What becomes of a table's columns is told once for each shape of it, when it is read: which are written, and from what,
//! which are left alone, and which no document may have a field for. After the thousandth dead letter the reason is late.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::table::Table;
use crate::table::column::{ClosedBecause, Origin};

const OPERATION: &str = "postgres_look";

/// What has been told of which table.
#[derive(Debug, Default)]
pub(crate) struct ToldColumns {
    told: Mutex<BTreeMap<String, String>>,
}

impl ToldColumns {
    /// Says what becomes of the table's columns, unless that was said before.
    pub(crate) fn tell(&self, table: &Table) {
        let label = table.label();
        let columns = columns(table);
        if !self.is_news(&label, &columns) {
            return;
        }
        tracing::info!(operation = OPERATION, table = label, columns, "what the table's columns take");
        if let Some(text) = refused(table) {
            tracing::warn!(
                operation = OPERATION,
                table = label,
                "{text}; a document with a field of its name becomes a dead letter. Leave the field out, make the column \
                 jsonb or text, or have tables: leave it"
            );
        }
    }

    /// True where the words are others than those that were said of the table last.
    fn is_news(&self, label: &str, words: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.insert(label.to_owned(), words.to_owned());
        before.as_deref() != Some(words)
    }
}

/// Each column with what it takes, or why it takes nothing.
fn columns(table: &Table) -> String {
    let mut words: Vec<String> = Vec::new();
    for column in &table.columns {
        let (name, of) = (&column.name, column.column_type.name());
        let spelled = if column.coerced { ", by its spelling, too" } else { "" };
        words.push(match column.origin {
            Origin::Id | Origin::Field => format!("{name} ({of}) takes {}{spelled}", column.path),
            Origin::Document => format!("{name} takes the document"),
            Origin::BsonTypes => format!("{name} takes its types"),
            Origin::UpdatedAt => format!("{name} takes the change's time"),
            Origin::Operation => format!("{name} takes the operation"),
            Origin::WrittenAt => format!("{name} takes the write's time"),
            Origin::DeletedAt => format!("{name} takes the deletion's time"),
            Origin::Position => format!("{name} takes the position"),
        });
    }
    words.extend(table.left.iter().map(|left| format!("{} is left alone: {}", left.name, left.why)));
    for closed in &table.closed {
        words.push(match &closed.because {
            ClosedBecause::Generated => format!("{} is generated", closed.name),
            ClosedBecause::AlwaysIdentity => format!("{} is GENERATED ALWAYS AS IDENTITY", closed.name),
            ClosedBecause::Type { name, .. } => {
                format!("{} ({name}) is refused: no value has its type", closed.name)
            }
        });
    }
    words.join("; ")
}

/// `public.orders.place is point (only NULL can be written)`; nothing where every column takes a field.
fn refused(table: &Table) -> Option<String> {
    let label = table.label();
    let of_type = table.closed.iter().filter_map(|closed| match &closed.because {
        ClosedBecause::Type { name, shows_null } => {
            // A document's null leaves the column out, which does where the column then holds NULL.
            let takes = if *shows_null { "only NULL can be written" } else { "nothing can be written" };
            Some(format!("{label}.{} is {name} ({takes})", closed.name))
        }
        ClosedBecause::Generated | ClosedBecause::AlwaysIdentity => None,
    });
    let columns = of_type.collect::<Vec<_>>().join(", ");
    (!columns.is_empty()).then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::LeftAlone;
    use crate::table::column::{Closed, Column};
    use crate::table::column_type::ColumnType;
    use crate::table::test_tables::column;

    #[test]
    fn each_column_is_told_of_once_for_each_shape() {
        let closed = |because| Closed { name: "place".to_owned(), because };
        let of_type = |shows_null| closed(ClosedBecause::Type { name: "point".to_owned(), shows_null });
        let table = |closed| {
            let level = Column {
                path: "stats.level".parse().unwrap(),
                ..column("level", ColumnType::Int4, Origin::Field)
            };
            let columns = vec![column("id", ColumnType::Int8, Origin::Id), level];
            let mut table = Table::new("public".to_owned(), "orders".to_owned(), columns, vec![closed]);
            table.left.push(LeftAlone { name: "note".to_owned(), why: "leave names it" });
            table
        };
        let words = columns(&table(of_type(true)));
        assert_eq!(
            words,
            "id (bigint) takes _id; level (integer) takes stats.level; note is left alone: leave names it; place (point) is \
             refused: no value has its type"
        );
        let said = refused(&table(of_type(true))).unwrap();
        assert_eq!(said, "public.orders.place is point (only NULL can be written)");
        let said = refused(&table(of_type(false))).unwrap();
        assert_eq!(said, "public.orders.place is point (nothing can be written)");
        assert_eq!(refused(&table(closed(ClosedBecause::Generated))), None);

        let told = ToldColumns::default();
        assert!(told.is_news("public.orders", "a"));
        assert!(!told.is_news("public.orders", "a"));
        assert!(told.is_news("public.orders", "b"));
        assert!(told.is_news("public.orders", "a"), "as it was before");
    }
}
