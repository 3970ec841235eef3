//! Columns of types that the pipeline does not write are told of once, when a table is first looked at: each document that
//! has a field for one becomes a dead letter, and after the thousandth the reason is late.

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

/// `public.orders.tags is text[], which is not written`; nothing where every column takes a field.
fn words(table: &Table) -> Option<String> {
    let label = table.label();
    let of_type = table.closed.iter().filter_map(|closed| match &closed.because {
        ClosedBecause::Type { name, .. } => Some(format!("{label}.{} is {name}", closed.name)),
        ClosedBecause::Generated | ClosedBecause::AlwaysIdentity => None,
    });
    let columns = of_type.collect::<Vec<_>>().join(", ");
    (!columns.is_empty()).then(|| format!("{columns}: nothing but NULL can be written there"))
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
        assert_eq!(said, "public.orders.tags is text[]: nothing but NULL can be written there");
        assert_eq!(words(&table(vec![closed(ClosedBecause::Generated)])), None);

        let told = ClosedColumns::default();
        assert_eq!(told.news("public.orders", Some(said.clone())).as_ref(), Some(&said));
        assert_eq!(told.news("public.orders", Some(said.clone())), None);
        assert_eq!(told.news("public.orders", None), None, "mended");
        assert_eq!(told.news("public.orders", Some(said.clone())), Some(said), "and broken again");
    }
}
