//! A table as PostgreSQL's catalog describes it, and what the pipeline makes of it.

use std::collections::BTreeSet;

use cdc_syncer::HoldReason;
use tokio_postgres::{Error, Row};

use crate::catalog::claim::{Claim, Kind, Looks};
use crate::catalog::columns::{Described, columns};
use crate::catalog::decision::{Decision, decide, missing};
use crate::catalog::identity::{self, Arbiter};
use crate::catalog::privileges::{self, Privileges};
use crate::home::Home;
use crate::mapping::{Naming, TableMapping};
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::table::column::{Closed, Column, ColumnDefault, Origin};
use crate::table::column_type::ColumnType;
use crate::table::{LeftAlone, Table, quote, quote_literal};

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
    mapping: TableMapping,
    naming: Naming,
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
pub(crate) async fn read(session: &Session, home: &Home) -> Result<Option<Shape>, Error> {
    let Home { schema, name, mapping, naming } = home;
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
            &[schema, name],
        )
        .await?;
    let Some(relation) = relation else { return Ok(None) };
    let oid: u32 = relation.get(0);
    Ok(Some(Shape {
        schema: schema.clone(),
        name: name.clone(),
        mapping: mapping.clone(),
        naming: *naming,
        kind: relation.get(1),
        obstacle: obstacle(&relation),
        arbiters: identity::arbiters(session, oid, &mapping.ids()).await?,
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
        // Nor did that release write these types.
        let is_newer = |it: &Described| {
            matches!(it.column_type, ColumnType::Enum(_) | ColumnType::Array(_) | ColumnType::Spelled(_))
        };
        let fields = self.columns.iter().filter(|it| {
            self.takes_a_field(it, former_kind) && it.default != ColumnDefault::Changing && !is_newer(it)
        });
        Looks { kind, former_kind, fields: fields.map(|column| column.name.clone()).collect() }
    }

    /// True where a document's field may be written to it.
    fn takes_a_field(&self, column: &Described, kind: Kind) -> bool {
        let decided = decide(column, kind, &self.mapping);
        matches!(decided, Ok(Decision::Written { origin: Origin::Field, .. }))
    }

    /// A mirror has all columns of one, of exactly their types; what else it has is no matter. The position's
    /// column may still be missing where it may not be added. Where the configuration says what each column takes, it is none.
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
        let is_alike = |(name, column_type): &(&str, ColumnType)| match self
            .columns
            .iter()
            .find(|column| column.name == *name)
        {
            Some(column) => column.column_type == *column_type && !column.domain && !column.generated,
            None => *name == "cdc_position",
        };
        self.mapping.columns.is_none() && wanted.iter().all(is_alike)
    }

    /// What the release before took for a mirror.
    fn was_mirror(&self) -> bool {
        let json = |name: &str| {
            self.columns.iter().any(|column| column.name == name && column.column_type == ColumnType::Jsonb)
        };
        let is_own = |name: &str| {
            ["id", "document", "bson_types", "updated_at", "cdc_operation", "cdc_timestamp", "cdc_position"]
                .contains(&name)
        };
        json("document") && json("bson_types") && self.columns.iter().all(|column| is_own(&column.name))
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
        self.check_mapping(claim.kind)?;
        let (mut columns, mut closed, mut left) =
            (Vec::with_capacity(self.columns.len()), Vec::new(), Vec::new());
        let (mut changes, mut others) = (false, Some(Vec::new()));
        let mut never_filled = None;
        for it in &self.columns {
            match decide(it, claim.kind, &self.mapping)? {
                Decision::Written { origin, path, coerced } => {
                    columns.push(Column {
                        name: it.name.clone(),
                        column_type: it.column_type.clone(),
                        origin,
                        path,
                        coerced,
                        not_null: it.not_null,
                        default: it.default.clone(),
                        untouched: it.untouched.clone(),
                        fed: origin != Origin::Field || claim.fed.contains(&it.name),
                    });
                    continue;
                }
                Decision::LeftAlone(why) => left.push(LeftAlone { name: it.name.clone(), why }),
                Decision::Closed(because) => closed.push(Closed { name: it.name.clone(), because }),
            }
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
        }
        columns.sort_by_key(|column| self.mapping.place_of_id(column.origin == Origin::Id, &column.name));
        let has = |origin| columns.iter().any(|column: &Column| column.origin == origin);
        if !has(Origin::Id) {
            return Err(match self.mapping.columns {
                None => "it has no column id, which takes the document's _id; add it, or have tables: name another",
                Some(_) => "tables: has none of its columns take _id",
            }
            .to_owned());
        }
        if claim.kind == Kind::Mirror && !(has(Origin::Document) && has(Origin::BsonTypes)) {
            return Err("it was claimed as a mirror, and has no columns document and bson_types any more; \
                        add them, of type jsonb"
                .to_owned());
        }
        let mut table = Table::new(self.schema.clone(), self.name.clone(), columns, closed);
        self.check_ids(&table)?;
        table.partitioned = self.kind == PARTITIONED;
        table.cascades = self.cascades;
        table.others_change = changes;
        table.others_untouched = others;
        table.left = left;
        table.deletes = self.mapping.deletes;
        if claim.kind == Kind::Typed && self.mapping.columns.is_none() {
            table = table.naming(self.naming);
        }
        // Where rows that are there are updated first, only the others fail: those are the rows' own trouble.
        match never_filled {
            Some(what) if !table.evaluates_defaults() => Err(what),
            Some(_) | None => Ok(table),
        }
    }

    /// Refuses a mapping that is not of this table.
    fn check_mapping(&self, kind: Kind) -> Result<(), String> {
        if kind == Kind::Mirror && self.mapping.columns.is_some() {
            return Err(format!(
                "it was claimed as a mirror, and tables: says what its columns take; to have it written so, UPDATE \
                 cdc.tables SET kind = 'typed' WHERE table_name = {} and restart the Syncers",
                quote_literal(&self.label())
            ));
        }
        let missing = missing(&self.columns, &self.mapping);
        if missing.is_empty() {
            return Ok(());
        }
        let add = missing.contains(&"cdc_deleted_at").then(|| {
            let table = format!("{}.{}", quote(&self.schema), quote(&self.name));
            format!("; deletes: soft needs ALTER TABLE {table} ADD COLUMN cdc_deleted_at timestamptz")
        });
        Err(format!(
            "tables: names columns that it does not have: {}{}",
            missing.join(", "),
            add.unwrap_or_default()
        ))
    }

    fn check_ids(&self, table: &Table) -> Result<(), String> {
        for id in table.ids() {
            let blurs = self.columns.iter().any(|column| column.name == id.name && column.blurs);
            identity::check_column(&id.name, &id.column_type, blurs)?;
        }
        let ids: Vec<String> = table.ids().iter().map(|column| column.name.clone()).collect();
        identity::check_arbiters(&ids, &self.arbiters)
    }
}
