//! Reads a table's shape from PostgreSQL's catalog, and makes what is missing where that is allowed.

use cdc_machine::Fault;
use tokio_postgres::Error;

use crate::bookkeeping::SCHEMA_LOCK;
use crate::failure::Trouble;
use crate::session::Session;
use crate::shape::{self, Shape};
use crate::table::quote;
use crate::transaction::{begin, rollback};

const OPERATION: &str = "postgres_catalog";

/// How long a schema change waits for a table's lock, so that it does not queue everybody else behind itself.
const DDL_LOCK_TIMEOUT: &str = "2s";

/// Longest identifier that PostgreSQL keeps whole (`NAMEDATALEN` − 1), in bytes. A longer one would be cut
/// silently, and two collections could meet in one table.
const MAX_IDENTIFIER_BYTES: usize = 63;

/// Finds the table, makes it a mirror where there is none, and adds the position's column where it is
/// missing. A table without that column runs without the fence.
pub(crate) async fn ensure_table(
    session: &mut Session,
    schema: &str,
    name: &str,
    manage_schema: bool,
) -> Result<Shape, Trouble> {
    if name.len() > MAX_IDENTIFIER_BYTES {
        return Err(Trouble::new(
            Fault::Fatal,
            OPERATION,
            format!(
                "collection {name} has a name of more than {MAX_IDENTIFIER_BYTES} bytes, which no table can bear"
            ),
        ));
    }
    let found = read(session, schema, name).await?;
    let shape = match found {
        Some(shape) => shape,
        None => {
            create_mirror(session, schema, name, manage_schema).await?;
            read(session, schema, name).await?.ok_or_else(|| {
                Trouble::new(
                    Fault::Transient,
                    OPERATION,
                    format!("table {schema}.{name} was dropped just now"),
                )
            })?
        }
    };
    // Nothing is added to a table that is refused.
    shape.check()?;
    if shape.fenced() || !add_position(session, (schema, name), manage_schema).await {
        return Ok(shape);
    }
    read(session, schema, name).await?.ok_or_else(|| {
        Trouble::new(Fault::Transient, OPERATION, format!("table {schema}.{name} was dropped just now"))
    })
}

/// The statement that makes a mirror table.
#[must_use]
pub fn mirror_sql(schema: &str, name: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{} (id text PRIMARY KEY, document jsonb, bson_types jsonb, \
         cdc_operation text, cdc_timestamp timestamp with time zone, cdc_position bytea)",
        quote(schema),
        quote(name)
    )
}

async fn create_mirror(
    session: &mut Session,
    schema: &str,
    name: &str,
    manage_schema: bool,
) -> Result<(), Trouble> {
    let sql = mirror_sql(schema, name);
    if !manage_schema {
        return Err(Trouble::new(
            Fault::Fatal,
            OPERATION,
            format!(
                "table {schema}.{name} is missing and postgres.manage_schema is false; create it, for instance: {sql}"
            ),
        ));
    }
    change_schema(session, &sql).await.map_err(|error| Trouble::of(OPERATION, error))?;
    tracing::info!(table = %format_args!("{schema}.{name}"), "created a mirror table");
    Ok(())
}

/// Adds the position's column. Where that is not allowed, or the table stays locked, says so and answers false.
async fn add_position(session: &mut Session, (schema, name): (&str, &str), manage_schema: bool) -> bool {
    let sql =
        format!("ALTER TABLE {}.{} ADD COLUMN IF NOT EXISTS cdc_position bytea", quote(schema), quote(name));
    let why = if manage_schema {
        match change_schema(session, &sql).await {
            Ok(()) => return true,
            Err(error) => Trouble::of(OPERATION, error).failure.message,
        }
    } else {
        "postgres.manage_schema is false".to_owned()
    };
    tracing::warn!(
        table = %format_args!("{schema}.{name}"),
        why,
        missing = sql,
        "the table has no column cdc_position: it is written WITHOUT THE FENCE, so that replays may take its \
         rows back to older versions for a while"
    );
    false
}

async fn change_schema(session: &mut Session, sql: &str) -> Result<(), Error> {
    session.in_doubt = true;
    let changed = async {
        session.client.batch_execute("BEGIN").await?;
        session.client.batch_execute(&format!("SET LOCAL lock_timeout = '{DDL_LOCK_TIMEOUT}'")).await?;
        session.client.execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK]).await?;
        session.client.batch_execute(sql).await?;
        session.client.batch_execute("COMMIT").await
    }
    .await;
    match changed {
        Ok(()) => session.in_doubt = false,
        Err(_) => rollback(session).await,
    }
    changed
}

/// Reads the table; `None` where there is none.
async fn read(session: &mut Session, schema: &str, name: &str) -> Result<Option<Shape>, Trouble> {
    begin(session, OPERATION).await?;
    let found = shape::read(session, schema, name).await;
    rollback(session).await;
    found.map_err(|error| Trouble::of(OPERATION, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_s_name_is_quoted() {
        assert!(mirror_sql("public", "odd\"name").contains(r#""public"."odd""name""#));
    }
}
