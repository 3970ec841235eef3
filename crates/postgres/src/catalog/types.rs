//! The types of a table's columns, through all levels of domains and arrays.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::{Error, Row};

use crate::catalog::column_types::column_type;
use crate::server::session::Session;
use crate::table::column_type::{ArrayType, ColumnType, EnumType};

/// Every type that a column's type leads to: the types under domains, and those of arrays' values. An array subscripts by
/// PostgreSQL's own function; other types with elements, `name` and `point` among them, are none. Without a modifier of -1 an
/// array of `char(n)` would be spelled as one of `char(1)`, and a conversion to it would cut its values.
const TYPES: &str = "\
WITH RECURSIVE reached(oid) AS (SELECT a.atttypid FROM pg_attribute a \
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped \
UNION SELECT u.oid FROM reached r JOIN pg_type t ON t.oid = r.oid \
CROSS JOIN LATERAL unnest(ARRAY[t.typbasetype, t.typelem]) AS u(oid) WHERE u.oid <> 0) \
SELECT t.oid, t.typtype::text, t.typbasetype, t.typtypmod, t.typnotnull, \
CASE WHEN t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc THEN t.typelem ELSE 0::oid END, \
format_type(t.oid, -1), t.typname = 'citext' AND t.typcategory = 'S' AND t.typinput::text ~ 'citextin$', \
ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) \
FROM reached r JOIN pg_type t ON t.oid = r.oid";

/// More levels than anybody has; PostgreSQL itself lets no type contain itself.
const LEVELS_MAX: usize = 64;

/// What a type comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) column_type: ColumnType,
    /// Whether there is a domain on the way.
    pub(crate) domain: bool,
    /// Whether one of the domains forbids NULL.
    pub(crate) not_null: bool,
    /// Whether it takes different texts for equal.
    pub(crate) blurs: bool,
}

#[derive(Debug)]
struct Type {
    kind: String,
    base: u32,
    modifier: i32,
    not_null: bool,
    /// 0 where it is no array.
    element: u32,
    /// As statements spell it, without a modifier.
    sql: String,
    citext: bool,
    labels: Vec<String>,
}

/// The types that a table's columns lead to.
#[derive(Debug)]
pub(crate) struct Types {
    by_oid: HashMap<u32, Type>,
}

impl Types {
    /// Reads them. An empty search path makes PostgreSQL qualify their names.
    pub(crate) async fn read(session: &Session, table: u32) -> Result<Self, Error> {
        let rows = session.client.query(TYPES, &[&table]).await?;
        Ok(Self { by_oid: rows.iter().map(|row| (row.get(0), Type::of(row))).collect() })
    }

    /// What a column of this type and this modifier is.
    pub(crate) fn resolve(&self, oid: u32, modifier: i32) -> Resolved {
        let (mut oid, mut modifier) = (oid, modifier);
        let (mut domain, mut not_null) = (false, false);
        for _ in 0..LEVELS_MAX {
            let Some(found) = self.by_oid.get(&oid).filter(|found| found.kind == "d") else { break };
            (oid, modifier) = (found.base, found.modifier);
            (domain, not_null) = (true, not_null || found.not_null);
        }
        let Some(found) = self.by_oid.get(&oid) else {
            let column_type = ColumnType::Unsupported(oid.to_string());
            return Resolved { column_type, domain, not_null, blurs: false };
        };
        let column_type = if found.element != 0 {
            self.array(found, modifier)
        } else if found.kind == "e" {
            let (sql, labels) = (found.sql.clone(), found.labels.to_vec());
            ColumnType::Enum(Arc::new(EnumType { sql, labels }))
        } else if found.citext {
            ColumnType::Text { max_chars: None, padded: false }
        } else {
            column_type(oid, modifier, found.sql.clone())
        };
        Resolved { column_type, domain, not_null, blurs: found.citext }
    }

    /// An array's modifier is its values'.
    fn array(&self, array: &Type, modifier: i32) -> ColumnType {
        let element = self.resolve(array.element, modifier);
        if matches!(element.column_type, ColumnType::Unsupported(_) | ColumnType::Array(_)) {
            return ColumnType::Unsupported(array.sql.clone());
        }
        ColumnType::Array(Arc::new(ArrayType {
            sql: array.sql.clone(),
            element: element.column_type,
            not_null: element.not_null,
        }))
    }
}

impl Type {
    fn of(row: &Row) -> Self {
        Self {
            kind: row.get(1),
            base: row.get(2),
            modifier: row.get(3),
            not_null: row.get(4),
            element: row.get(5),
            sql: row.get(6),
            citext: row.get(7),
            labels: row.get(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(sql: &str) -> Type {
        Type {
            kind: "b".to_owned(),
            base: 0,
            modifier: -1,
            not_null: false,
            element: 0,
            sql: sql.to_owned(),
            citext: false,
            labels: Vec::new(),
        }
    }

    #[test]
    fn domains_are_looked_through_and_arrays_looked_into() {
        let domain = |base, modifier, not_null| Type {
            kind: "d".to_owned(),
            base,
            modifier,
            not_null,
            ..plain("public.d")
        };
        let types = [
            (1043, plain("character varying")),
            (600, plain("point")),
            (1, domain(1043, 9, false)),
            (2, domain(1, -1, true)),
            (3, Type { element: 2, ..plain("public.d[]") }),
            (4, domain(3, -1, false)),
            (5, Type { element: 600, ..plain("point[]") }),
        ];
        let types = Types { by_oid: types.into() };
        let text = ColumnType::Text { max_chars: Some(5), padded: false };
        let short = types.resolve(2, -1);
        assert_eq!((short.column_type, short.domain, short.not_null), (text.clone(), true, true));
        let list = types.resolve(4, -1);
        let array = ArrayType { sql: "public.d[]".to_owned(), element: text, not_null: true };
        assert_eq!(
            (list.column_type, list.domain, list.not_null),
            (ColumnType::Array(Arc::new(array)), true, false)
        );
        assert_eq!(types.resolve(5, -1).column_type, ColumnType::Unsupported("point[]".to_owned()));
    }
}
