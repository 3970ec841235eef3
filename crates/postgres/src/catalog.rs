//! Reads a table's shape from PostgreSQL's catalog, and makes what is missing where that is allowed.

use cdc_machine::Fault;
use tokio_postgres::{Error, Row};

use crate::bookkeeping::SCHEMA_LOCK;
use crate::failure::Trouble;
use crate::session::Session;
use crate::table::{Column, ColumnType, NumericLimit, Origin, Table, quote};
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
) -> Result<Table, Trouble> {
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
    let table = match found {
        Some(table) => table,
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
    if table.fenced || !add_position(session, &table, manage_schema).await {
        return Ok(table);
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
async fn add_position(session: &mut Session, table: &Table, manage_schema: bool) -> bool {
    let sql = format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS cdc_position bytea", table.quoted());
    let why = if manage_schema {
        match change_schema(session, &sql).await {
            Ok(()) => return true,
            Err(error) => Trouble::of(OPERATION, error).failure.message,
        }
    } else {
        "postgres.manage_schema is false".to_owned()
    };
    tracing::warn!(
        table = table.label(),
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
async fn read(session: &mut Session, schema: &str, name: &str) -> Result<Option<Table>, Trouble> {
    begin(session, OPERATION).await?;
    let rows = query(session, schema, name).await;
    rollback(session).await;
    match rows.map_err(|error| Trouble::of(OPERATION, error))? {
        Some(found) => assemble(schema, name, &found).map(Some),
        None => Ok(None),
    }
}

/// What the catalog has of a table.
struct Found {
    kind: String,
    unique_id: bool,
    cascades: bool,
    columns: Vec<Row>,
}

/// An empty search path makes `pg_get_expr` qualify every name in a default's expression.
async fn query(session: &Session, schema: &str, name: &str) -> Result<Option<Found>, Error> {
    session.client.batch_execute("SET LOCAL search_path = ''").await?;
    let relation = session
        .client
        .query_opt(
            "SELECT c.oid, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
            &[&schema, &name],
        )
        .await?;
    let Some(relation) = relation else { return Ok(None) };
    let oid: u32 = relation.get(0);
    let unique = session
        .client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a \
             ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
             WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate \
             AND i.indpred IS NULL AND i.indnkeyatts = 1 AND a.attname = 'id')",
            &[&oid],
        )
        .await?;
    let cascades = session
        .client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = $1 \
             AND confdeltype IN ('c', 'n', 'd'))",
            &[&oid],
        )
        .await?;
    let columns = session
        .client
        .query(
            "SELECT a.attname::text, \
             CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE a.atttypid END, \
             CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, \
             a.attnotnull OR t.typnotnull, \
             a.attgenerated <> '' OR a.attidentity <> '', \
             pg_get_expr(d.adbin, d.adrelid), \
             format_type(a.atttypid, a.atttypmod) \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            &[&oid],
        )
        .await?;
    Ok(Some(Found { kind: relation.get(1), unique_id: unique.get(0), cascades: cascades.get(0), columns }))
}

fn assemble(schema: &str, name: &str, found: &Found) -> Result<Table, Trouble> {
    let refuse = |what: &str| {
        Trouble::new(Fault::Fatal, OPERATION, format!("table {schema}.{name} cannot be written: {what}"))
    };
    if found.kind != "r" {
        return Err(refuse(
            "it is not an ordinary table (views, foreign and partitioned tables are not supported)",
        ));
    }
    let described: Vec<Described> = found.columns.iter().map(Described::of).collect();
    let mirror = is_mirror(&described);
    let mut columns = Vec::with_capacity(described.len());
    let mut unsupported = Vec::new();
    for it in described {
        let origin = origin(&it.name, mirror);
        if it.generated && origin == Origin::Field {
            continue;
        }
        check_type(&it, origin).map_err(|what| refuse(&what))?;
        let column = Column {
            name: it.name,
            column_type: it.column_type,
            origin,
            not_null: it.not_null,
            default: it.default,
        };
        match (origin, &column.column_type) {
            (Origin::Id, _) => columns.insert(0, column),
            (_, ColumnType::Unsupported(_)) => unsupported.push(column),
            _ => columns.push(column),
        }
    }
    if columns.first().is_none_or(|column| column.origin != Origin::Id) {
        return Err(refuse("it has no column id, which takes the document's _id"));
    }
    if !found.unique_id {
        return Err(refuse(
            "its column id is neither the primary key nor unique by itself; add PRIMARY KEY (id)",
        ));
    }
    let mut table = Table::new(schema.to_owned(), name.to_owned(), columns, unsupported);
    table.cascades = found.cascades;
    Ok(table)
}

/// One row of the catalog's answer.
struct Described {
    name: String,
    column_type: ColumnType,
    not_null: bool,
    generated: bool,
    default: Option<String>,
}

impl Described {
    fn of(row: &Row) -> Self {
        let shown: String = row.get(6);
        Self {
            name: row.get(0),
            column_type: column_type(row.get(1), row.get(2), shown),
            not_null: row.get(3),
            generated: row.get(4),
            default: row.get(5),
        }
    }
}

/// A mirror keeps the whole document in `document` and its sidecar in `bson_types`, and nothing else of it.
fn is_mirror(columns: &[Described]) -> bool {
    let json = |name: &str| {
        columns.iter().any(|column| column.name == name && column.column_type == ColumnType::Jsonb)
    };
    json("document")
        && json("bson_types")
        && columns.iter().all(|column| origin(&column.name, true) != Origin::Field)
}

fn origin(name: &str, mirror: bool) -> Origin {
    match name {
        "id" => Origin::Id,
        "updated_at" => Origin::UpdatedAt,
        "cdc_operation" => Origin::Operation,
        "cdc_timestamp" => Origin::WrittenAt,
        "cdc_position" => Origin::Position,
        "document" if mirror => Origin::Document,
        "bson_types" if mirror => Origin::BsonTypes,
        _ => Origin::Field,
    }
}

/// The pipeline's own columns must be able to hold what the pipeline puts there.
fn check_type(column: &Described, origin: Origin) -> Result<(), String> {
    let (fits, wanted) = match origin {
        Origin::Id => (
            !matches!(column.column_type, ColumnType::Unsupported(_) | ColumnType::Json) && !column.generated,
            "a type that an _id fits, and not be generated",
        ),
        Origin::UpdatedAt | Origin::WrittenAt => (
            matches!(column.column_type, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }),
            "timestamp or timestamp with time zone",
        ),
        Origin::Operation => (
            matches!(column.column_type, ColumnType::Text { max_chars, .. } if max_chars.is_none_or(|max| max >= 8)),
            "text, or varchar of at least 8 characters",
        ),
        Origin::Position => (column.column_type == ColumnType::Bytea, "bytea"),
        Origin::Field | Origin::Document | Origin::BsonTypes => (true, ""),
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "column {} belongs to the pipeline and has type {}, where it has to be {wanted}",
        column.name,
        column.column_type.name()
    ))
}

/// A type by its number (`pg_type.dat` in PostgreSQL's source; these never change) and its modifier.
fn column_type(oid: u32, modifier: i32, shown: String) -> ColumnType {
    // varchar, char and numeric store their modifier with 4 added; -1 is none.
    let length = usize::try_from(modifier - 4).ok();
    let digits = u32::try_from(modifier).unwrap_or(6);
    match oid {
        25 => ColumnType::Text { max_chars: None, padded: false },
        1043 => ColumnType::Text { max_chars: length, padded: false },
        1042 => ColumnType::Text { max_chars: length, padded: true },
        21 => ColumnType::Int2,
        23 => ColumnType::Int4,
        20 => ColumnType::Int8,
        700 => ColumnType::Float4,
        701 => ColumnType::Float8,
        1700 => ColumnType::Numeric { limit: numeric_limit(modifier) },
        16 => ColumnType::Bool,
        1114 => ColumnType::Timestamp { digits },
        1184 => ColumnType::TimestampTz { digits },
        1082 => ColumnType::Date,
        2950 => ColumnType::Uuid,
        17 => ColumnType::Bytea,
        114 => ColumnType::Json,
        3802 => ColumnType::Jsonb,
        _ => ColumnType::Unsupported(shown),
    }
}

/// `numeric`'s modifier: precision in the upper half, an eleven-bit signed scale in the lower
/// (`numeric_typmod_scale` in PostgreSQL's `numeric.c`).
fn numeric_limit(modifier: i32) -> Option<NumericLimit> {
    let packed = u32::try_from(modifier.checked_sub(4)?).ok()?;
    let scale = i32::try_from(packed & 0x7ff).ok()?;
    Some(NumericLimit {
        precision: i32::try_from((packed >> 16) & 0xffff).ok()?,
        scale: (scale ^ 1024) - 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_become_limits() {
        let shown = String::new;
        assert_eq!(column_type(1043, 259, shown()), ColumnType::Text { max_chars: Some(255), padded: false });
        assert_eq!(column_type(1043, -1, shown()), ColumnType::Text { max_chars: None, padded: false });
        assert_eq!(column_type(1042, 7, shown()), ColumnType::Text { max_chars: Some(3), padded: true });
        assert_eq!(column_type(1114, -1, shown()), ColumnType::Timestamp { digits: 6 });
        assert_eq!(column_type(1184, 0, shown()), ColumnType::TimestampTz { digits: 0 });
        assert_eq!(column_type(1700, -1, shown()), ColumnType::Numeric { limit: None });
        // SELECT atttypmod of numeric(10,2) and numeric(3,-2) in PostgreSQL 15
        assert_eq!(numeric_limit(655_366), Some(NumericLimit { precision: 10, scale: 2 }));
        assert_eq!(numeric_limit(198_658), Some(NumericLimit { precision: 3, scale: -2 }));
    }

    #[test]
    fn the_pipeline_s_columns_win_over_fields_of_their_names() {
        assert_eq!(origin("updated_at", false), Origin::UpdatedAt);
        assert_eq!(origin("cdc_position", false), Origin::Position);
        assert_eq!(origin("document", false), Origin::Field);
        assert_eq!(origin("Updated_At", false), Origin::Field);
    }

    #[test]
    fn a_mirror_s_name_is_quoted() {
        assert!(mirror_sql("public", "odd\"name").contains(r#""public"."odd""name""#));
    }
}
