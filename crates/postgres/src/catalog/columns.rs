//! The columns of a table as PostgreSQL's catalog describes them.

use tokio_postgres::{Error, Row};

use crate::catalog::claim::Kind;
use crate::catalog::column_types::column_type;
use crate::catalog::defaults::{self, IS_CONSTANT};
use crate::server::session::Session;
use crate::table::{ClosedBecause, ColumnDefault, ColumnType, Origin, quote};

/// One column, described.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    /// Whether it is of a domain.
    pub(crate) domain: bool,
    pub(crate) not_null: bool,
    pub(crate) generated: bool,
    pub(crate) always_identity: bool,
    pub(crate) default: ColumnDefault,
    /// The condition that it holds nothing but what an INSERT would give it; nothing where that cannot be told.
    pub(crate) untouched: Option<String>,
    /// Whether its collation takes different texts for equal.
    pub(crate) blurs: bool,
}

/// A domain's own default counts where its column has none. Defaults name no columns; given the table,
/// `pg_get_expr` would gather the names of all its columns for each of them, which takes seconds where there are 1,600.
pub(crate) async fn columns(session: &Session, oid: u32) -> Result<Vec<Described>, Error> {
    let sql = format!(
        "SELECT a.attname::text, \
         CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE a.atttypid END, \
         CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, \
         format_type(a.atttypid, a.atttypmod), \
         t.typtype = 'd', \
         a.attnotnull OR t.typnotnull, \
         a.attgenerated <> '', \
         a.attidentity::text, \
         CASE WHEN a.attgenerated <> '' THEN NULL WHEN d.adbin IS NOT NULL THEN pg_get_expr(d.adbin, 0) \
         ELSE pg_get_expr(t.typdefaultbin, 0) END, \
         {IS_CONSTANT}, \
         CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) \
         ELSE format_type(a.atttypid, a.atttypmod) END, \
         EXISTS (SELECT FROM pg_collation o WHERE o.oid = a.attcollation AND NOT o.collisdeterministic) \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         CROSS JOIN LATERAL (SELECT coalesce(d.adbin, t.typdefaultbin)::text) AS x(tree) \
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    );
    let rows = session.client.query(&sql, &[&oid]).await?;
    let mut described: Vec<Described> = rows.iter().map(Described::of).collect();
    let mut constants = Vec::new();
    for (index, (row, column)) in rows.iter().zip(&described).enumerate() {
        let expression =
            row.get::<_, Option<&str>>(8).filter(|_| row.get::<_, Option<bool>>(9) == Some(true));
        if let Some(expression) = expression.filter(|_| column.default == ColumnDefault::Changing) {
            constants.push((index, typed(expression, &column.column_type, row.get(10))));
        }
    }
    for ((index, default), (_, expression)) in
        defaults::evaluate(session, &constants).await?.iter().zip(&constants)
    {
        if let Some(column) = described.get_mut(*index) {
            column.default = fitting(default.clone(), &column.column_type);
            column.untouched = column.is_untouched(Some(expression));
        }
    }
    Ok(described)
}

/// An expression is shown without the conversion to its column's type. Text keeps its length, because a
/// conversion to a shorter type would cut it where an INSERT fails.
fn typed(expression: &str, column_type: &ColumnType, shown: &str) -> String {
    let shown = if matches!(column_type, ColumnType::Text { .. }) { "text" } else { shown };
    format!("({expression})::{shown}")
}

fn fitting(default: ColumnDefault, column_type: &ColumnType) -> ColumnDefault {
    match (&default, column_type) {
        (ColumnDefault::Constant(value), ColumnType::Text { max_chars: Some(max), .. })
            if String::from_utf8_lossy(value).chars().count() > *max =>
        {
            ColumnDefault::Changing
        }
        _ => default,
    }
}

impl Described {
    /// Its default is evaluated later, where it is constant.
    fn of(row: &Row) -> Self {
        let (generated, identity): (bool, &str) = (row.get(6), row.get(7));
        let has_default = row.get::<_, Option<&str>>(8).is_some() || !identity.is_empty();
        let described = Self {
            name: row.get(0),
            column_type: column_type(row.get(1), row.get(2), row.get(3)),
            domain: row.get(4),
            not_null: row.get(5),
            generated,
            always_identity: identity == "a",
            untouched: None,
            blurs: row.get(11),
            default: if has_default && !generated { ColumnDefault::Changing } else { ColumnDefault::None },
        };
        Self { untouched: described.is_untouched(None), ..described }
    }

    /// `default` is its constant default, in SQL. What a generated column holds comes back by itself.
    fn is_untouched(&self, default: Option<&str>) -> Option<String> {
        let column = format!("t.{}", quote(&self.name));
        match (&self.default, default) {
            _ if self.generated => Some("true".to_owned()),
            (ColumnDefault::None, _) => Some(format!("{column} IS NULL")),
            (ColumnDefault::Constant(_), Some(default)) => {
                Some(format!("{column}::text IS NOT DISTINCT FROM ({default})::text"))
            }
            (ColumnDefault::Constant(_) | ColumnDefault::Changing, _) => None,
        }
    }

    pub(crate) fn origin(&self, kind: Kind) -> Origin {
        origin(&self.name, kind)
    }

    /// True where a document's field of its name may be written to it.
    pub(crate) fn takes_a_field(&self, kind: Kind) -> bool {
        self.origin(kind) == Origin::Field && self.closed_because().is_none()
    }

    /// True where each INSERT that leaves it out fails.
    pub(crate) fn is_never_filled(&self) -> bool {
        self.not_null && !self.generated && self.default == ColumnDefault::None
    }

    pub(crate) fn closed_because(&self) -> Option<ClosedBecause> {
        if self.generated {
            return Some(ClosedBecause::Generated);
        }
        if self.always_identity {
            return Some(ClosedBecause::AlwaysIdentity);
        }
        let ColumnType::Unsupported(name) = &self.column_type else { return None };
        let shows_null = !self.not_null && self.default == ColumnDefault::None;
        Some(ClosedBecause::Type { name: name.clone(), shows_null })
    }
}

fn origin(name: &str, kind: Kind) -> Origin {
    match name {
        "id" => Origin::Id,
        "updated_at" => Origin::UpdatedAt,
        "cdc_operation" => Origin::Operation,
        "cdc_timestamp" => Origin::WrittenAt,
        "cdc_position" => Origin::Position,
        "document" if kind == Kind::Mirror => Origin::Document,
        "bson_types" if kind == Kind::Mirror => Origin::BsonTypes,
        _ => Origin::Field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_s_columns_win_over_fields_of_their_names() {
        assert_eq!(origin("updated_at", Kind::Typed), Origin::UpdatedAt);
        assert_eq!(origin("cdc_position", Kind::Typed), Origin::Position);
        assert_eq!(origin("document", Kind::Typed), Origin::Field);
        assert_eq!(origin("Updated_At", Kind::Typed), Origin::Field);
    }
}
