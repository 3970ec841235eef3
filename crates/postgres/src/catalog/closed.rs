//! Columns of types that the pipeline does not write are told of once for each shape of a table, when it is read: each
//! document that has a field for one becomes a dead letter, and after the thousandth the reason is late.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::table::{ClosedBecause, Table};

/// What has been told of which table.
#[derive(Debug, Default)]
pub(crate) struct ClosedColumns {
    told: Mutex<BTreeMap<String, String>>,
}

impl ClosedColumns {
    /// Warns of the table's columns that no field can be written to, unless that was said before.
    pub(crate) fn tell(&self, table: &Table) {
        let label = table.label();
        if let Some(text) = self.news(&label, words(table)) {
            tracing::warn!(
                operation = "postgres_look",
                table = label,
                "{text}; a document with a field of its name becomes a dead letter. Leave the field out, or make the \
                 column jsonb or text"
            );
        }
    }

    /// The words, where they are others than those that were said of the table last.
    fn news(&self, label: &str, words: Option<String>) -> Option<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(words) = words else {
            told.remove(label);
            return None;
        };
        let before = told.insert(label.to_owned(), words.clone());
        (before.as_ref() != Some(&words)).then_some(words)
    }
}

/// `public.orders.tags is text[] (only NULL can be written)`; nothing where every column takes a field.
fn words(table: &Table) -> Option<String> {
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
    use crate::table::Closed;

    #[test]
    fn unsupported_columns_are_told_of_once_for_each_shape() {
        let closed = |because| Closed { name: "tags".to_owned(), because };
        let array = closed(ClosedBecause::Type { name: "text[]".to_owned(), shows_null: true });
        let table = |closed| Table::new("public".to_owned(), "orders".to_owned(), Vec::new(), closed);
        let said = words(&table(vec![array])).unwrap();
        assert_eq!(said, "public.orders.tags is text[] (only NULL can be written)");
        let filled = closed(ClosedBecause::Type { name: "text[]".to_owned(), shows_null: false });
        let said_of_filled = words(&table(vec![filled])).unwrap();
        assert_eq!(said_of_filled, "public.orders.tags is text[] (nothing can be written)");
        assert_eq!(words(&table(vec![closed(ClosedBecause::Generated)])), None);

        let told = ClosedColumns::default();
        assert_eq!(told.news("public.orders", Some(said.clone())).as_ref(), Some(&said));
        assert_eq!(told.news("public.orders", Some(said.clone())), None);
        assert_eq!(told.news("public.orders", None), None, "mended");
        assert_eq!(told.news("public.orders", Some(said.clone())), Some(said), "and broken again");
    }
}
