//! Which defaults are constant, and what they are.
//!
//! A document that lacks a field that others have gets the column's default where that is the same for ever: the
//! row is then a function of the document alone. `now()`, a sequence or a random number belongs to the INSERT of a
//! column that no document feeds.

use std::error::Error as StdError;

use postgres_types::{FromSql, Type};
use tokio_postgres::Error;

use crate::server::session::Session;
use crate::table::column::ColumnDefault;

/// Whether the expression tree `x.tree` is constant: made of constants, immutable functions and operators, and
/// conversions between types whose input and output are immutable. Anything that is not known here is not.
///
/// Functions and operators are looked up one by one: a join may be planned as a scan of the whole catalog for each column.
pub(crate) const IS_CONSTANT: &str = r"(x.tree IS NOT NULL
 AND NOT EXISTS (SELECT FROM regexp_matches(x.tree, '\{([A-Z]+)', 'g') AS m(found)
  WHERE found[1] <> ALL ('{CONST,FUNCEXPR,OPEXPR,BOOLEXPR,RELABELTYPE,COERCEVIAIO,COERCETODOMAIN,COLLATE,COLLATEEXPR,ARRAY,ARRAYEXPR,COALESCE,COALESCEEXPR}'))
 AND NOT EXISTS (SELECT FROM regexp_matches(x.tree, ':funcid (\d+)', 'g') AS m(found)
  WHERE (SELECT p.provolatile FROM pg_catalog.pg_proc p WHERE p.oid = found[1]::oid) IS DISTINCT FROM 'i')
 AND NOT EXISTS (SELECT FROM regexp_matches(x.tree, ':opno (\d+)', 'g') AS m(found)
  WHERE (SELECT (SELECT p.provolatile FROM pg_catalog.pg_proc p WHERE p.oid = o.oprcode)
   FROM pg_catalog.pg_operator o WHERE o.oid = found[1]::oid) IS DISTINCT FROM 'i')
 AND (x.tree !~ '\{COERCEVIAIO' OR NOT EXISTS (
  SELECT FROM regexp_matches(x.tree, ':(?:consttype|funcresulttype|opresulttype|resulttype) (\d+)', 'g') AS m(found)
  WHERE (SELECT (SELECT i.provolatile::text FROM pg_catalog.pg_proc i WHERE i.oid = y.typinput)
   || (SELECT o.provolatile::text FROM pg_catalog.pg_proc o WHERE o.oid = y.typoutput)
   FROM pg_catalog.pg_type y WHERE y.oid = found[1]::oid) <> 'ii')))";

/// A value as the server sends it, which is how it is sent back.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Evaluates constant expressions, each by the place of its column. Runs inside a transaction. One that fails
/// would fail in every INSERT, too; it is left to those.
pub(crate) async fn evaluate(
    session: &Session,
    constants: &[(usize, String)],
) -> Result<Vec<(usize, ColumnDefault)>, Error> {
    if constants.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<&str> = constants.iter().map(|(_, expression)| expression.as_str()).collect();
    if let Some(values) = select(session, &all).await? {
        return Ok(constants.iter().map(|(column, _)| *column).zip(values).collect());
    }
    let mut evaluated = Vec::with_capacity(constants.len());
    for (column, expression) in constants {
        let value = select(session, &[expression]).await?.and_then(|values| values.into_iter().next());
        evaluated.push((*column, value.unwrap_or(ColumnDefault::Changing)));
    }
    Ok(evaluated)
}

/// Nothing where one of the expressions fails.
async fn select(session: &Session, expressions: &[&str]) -> Result<Option<Vec<ColumnDefault>>, Error> {
    let client = &session.client;
    let listed: Vec<String> = expressions.iter().map(|expression| format!("({expression})")).collect();
    client.batch_execute("SAVEPOINT cdc_defaults").await?;
    match client.query_one(&format!("SELECT {}", listed.join(", ")), &[]).await {
        Ok(row) => {
            client.batch_execute("RELEASE SAVEPOINT cdc_defaults").await?;
            let value = |index| match row.get::<_, Option<Raw>>(index) {
                Some(Raw(bytes)) => ColumnDefault::Constant(bytes),
                None => ColumnDefault::None,
            };
            Ok(Some((0..expressions.len()).map(value).collect()))
        }
        Err(error) if error.as_db_error().is_some() => {
            client.batch_execute("ROLLBACK TO SAVEPOINT cdc_defaults").await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
