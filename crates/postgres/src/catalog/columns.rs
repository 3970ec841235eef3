//! The columns of a table as PostgreSQL's catalog describes them.

use tokio_postgres::{Error, Row};

use crate::catalog::defaults::{self, IS_CONSTANT};
use crate::catalog::types::{Resolved, Types};
use crate::server::session::Session;
use crate::table::column::ColumnDefault;
use crate::table::column_type::ColumnType;
use crate::table::quote;

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
         a.atttypid, a.atttypmod, a.attnotnull, \
         a.attgenerated <> '', \
         a.attidentity::text, \
         CASE WHEN a.attgenerated <> '' THEN NULL WHEN d.adbin IS NOT NULL THEN pg_get_expr(d.adbin, 0) \
         ELSE pg_get_expr(t.typdefaultbin, 0) END, \
         {IS_CONSTANT}, \
         format_type(a.atttypid, a.atttypmod), \
         EXISTS (SELECT FROM pg_collation o WHERE o.oid = a.attcollation AND NOT o.collisdeterministic) \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         CROSS JOIN LATERAL (SELECT coalesce(d.adbin, t.typdefaultbin)::text) AS x(tree) \
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    );
    let rows = session.client.query(&sql, &[&oid]).await?;
    let types = Types::read(session, oid).await?;
    let mut described: Vec<Described> = rows.iter().map(|row| Described::of(row, &types)).collect();
    let mut constants = Vec::new();
    for (index, (row, column)) in rows.iter().zip(&described).enumerate() {
        let expression =
            row.get::<_, Option<&str>>(6).filter(|_| row.get::<_, Option<bool>>(7) == Some(true));
        if let Some(expression) = expression.filter(|_| column.default == ColumnDefault::Changing) {
            constants.push((index, typed(expression, &column.column_type, row.get(8))));
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
/// conversion to a shorter type would cut it where an INSERT fails. What travels as text is wanted as text.
fn typed(expression: &str, column_type: &ColumnType, shown: &str) -> String {
    let shown = if matches!(column_type, ColumnType::Text { .. }) { "text" } else { shown };
    let typed = format!("({expression})::{shown}");
    if column_type.cast().is_some() { format!("{typed}::text") } else { typed }
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
    fn of(row: &Row, types: &Types) -> Self {
        let (generated, identity): (bool, &str) = (row.get(4), row.get(5));
        let has_default = row.get::<_, Option<&str>>(6).is_some() || !identity.is_empty();
        let Resolved { column_type, domain, not_null, blurs } = types.resolve(row.get(1), row.get(2));
        let described = Self {
            name: row.get(0),
            column_type,
            domain,
            not_null: not_null || row.get::<_, bool>(3),
            generated,
            always_identity: identity == "a",
            untouched: None,
            blurs: blurs || row.get::<_, bool>(9),
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

    /// True where each INSERT that leaves it out fails.
    pub(crate) fn is_never_filled(&self) -> bool {
        self.not_null && !self.generated && self.default == ColumnDefault::None
    }
}
