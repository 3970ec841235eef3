//! A table as PostgreSQL's catalog describes it, and what the pipeline makes of it.

use std::collections::BTreeSet;

use cdc_syncer::HoldReason;
use tokio_postgres::{Error, Row};

use crate::catalog::claim::{Claim, Kind, Looks};
use crate::catalog::columns::{Described, columns};
use crate::catalog::identity::{self, Arbiter};
use crate::catalog::privileges::{self, Privileges};
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::table::{Closed, Column, ColumnDefault, ColumnType, Origin, Table};

const OPERATION: &str = "postgres_catalog";

/// What the catalog calls an ordinary table.
const ORDINARY: &str = "r";
/// A partitioned one: PostgreSQL routes its rows by the id, of which its primary key can only consist.
const PARTITIONED: &str = "p";

/// A table, described.
#[derive(Debug)]
pub(crate) struct Shape {
    schema: String,
    name: String,
    kind: String,
    /// Why rows written to it would not be what is read from it.
    obstacle: Option<&'static str>,
    arbiters: Vec<Arbiter>,
    cascades: bool,
    /// Whether a trigger may fill what an INSERT leaves out. Of a partitioned table that is not known: its partitions may
    /// have triggers of their own.
    filled: bool,
    columns: Vec<Described>,
    privileges: Privileges,
}

/// A trigger's type has bit 0 for each row, bit 1 for BEFORE and bit 2 for INSERT (`catalog/pg_trigger.h`).
///
/// An empty search path makes `pg_get_expr` qualify every name in a default's expression.
pub(crate) async fn read(session: &Session, schema: &str, name: &str) -> Result<Option<Shape>, Error> {
    session.client.batch_execute("SET LOCAL search_path = ''").await?;
    let relation = session
        .client
        .query_opt(
            "SELECT c.oid, c.relkind::text, \
             EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = c.oid \
             AND confdeltype IN ('c', 'n', 'd')), \
             row_security_active(c.oid), \
             EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid AND ev_type IN ('2', '3', '4')), \
             c.relkind <> 'p' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid), \
             c.relkind = 'p' AND EXISTS (WITH RECURSIVE p(oid) AS (SELECT inhrelid FROM pg_inherits WHERE inhparent = c.oid \
             UNION ALL SELECT i.inhrelid FROM p JOIN pg_inherits i ON i.inhparent = p.oid) \
             SELECT FROM p JOIN pg_class k ON k.oid = p.oid WHERE k.relkind = 'f'), \
             c.relkind = 'p' OR EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgenabled IN ('O', 'A') AND NOT tgisinternal \
             AND tgtype & 7 = 7) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1::text AND c.relname = $2::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
            &[&schema, &name],
        )
        .await?;
    let Some(relation) = relation else { return Ok(None) };
    let oid: u32 = relation.get(0);
    Ok(Some(Shape {
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: relation.get(1),
        obstacle: obstacle(&relation),
        arbiters: identity::arbiters(session, oid).await?,
        cascades: relation.get(2),
        filled: relation.get(7),
        columns: columns(session, oid).await?,
        privileges: privileges::read(session, oid).await?,
    }))
}

/// What would keep statements from doing to rows what they say.
fn obstacle(relation: &Row) -> Option<&'static str> {
    let (secured, ruled, inherited): (bool, bool, bool) = (relation.get(3), relation.get(4), relation.get(5));
    if secured {
        Some("row-level security hides rows from the pipeline's role; let the role bypass it (BYPASSRLS)")
    } else if ruled {
        Some("it has a rule for INSERT, UPDATE or DELETE; a trigger can take its place")
    } else if inherited {
        Some("other tables inherit from it, whose rows an UPDATE or DELETE would meet, too")
    } else if relation.get(6) {
        Some("one of its partitions is a foreign table, which takes no INSERT … ON CONFLICT")
    } else {
        None
    }
}

impl Shape {
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// True where its rows can carry their positions.
    pub(crate) fn fenced(&self) -> bool {
        self.columns.iter().any(|column| column.name == "cdc_position")
    }

    /// What it is to a claim that does not say.
    pub(crate) fn looks(&self) -> Looks {
        let kind = if self.is_mirror() { Kind::Mirror } else { Kind::Typed };
        let former_kind = if self.was_mirror() { Kind::Mirror } else { kind };
        // A default that changes may be a key of the table's own, which no document has: as a fed column it would
        // make a bad record of each.
        let fields = self
            .columns
            .iter()
            .filter(|column| column.takes_a_field(former_kind) && column.default != ColumnDefault::Changing);
        Looks { kind, former_kind, fields: fields.map(|column| column.name.clone()).collect() }
    }

    /// A mirror has all columns of one, of exactly their types; what else it has is no matter. The position's
    /// column may still be missing where it may not be added.
    fn is_mirror(&self) -> bool {
        let text = ColumnType::Text { max_chars: None, padded: false };
        let wanted = [
            ("id", text.clone()),
            ("document", ColumnType::Jsonb),
            ("bson_types", ColumnType::Jsonb),
            ("cdc_operation", text),
            ("cdc_timestamp", ColumnType::TimestampTz { digits: 6 }),
            ("cdc_position", ColumnType::Bytea),
        ];
        wanted.iter().all(|(name, column_type)| {
            match self.columns.iter().find(|column| column.name == *name) {
                Some(column) => column.column_type == *column_type && !column.domain && !column.generated,
                None => *name == "cdc_position",
            }
        })
    }

    /// What the release before took for a mirror.
    fn was_mirror(&self) -> bool {
        let json = |name: &str| {
            self.columns.iter().any(|column| column.name == name && column.column_type == ColumnType::Jsonb)
        };
        json("document")
            && json("bson_types")
            && self.columns.iter().all(|column| column.origin(Kind::Mirror) != Origin::Field)
    }

    /// The table before it is claimed. Refuses what cannot be written, whatever a claim says.
    pub(crate) fn check(&self) -> Result<Table, Trouble> {
        let table = self.table(&Claim { kind: self.looks().kind, fed: BTreeSet::new() })?;
        self.check_privileges(&table, false)?;
        Ok(table)
    }

    /// Refuses a table whose rows the role may not read, insert or update, or not delete where that is needed.
    pub(crate) fn check_privileges(&self, table: &Table, deletes: bool) -> Result<(), Trouble> {
        let Some(missing) = self.privileges.missing(table, deletes) else { return Ok(()) };
        let message = format!("table {} cannot be written: {missing}", self.label());
        Err(Trouble::held(HoldReason::NoPrivilege, OPERATION, message))
    }

    /// The table that a claim makes of it.
    pub(crate) fn table(&self, claim: &Claim) -> Result<Table, Trouble> {
        self.assemble(claim).map_err(|what| {
            let message = format!("table {} cannot be written: {what}", self.label());
            Trouble::held(HoldReason::Unwritable, OPERATION, message)
        })
    }

    fn assemble(&self, claim: &Claim) -> Result<Table, String> {
        if !matches!(&*self.kind, ORDINARY | PARTITIONED) {
            return Err("it is not a table (views and foreign tables are not supported)".to_owned());
        }
        if let Some(obstacle) = self.obstacle {
            return Err(obstacle.to_owned());
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        let (mut closed, mut changes, mut others) = (Vec::new(), false, Some(Vec::new()));
        let mut never_filled = None;
        for it in &self.columns {
            let origin = it.origin(claim.kind);
            let because = it.closed_because().filter(|_| origin == Origin::Field);
            let is_left_alone = is_left_alone(it, origin, claim.kind);
            if is_left_alone || because.is_some() {
                if it.is_never_filled() && !self.filled && never_filled.is_none() {
                    never_filled = Some(format!(
                        "column {} of type {} is NOT NULL, and neither the pipeline nor a default can put anything \
                         there; give it a default, or let it be NULL",
                        it.name,
                        it.column_type.name()
                    ));
                }
                changes |= it.default == ColumnDefault::Changing;
                others = others.zip(it.untouched.clone()).map(|(mut all, one)| {
                    all.push(one);
                    all
                });
                closed.extend(
                    because
                        .filter(|_| !is_left_alone)
                        .map(|because| Closed { name: it.name.clone(), because }),
                );
                continue;
            }
            check_type(it, origin)?;
            let column = Column {
                name: it.name.clone(),
                column_type: it.column_type.clone(),
                origin,
                not_null: it.not_null,
                default: it.default.clone(),
                untouched: it.untouched.clone(),
                fed: origin != Origin::Field || claim.fed.contains(&it.name),
            };
            if origin == Origin::Id { columns.insert(0, column) } else { columns.push(column) }
        }
        let has = |origin| columns.iter().any(|column| column.origin == origin);
        let id = self.columns.iter().find(|column| column.origin(claim.kind) == Origin::Id);
        let id = id.ok_or("it has no column id, which takes the document's _id")?;
        identity::check(&id.column_type, id.blurs, &self.arbiters)?;
        if claim.kind == Kind::Mirror && !(has(Origin::Document) && has(Origin::BsonTypes)) {
            return Err("it was claimed as a mirror, and has no columns document and bson_types any more; \
                        add them, of type jsonb"
                .to_owned());
        }
        let mut table = Table::new(self.schema.clone(), self.name.clone(), columns, closed);
        table.partitioned = self.kind == PARTITIONED;
        table.cascades = self.cascades;
        table.others_change = changes;
        table.others_untouched = others;
        // Where rows that are there are updated first, only the others fail: those are the rows' own trouble.
        match never_filled {
            Some(what) if !table.evaluates_defaults() => Err(what),
            Some(_) | None => Ok(table),
        }
    }
}

/// Columns that others added to a mirror are never looked at. One that is called `updated_at` is the pipeline's
/// where it can hold what the pipeline would put there.
fn is_left_alone(column: &Described, origin: Origin, kind: Kind) -> bool {
    kind == Kind::Mirror
        && (origin == Origin::Field || (origin == Origin::UpdatedAt && check_type(column, origin).is_err()))
}

/// The pipeline's own columns must be able to hold what the pipeline puts there.
fn check_type(column: &Described, origin: Origin) -> Result<(), String> {
    if column.generated || column.always_identity {
        return Err(format!(
            "column {} belongs to the pipeline and is generated; make it an ordinary column",
            column.name
        ));
    }
    let (fits, wanted) = match origin {
        Origin::UpdatedAt | Origin::WrittenAt => (
            matches!(column.column_type, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }),
            "timestamp or timestamp with time zone",
        ),
        Origin::Operation => (
            matches!(column.column_type, ColumnType::Text { max_chars, .. } if max_chars.is_none_or(|max| max >= 8)),
            "text, or varchar of at least 8 characters",
        ),
        Origin::Position => (column.column_type == ColumnType::Bytea, "bytea"),
        Origin::Document | Origin::BsonTypes => (column.column_type == ColumnType::Jsonb, "jsonb"),
        // An id column has more to it.
        Origin::Id | Origin::Field => (true, ""),
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
