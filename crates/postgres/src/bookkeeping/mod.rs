//! The schema `cdc`: who owns a partition and how far it is written, what the log lost before it was read, what
//! was deleted, what waits for other rows, whose table is whose, and which process has which name.

mod migrations;

use std::sync::atomic::{AtomicBool, Ordering};

use cdc_machine::Fault;
use cdc_ports::Failure;
use tokio_postgres::Error;

use self::migrations::NEEDED;
pub(crate) use self::migrations::{DEAD_LETTERS, LATEST, MEMBERS};
use crate::server::session::Session;
use crate::server::transaction::{begin, rollback};
use crate::server::trouble::Trouble;

/// Serialises schema changes among the pipeline's own processes. `pg_advisory_xact_lock` takes any number;
/// this one is "cdc-ddl" in ASCII.
pub(crate) const SCHEMA_LOCK: i64 = 0x0063_6463_2d64_646c;

const OPERATION: &str = "postgres_bookkeeping";

/// All that the schema needs, in one transaction, for a role that may create it. Safe to run again.
#[must_use]
pub fn bookkeeping_sql() -> String {
    migrations::sql_from(0)
}

/// Sees that the bookkeeping is there and of this program's version, and makes or upgrades it where it may. Where it may
/// not, an earlier version will do, if only that is there which a Syncer needs; `told` says whether that was said, with
/// the whole SQL, at an earlier connection. Returns the version.
pub(crate) async fn ensure(
    session: &mut Session,
    manage_schema: bool,
    told: &AtomicBool,
) -> Result<i32, Trouble> {
    let found = version(session).await.map_err(|error| Trouble::of(OPERATION, error))?;
    if found == LATEST {
        return Ok(found);
    }
    if found > LATEST {
        return Err(Trouble::new(
            Fault::Fatal,
            OPERATION,
            format!(
                "the schema cdc has version {found}, and this program knows versions up to {LATEST}; \
                 run the release that made it, or a later one"
            ),
        ));
    }
    if !manage_schema && found >= NEEDED {
        if !told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                operation = OPERATION,
                found,
                latest = LATEST,
                "the schema cdc is of version {found} and postgres.manage_schema is false: two Syncers of one `instance` \
                 are not told apart, and what else came with version {LATEST} is missing; run this as a role that may, \
                 and grant its tables to the pipeline's role:\n{}",
                migrations::sql_from(found)
            );
        }
        return Ok(found);
    }
    if !manage_schema {
        let state = if found == 0 { "missing".to_owned() } else { format!("of version {found}") };
        return Err(Trouble::new(
            Fault::Fatal,
            OPERATION,
            format!(
                "the schema cdc is {state}, this program needs version {LATEST}, and postgres.manage_schema is \
                 false; run this as a role that may create it, and grant its tables to the pipeline's role:\n{}",
                migrations::sql_from(found)
            ),
        ));
    }
    migrate(session).await
}

/// The schema's version; 0 where there is none.
pub(crate) async fn version(session: &Session) -> Result<i32, Error> {
    let there = session.client.query_one("SELECT to_regclass('cdc.version') IS NOT NULL", &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = session.client.query_opt("SELECT version FROM cdc.version", &[]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// Takes the missing steps. The version is read again behind the lock: another process may have taken them.
async fn migrate(session: &mut Session) -> Result<i32, Trouble> {
    begin(session, OPERATION).await?;
    let migrated = async {
        session.client.execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK]).await?;
        let found = version(session).await?;
        for migration in migrations::missing(found) {
            session.client.batch_execute(migration.sql).await?;
        }
        if found < LATEST {
            session.client.execute("UPDATE cdc.version SET version = $1", &[&LATEST]).await?;
        }
        session.client.batch_execute("COMMIT").await?;
        Ok(found)
    }
    .await;
    match migrated {
        Ok(found) => {
            session.in_doubt = false;
            tracing::info!(from = found, to = LATEST, "made or upgraded the bookkeeping schema cdc");
            Ok(LATEST.max(found))
        }
        Err(error) => {
            rollback(session).await;
            Err(Trouble::of(OPERATION, error))
        }
    }
}

/// The version of the bookkeeping, 0 where there is none, for a command that works with this one.
pub(crate) async fn usable(session: &Session, operation: &'static str, needed: i32) -> Result<i32, Failure> {
    let found = version(session).await.map_err(|error| Trouble::of(operation, error).failure)?;
    if found == 0 || (needed..=LATEST).contains(&found) {
        return Ok(found);
    }
    Err(Failure::new(
        Fault::Fatal,
        operation,
        format!(
            "the schema cdc has version {found}, and this command works with versions {needed} to {LATEST}; start this \
             release's Syncer, which upgrades it where it may and says what is missing where it may not, or run the \
             release that made it"
        ),
    ))
}

/// True where the bookkeeping is there, and of a version that a Syncer of this program works with.
pub(crate) async fn is_there(session: &Session, operation: &'static str) -> Result<bool, Failure> {
    usable(session, operation, NEEDED).await.map(|found| found > 0)
}
