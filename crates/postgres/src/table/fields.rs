//! Which columns a document's field goes to.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::mapping::Naming;
use crate::table::column::{Closed, Column, Origin};
use crate::table::column_type::ColumnType;

/// The longest name that PostgreSQL keeps, in bytes (`NAMEDATALEN` − 1).
pub(crate) const MAX_IDENTIFIER_BYTES: usize = 63;

/// What a document's field meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldTarget {
    /// A column, by its place in the table's columns.
    Column(usize),
    /// A column that no document has fed so far, likewise.
    Unfed(usize),
    /// A column that it cannot be written to, by its place among the closed ones.
    Closed(usize),
    /// Columns that take what is in it, or several that take it, by their place in [`FieldIndex::below`].
    Below(usize),
}

/// A column that takes what stands in a field of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Below {
    /// The column's place in the table's columns.
    pub(crate) column: usize,
    /// The keys from the field down; none for the field itself.
    pub(crate) keys: Vec<String>,
    /// The same as the end of a JSON Pointer.
    pub(crate) pointer: String,
}

/// The fields that have columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldIndex {
    by_name: HashMap<String, FieldTarget, RandomState>,
    below: Vec<Vec<Below>>,
    /// Columns that take the whole document.
    whole: Vec<usize>,
    /// How a field finds a column that is not called like it; nothing where each column's field is named.
    naming: Option<Naming>,
    goes_deep: bool,
}

impl FieldIndex {
    pub(crate) fn new(columns: &[Column], closed: &[Closed], naming: Option<Naming>) -> Self {
        let mut index = Self { naming, ..Self::default() };
        for (place, column) in columns.iter().enumerate().filter(|(_, column)| column.origin == Origin::Field)
        {
            match column.path.keys() {
                [] => index.whole.push(place),
                [field] if !index.by_name.contains_key(field) => {
                    let target =
                        if column.fed { FieldTarget::Column(place) } else { FieldTarget::Unfed(place) };
                    index.by_name.insert(field.clone(), target);
                }
                [field, keys @ ..] => index.add_below(field, place, keys),
            }
        }
        let is_array = |column: &Column| matches!(column.column_type, ColumnType::Array(_));
        index.goes_deep = !index.below.is_empty() || columns.iter().any(is_array);
        for (place, column) in closed.iter().enumerate() {
            index.by_name.insert(column.name.clone(), FieldTarget::Closed(place));
        }
        index
    }

    fn add_below(&mut self, field: &str, column: usize, keys: &[String]) {
        let place = match self.by_name.get(field) {
            Some(FieldTarget::Below(place)) => *place,
            other => {
                let first = match other {
                    Some(FieldTarget::Column(column) | FieldTarget::Unfed(column)) => {
                        vec![Below { column: *column, keys: Vec::new(), pointer: String::new() }]
                    }
                    Some(FieldTarget::Closed(_) | FieldTarget::Below(_)) | None => Vec::new(),
                };
                self.below.push(first);
                self.by_name.insert(field.to_owned(), FieldTarget::Below(self.below.len() - 1));
                self.below.len() - 1
            }
        };
        let pointer =
            keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect();
        self.below[place].push(Below { column, keys: keys.to_vec(), pointer });
    }

    /// What the document's field of this name meets; `None` where no column is called so.
    pub(crate) fn get(&self, name: &str) -> Option<FieldTarget> {
        self.by_name.get(name).copied()
    }

    /// The columns that take what is in a field.
    pub(crate) fn below(&self, place: usize) -> &[Below] {
        self.below.get(place).map(Vec::as_slice).unwrap_or_default()
    }

    /// True where a column takes values from inside a field, each with its type.
    pub(crate) const fn goes_deep(&self) -> bool {
        self.goes_deep
    }

    /// Columns that take the whole document.
    pub(crate) fn whole(&self) -> &[usize] {
        &self.whole
    }

    /// What a field meets that no column is called like: the column that its name comes to, where names may differ.
    pub(crate) fn folded(&self, name: &str) -> Option<FieldTarget> {
        let naming = self.naming?;
        let snake = (naming == Naming::SnakeCase).then(|| cut(&snake_case(name)).to_owned());
        let plain = || cut(&name.to_ascii_lowercase()).to_owned();
        snake
            .into_iter()
            .chain(std::iter::once_with(plain))
            .filter(|folded| folded != name)
            .find_map(|folded| self.get(&folded))
    }
}

/// As PostgreSQL cuts a name that is too long: between characters.
fn cut(name: &str) -> &str {
    let mut end = name.len().min(MAX_IDENTIFIER_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// `customerName`, `CustomerName` and `HTTPServer` as `customer_name` and `http_server`.
fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (at, char) in chars.iter().enumerate() {
        if char.is_ascii_uppercase() && at > 0 {
            let before = chars[at - 1];
            let ends_a_word = before.is_ascii_lowercase() || before.is_ascii_digit();
            let begins_a_word =
                before.is_ascii_uppercase() && chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
            if ends_a_word || begins_a_word {
                snake.push('_');
            }
        }
        snake.push(char.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::FieldPath;
    use crate::table::test_tables::column;

    fn index(names: &[&str], naming: Option<Naming>) -> FieldIndex {
        let columns: Vec<Column> =
            names.iter().map(|name| column(name, ColumnType::Int4, Origin::Field)).collect();
        FieldIndex::new(&columns, &[], naming)
    }

    #[test]
    fn names_are_folded_as_postgresql_folds_them() {
        let long = "a_field_name_that_is_a_good_deal_longer_than_what_postgresql_keeps";
        let index = index(&["orderid", &long[..63], "äb"], Some(Naming::Exact));
        assert_eq!(index.folded("orderId"), Some(FieldTarget::Column(0)));
        assert_eq!(index.folded(long), Some(FieldTarget::Column(1)));
        assert_eq!(index.folded("Äb"), None, "only ASCII is folded");
        assert_eq!(index.folded("order_id"), None);
        assert_eq!(index.folded("orderid"), None, "that is its own name");
        assert_eq!(cut(&"é".repeat(32)).len(), 62);
    }

    #[test]
    fn snake_case_comes_first_where_it_is_asked_for() {
        let names = ["customer_name", "customername", "http_server", "a1_b"];
        let index = index(&names, Some(Naming::SnakeCase));
        assert_eq!(index.folded("customerName"), Some(FieldTarget::Column(0)));
        assert_eq!(index.folded("CustomerName"), Some(FieldTarget::Column(0)));
        assert_eq!(index.folded("Customername"), Some(FieldTarget::Column(1)));
        assert_eq!(index.folded("HTTPServer"), Some(FieldTarget::Column(2)));
        assert_eq!(index.folded("a1B"), Some(FieldTarget::Column(3)));
    }

    #[test]
    fn mapped_names_are_never_folded() {
        assert_eq!(index(&["orderid"], None).folded("orderId"), None);
    }

    #[test]
    fn several_columns_may_take_from_one_field() {
        let at = |name: &str, path: &str| Column {
            path: path.parse().unwrap(),
            ..column(name, ColumnType::Jsonb, Origin::Field)
        };
        let columns = [at("a", "stats"), at("b", "stats.level"), at("c", "stats.levels.0"), at("d", "$")];
        let index = FieldIndex::new(&columns, &[], None);
        let Some(FieldTarget::Below(place)) = index.get("stats") else { panic!("{index:?}") };
        let found: Vec<(usize, &str)> =
            index.below(place).iter().map(|below| (below.column, below.pointer.as_str())).collect();
        assert_eq!(found, [(0, ""), (1, "/level"), (2, "/levels/0")]);
        assert_eq!(index.whole(), [3]);
        assert_eq!(FieldPath::of_field("a").keys(), ["a"]);
    }
}
