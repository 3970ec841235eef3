//! The schema `cdc`: who owns a partition and how far it is written, what the log lost before it was read, what
//! was deleted, what waits for a unique value, and whose table is whose.

use cdc_machine::Fault;

use crate::failure::Trouble;
use crate::session::Session;
use crate::transaction::{begin, rollback};

/// The bookkeeping's version. A newer one is refused by number.
const VERSION: i32 = 1;

/// Serialises schema changes among the pipeline's own processes. `pg_advisory_xact_lock` takes any number;
/// this one is "cdc-ddl" in ASCII.
pub(crate) const SCHEMA_LOCK: i64 = 0x0063_6463_2d64_646c;

/// All that the schema needs. Safe to run again.
pub const BOOKKEEPING_SQL: &str = "\
CREATE SCHEMA IF NOT EXISTS cdc;
CREATE TABLE IF NOT EXISTS cdc.version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL
);
INSERT INTO cdc.version (version) VALUES (1) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS cdc.partitions (
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    next_offset bigint,
    PRIMARY KEY (consumer_group, topic, partition)
);
CREATE TABLE IF NOT EXISTS cdc.gaps (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    cause text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS cdc.tombstones (
    table_name text COLLATE \"C\" NOT NULL,
    id text COLLATE \"C\" NOT NULL,
    position bytea NOT NULL,
    PRIMARY KEY (table_name, id)
);
CREATE TABLE IF NOT EXISTS cdc.parked (
    table_name text COLLATE \"C\" NOT NULL,
    id text COLLATE \"C\" NOT NULL,
    position bytea NOT NULL,
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    route numeric(20) NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    headers bytea NOT NULL,
    timestamp_ms bigint NOT NULL,
    constraint_name text,
    attempts integer NOT NULL DEFAULT 0,
    parked_at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, id)
);
CREATE INDEX IF NOT EXISTS parked_by_partition ON cdc.parked (consumer_group, topic, partition);
CREATE TABLE IF NOT EXISTS cdc.tables (
    table_name text PRIMARY KEY,
    consumer_group text NOT NULL,
    database_name text NOT NULL,
    collection_name text NOT NULL
);
";

const OPERATION: &str = "postgres_bookkeeping";

/// Sees that the bookkeeping is there, and makes it where it may.
pub(crate) async fn ensure(session: &mut Session, manage_schema: bool) -> Result<(), Trouble> {
    if !is_complete(session).await? {
        if !manage_schema {
            return Err(Trouble::new(
                Fault::Fatal,
                OPERATION,
                format!(
                    "the schema cdc is missing or incomplete and postgres.manage_schema is false; \
                     run this as a role that may create it, and grant its tables to the pipeline's role:\n\
                     {BOOKKEEPING_SQL}"
                ),
            ));
        }
        create(session).await?;
    }
    refuse_newer_version(session).await
}

async fn is_complete(session: &Session) -> Result<bool, Trouble> {
    let row = session
        .client
        .query_one(
            "SELECT to_regclass('cdc.version') IS NOT NULL AND to_regclass('cdc.partitions') IS NOT NULL \
             AND to_regclass('cdc.gaps') IS NOT NULL AND to_regclass('cdc.tombstones') IS NOT NULL \
             AND to_regclass('cdc.tables') IS NOT NULL AND to_regclass('cdc.parked') IS NOT NULL",
            &[],
        )
        .await
        .map_err(|error| Trouble::of(OPERATION, error))?;
    Ok(row.get(0))
}

/// `IF NOT EXISTS` is not safe against a second process that creates at the same moment; the lock is.
async fn create(session: &mut Session) -> Result<(), Trouble> {
    begin(session, OPERATION).await?;
    let created = async {
        session.client.execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK]).await?;
        session.client.batch_execute(BOOKKEEPING_SQL).await?;
        session.client.batch_execute("COMMIT").await
    }
    .await;
    match created {
        Ok(()) => {
            session.in_doubt = false;
            tracing::info!("created the bookkeeping schema cdc");
            Ok(())
        }
        Err(error) => {
            rollback(session).await;
            Err(Trouble::of(OPERATION, error))
        }
    }
}

async fn refuse_newer_version(session: &Session) -> Result<(), Trouble> {
    let row = session
        .client
        .query_opt("SELECT version FROM cdc.version", &[])
        .await
        .map_err(|error| Trouble::of(OPERATION, error))?;
    match row.map(|row| row.get::<_, i32>(0)) {
        Some(found) if found > VERSION => Err(Trouble::new(
            Fault::Fatal,
            OPERATION,
            format!(
                "the schema cdc has version {found}, and this program knows versions up to {VERSION}; \
                 run the release that made it, or a later one"
            ),
        )),
        _ => Ok(()),
    }
}

/// Claims a table for one collection and one consumer group. Two writers with positions of different sources
/// would fence each other off.
pub(crate) async fn claim_table(
    session: &Session,
    table: &str,
    consumer_group: &str,
    database: &str,
    collection: &str,
) -> Result<(), Trouble> {
    let claim = async {
        session
            .client
            .execute(
                "INSERT INTO cdc.tables (table_name, consumer_group, database_name, collection_name) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                &[&table, &consumer_group, &database, &collection],
            )
            .await?;
        session
            .client
            .query_one(
                "SELECT consumer_group, database_name, collection_name FROM cdc.tables WHERE table_name = $1",
                &[&table],
            )
            .await
    };
    let row = claim.await.map_err(|error| Trouble::of(OPERATION, error))?;
    let (group, db, coll): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    if (group, db, coll) == (consumer_group, database, collection) {
        return Ok(());
    }
    Err(Trouble::new(
        Fault::Fatal,
        OPERATION,
        format!(
            "table {table} is claimed by consumer group {group} for {db}.{coll}, and group {consumer_group} \
             now brings {database}.{collection}; a table has one source. If the claim is out of date: \
             DELETE FROM cdc.tables WHERE table_name = '{table}'"
        ),
    ))
}
