//! What the configuration says of one collection's table: its name, and what each of its columns takes.

use std::fmt;
use std::str::FromStr;

use cdc_machine::words;

words! {
    /// How a column is found for a document's field where nobody maps it.
    #[derive(Default)]
    pub enum Naming {
        /// The column of the field's name. Where there is none, the one that PostgreSQL makes of the name where it stands in
        /// DDL without quotes: in lower case, and cut at 63 bytes.
        #[default]
        Exact: "exact",
        /// The same, and then the column of the field's name in snake case: `customer_name` takes `customerName`.
        SnakeCase: "snake_case",
    }
}

words! {
    /// What a deleted document does to its row.
    #[derive(Default)]
    pub enum Deletes {
        /// The row is deleted.
        #[default]
        Hard: "hard",
        /// The row stays, and its column `cdc_deleted_at` says when the document was deleted. A newer write clears it.
        Soft: "soft",
        /// Nothing. The row stays as it was.
        Ignore: "ignore",
    }
}

/// What one collection's table is called, and what its columns take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableMapping {
    /// The table's schema, where it has one of its own.
    pub schema: Option<String>,
    /// The table's name, where it is not the collection's.
    pub table: Option<String>,
    /// What each column takes. Columns that are not named are left alone. `None`: each takes the field of its name.
    pub columns: Option<Vec<ColumnMapping>>,
    /// Columns that are left alone.
    pub leave: Vec<String>,
    /// Columns that take a value by its spelling, too.
    pub coerce: Vec<String>,
    /// What a deleted document does to its row.
    pub deletes: Deletes,
}

impl TableMapping {
    /// The columns that take the `_id`, or the fields of a composed one, in their order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let Some(columns) = &self.columns else { return vec!["id".to_owned()] };
        columns.iter().filter(|it| self.is_of_id(&it.path)).map(|it| it.column.clone()).collect()
    }

    /// The fields of a composed `_id` that have columns, in the order that it has to have them.
    #[must_use]
    pub fn id_parts(&self) -> Vec<&str> {
        let of_id = self.columns.iter().flatten().filter(|it| self.is_of_id(&it.path));
        of_id.filter_map(|it| it.path.part_of_id()).collect()
    }

    /// True of the `_id`, and of the fields of a composed one that no column takes as a whole.
    #[must_use]
    pub fn is_of_id(&self, path: &FieldPath) -> bool {
        let is_taken = || self.columns.iter().flatten().any(|it| it.path.is_id());
        path.is_id() || path.part_of_id().is_some() && !is_taken()
    }

    /// Sorts the id's columns to the front, in the order in which the mapping names them.
    pub(crate) fn place_of_id(&self, is_id: bool, column: &str) -> usize {
        if is_id { self.ids().iter().position(|id| id == column).unwrap_or(0) } else { usize::MAX }
    }
}

/// A column with what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMapping {
    /// The column.
    pub column: String,
    /// What it takes.
    pub path: FieldPath,
}

/// Where in a document a value stands: keys from the top down. A key of digits also counts the values of an array, from
/// zero. No key at all is the whole document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(Vec<String>);

/// A text that names no place in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPath;

impl FieldPath {
    /// How the whole document is spelled.
    pub const DOCUMENT: &str = "$";

    /// The keys, from the top down. They may hold dots.
    #[must_use]
    pub const fn of_keys(keys: Vec<String>) -> Self {
        Self(keys)
    }

    /// One field at the top.
    #[must_use]
    pub fn of_field(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// The keys, from the top down.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// True of the document's `_id` as a whole.
    #[must_use]
    pub fn is_id(&self) -> bool {
        matches!(&*self.0, [only] if only == "_id")
    }

    /// The field of a composed `_id` that this is; `None` of every other place.
    #[must_use]
    pub fn part_of_id(&self) -> Option<&str> {
        match &*self.0 {
            [first, part] if first == "_id" => Some(part),
            _ => None,
        }
    }
}

/// Keys with dots between.
impl FromStr for FieldPath {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        if text == Self::DOCUMENT {
            return Ok(Self(Vec::new()));
        }
        let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
        if keys.iter().any(String::is_empty) { Err(NotAPath) } else { Ok(Self(keys)) }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            [] => f.write_str(Self::DOCUMENT),
            keys => f.write_str(&keys.join(".")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_keys_with_dots_between() {
        let path: FieldPath = "stats.levels.0".parse().unwrap();
        assert_eq!(path.keys(), ["stats", "levels", "0"]);
        assert_eq!(path.to_string(), "stats.levels.0");
        assert_eq!("$".parse::<FieldPath>().unwrap().keys(), [""; 0]);
        for wrong in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(wrong.parse::<FieldPath>(), Err(NotAPath), "{wrong:?}");
        }
        assert!("_id".parse::<FieldPath>().unwrap().is_id());
        assert_eq!("_id.tenant".parse::<FieldPath>().unwrap().part_of_id(), Some("tenant"));
        assert_eq!("_id.a.b".parse::<FieldPath>().unwrap().part_of_id(), None);
    }
}
