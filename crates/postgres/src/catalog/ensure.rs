//! Reads a table's shape from PostgreSQL's catalog, and makes what is missing where that is allowed.

use cdc_machine::Fault;
use cdc_syncer::{HoldReason, SqlState};
use tokio_postgres::Error;

use crate::bookkeeping::SCHEMA_LOCK;
use crate::catalog::shape::{self, Shape};
use crate::server::session::Session;
use crate::server::transaction::{begin, rollback};
use crate::server::trouble::Trouble;
use crate::settings::{Fence, Settings};
use crate::table::quote;

const OPERATION: &str = "postgres_catalog";

/// How long the making of a table waits for another process's.
const DDL_LOCK_TIMEOUT: &str = "2s";

/// How long the adding of the position's column waits for the table's lock.
const FENCE_LOCK_TIMEOUT: &str = "300ms";

/// insufficient_privilege
const FORBIDDEN: &str = "42501";

/// invalid_schema_name
const MISSING_SCHEMA: &str = "3F000";

/// Longest identifier that PostgreSQL keeps whole (`NAMEDATALEN` − 1), in bytes. A longer one would be cut
/// silently, and two collections could meet in one table.
pub(crate) const MAX_IDENTIFIER_BYTES: usize = 63;

/// Finds the table, makes it a mirror where there is none, and adds the position's column where it is
/// missing. What becomes of a table without that column is for `fence` to say.
pub(crate) async fn ensure_table(
    session: &mut Session,
    settings: &Settings,
    name: &str,
) -> Result<Shape, Trouble> {
    let schema = settings.schema.as_str();
    if name.len() > MAX_IDENTIFIER_BYTES {
        return Err(name_too_long(name));
    }
    let found = read(session, schema, name).await?;
    let shape = match found {
        Some(shape) => shape,
        None => {
            create_mirror(session, schema, name, settings.manage_schema).await?;
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
    if shape.fenced() || !add_position(session, settings, name).await? {
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
        return Err(missing_table(schema, name, "postgres.manage_schema is false"));
    }
    change_schema(session, DDL_LOCK_TIMEOUT, &sql).await.map_err(|error| {
        let trouble = Trouble::of(OPERATION, error);
        if is_of_the_table(&trouble) {
            missing_table(schema, name, &trouble.failure.message)
        } else {
            trouble
        }
    })?;
    tracing::info!(table = %format_args!("{schema}.{name}"), "created a mirror table");
    Ok(())
}

/// Adds the position's column; false where it is missing and need not be there. The table's own lock is waited for so
/// shortly because everybody else waits behind this one.
async fn add_position(session: &mut Session, settings: &Settings, name: &str) -> Result<bool, Trouble> {
    let schema = settings.schema.as_str();
    let label = format!("{schema}.{name}");
    let sql =
        format!("ALTER TABLE {}.{} ADD COLUMN IF NOT EXISTS cdc_position bytea", quote(schema), quote(name));
    let (reason, why) = if settings.manage_schema {
        match change_schema(session, FENCE_LOCK_TIMEOUT, &sql)
            .await
            .map_err(|error| Trouble::of(OPERATION, error))
        {
            Ok(()) => return Ok(true),
            Err(trouble) if is_lock(&trouble) => (HoldReason::Locked, trouble.failure.message),
            Err(trouble) if is_of_the_table(&trouble) => (HoldReason::NotFenced, trouble.failure.message),
            Err(trouble) => return Err(trouble),
        }
    } else {
        (HoldReason::NotFenced, "postgres.manage_schema is false".to_owned())
    };
    if settings.fence == Fence::Required {
        let next = if reason == HoldReason::Locked {
            "it is tried again until the lock is gone".to_owned()
        } else {
            format!("run this as the table's owner: {sql}; or set fence: if_possible to go without it")
        };
        return Err(Trouble::held(
            reason,
            OPERATION,
            format!(
                "table {label} has no column cdc_position, without which replays take its rows back to older \
                 versions, and it cannot be added ({why}); {next}"
            ),
        ));
    }
    tracing::warn!(
        table = label,
        why,
        missing = sql,
        "the table has no column cdc_position, and fence is if_possible: it is written WITHOUT THE FENCE, so that \
         replays may take its rows back to older versions for a while"
    );
    Ok(false)
}

/// True where a lock was in the way, for the pipeline's own waits.
fn is_lock(trouble: &Trouble) -> bool {
    trouble.failure.fault == Fault::RetryNow && trouble.sqlstate.is_some_and(|code| code.as_str() == "55P03")
}

/// True where the server has judged this table, and not the connection, itself or the transaction.
fn is_of_the_table(trouble: &Trouble) -> bool {
    let code = trouble.sqlstate.as_ref().map_or("", SqlState::as_str);
    matches!(code, FORBIDDEN | MISSING_SCHEMA)
        || matches!(trouble.failure.fault, Fault::Fatal | Fault::Poison) && !code.is_empty()
}

pub(crate) fn name_too_long(collection: &str) -> Trouble {
    Trouble::held(
        HoldReason::NameTooLong,
        OPERATION,
        format!(
            "collection {collection} has a name of more than {MAX_IDENTIFIER_BYTES} bytes, which no table can bear; \
             rename the collection, or take its topic out of kafka.topic"
        ),
    )
}

pub(crate) fn missing_table(schema: &str, name: &str, why: &str) -> Trouble {
    let sql = mirror_sql(schema, name);
    Trouble::held(
        HoldReason::TableMissing,
        OPERATION,
        format!(
            "table {schema}.{name} is missing and cannot be created ({why}); create it, for instance: {sql}"
        ),
    )
}

async fn change_schema(session: &mut Session, lock_timeout: &str, sql: &str) -> Result<(), Error> {
    session.in_doubt = true;
    let changed = async {
        session.client.batch_execute("BEGIN").await?;
        session.client.batch_execute(&format!("SET LOCAL lock_timeout = '{lock_timeout}'")).await?;
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
pub(crate) async fn read(session: &mut Session, schema: &str, name: &str) -> Result<Option<Shape>, Trouble> {
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
