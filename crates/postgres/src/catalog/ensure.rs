//! Reads a table's shape from PostgreSQL's catalog, and makes what is missing where that is allowed.

use cdc_machine::Fault;
use cdc_syncer::{HoldReason, SqlState};
use tokio_postgres::Error;

use crate::bookkeeping::SCHEMA_LOCK;
use crate::catalog::shape::{self, Shape};
use crate::home::Home;
use crate::mapping::Deletes;
use crate::server::session::Session;
use crate::server::transaction::{begin, rollback};
use crate::server::trouble::Trouble;
use crate::settings::{Fence, Settings};
use crate::table::fields::MAX_IDENTIFIER_BYTES;
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

/// Finds the table, makes it a mirror where there is none, and adds the position's column where it is
/// missing. What becomes of a table without that column is for `fence` to say.
pub(crate) async fn ensure_table(
    session: &mut Session,
    settings: &Settings,
    home: &Home,
) -> Result<Shape, Trouble> {
    check_names(home)?;
    let dropped =
        || Trouble::new(Fault::Transient, OPERATION, format!("table {} was dropped just now", home.label()));
    let shape = match read(session, home).await? {
        Some(shape) => shape,
        None => {
            create_mirror(session, home, settings).await?;
            read(session, home).await?.ok_or_else(dropped)?
        }
    };
    // Nothing is added to a table that is refused.
    shape.check()?;
    if shape.fenced() || !add_position(session, settings, home).await? {
        return Ok(shape);
    }
    read(session, home).await?.ok_or_else(dropped)
}

/// Refuses names that PostgreSQL would cut silently: two collections could meet in one table.
pub(crate) fn check_names(home: &Home) -> Result<(), Trouble> {
    match [&home.schema, &home.name].into_iter().find(|name| name.len() > MAX_IDENTIFIER_BYTES) {
        Some(name) => Err(name_too_long(name)),
        None => Ok(()),
    }
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

async fn create_mirror(session: &mut Session, home: &Home, settings: &Settings) -> Result<(), Trouble> {
    let Home { schema, name, mapping, .. } = home;
    if let Some(why) = never_made(home, settings) {
        return Err(missing_table(home, why));
    }
    if !settings.is_schema_chosen
        && mapping.schema.is_none()
        && let Some(other) = elsewhere(session, home).await?
    {
        return Err(Trouble::held(
            HoldReason::TableMissing,
            OPERATION,
            format!(
                "table {} is missing, and {other} is there by the role's search_path; set postgres.schema to the one \
                 that is meant, or name the table under tables:",
                home.label()
            ),
        ));
    }
    let mut sql = mirror_sql(schema, name);
    if mapping.deletes == Deletes::Soft {
        sql.insert_str(sql.len() - 1, ", cdc_deleted_at timestamp with time zone");
    }
    change_schema(session, DDL_LOCK_TIMEOUT, &sql).await.map_err(|error| {
        let trouble = Trouble::of(OPERATION, error);
        if is_of_the_table(&trouble) { missing_table(home, &trouble.failure.message) } else { trouble }
    })?;
    tracing::info!(table = %format_args!("{schema}.{name}"), "created a mirror table");
    Ok(())
}

/// Why a missing table is never made; nothing where it is.
pub(crate) fn never_made(home: &Home, settings: &Settings) -> Option<&'static str> {
    if !settings.manage_schema {
        Some("postgres.manage_schema is false")
    } else if home.mapping.columns.is_some() {
        Some("tables: says what its columns take, so it is somebody else's to make")
    } else {
        None
    }
}

/// A table of this name in another schema of the role's search path.
async fn elsewhere(session: &Session, home: &Home) -> Result<Option<String>, Trouble> {
    const SQL: &str = "\
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relname = $1::text AND c.relkind IN ('r', 'p') AND n.nspname <> $2::text \
        AND n.nspname = ANY (current_schemas(false)) ORDER BY array_position(current_schemas(false), n.nspname) LIMIT 1";
    let found = session.client.query_opt(SQL, &[&home.name, &home.schema]).await;
    Ok(found.map_err(|error| Trouble::of(OPERATION, error))?.map(|row| row.get(0)))
}

/// Adds the position's column; false where it is missing and need not be there. The table's own lock is waited for so
/// shortly because everybody else waits behind this one.
async fn add_position(session: &mut Session, settings: &Settings, home: &Home) -> Result<bool, Trouble> {
    let (schema, name, label) = (&home.schema, &home.name, home.label());
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

fn name_too_long(name: &str) -> Trouble {
    Trouble::held(
        HoldReason::NameTooLong,
        OPERATION,
        format!(
            "{name} has more than {MAX_IDENTIFIER_BYTES} bytes, and no table or schema can bear such a name; name another \
             table for the collection under tables:, or take its topic out of kafka.topic"
        ),
    )
}

pub(crate) fn missing_table(home: &Home, why: &str) -> Trouble {
    let example = match home.mapping.columns {
        None => format!(", for instance: {}", mirror_sql(&home.schema, &home.name)),
        Some(_) => String::new(),
    };
    Trouble::held(
        HoldReason::TableMissing,
        OPERATION,
        format!("table {} is missing and cannot be created ({why}); create it{example}", home.label()),
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
pub(crate) async fn read(session: &mut Session, home: &Home) -> Result<Option<Shape>, Trouble> {
    begin(session, OPERATION).await?;
    let found = shape::read(session, home).await;
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
