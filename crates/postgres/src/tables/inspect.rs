//! One cheap look at a table: whether it is still the one that its claim is about, and still has the shape that is
//! remembered of it.

use cdc_syncer::HoldReason;
use tokio_postgres::{Error, Row};

use crate::server::session::Session;
use crate::server::transaction::{begin, rollback};
use crate::server::trouble::Trouble;
use crate::table::quote_literal;

const OPERATION: &str = "postgres_glance";

/// Each part of a shape is read by an index of the catalog. Whatever the pipeline's statements depend on changes one of
/// these rows: columns, defaults, indexes, the table's own constraints, and the triggers by which other tables refer
/// to it. The labels of enums are few, and all are asked after: a column's may lie under domains and arrays. So do the policies that bind the pipeline's role, and its privileges.
const INSPECT: &str = "\
SELECT c.oid, coalesce(c.relpersistence = 'u' OR c.relkind = 'p' AND EXISTS (WITH RECURSIVE p(oid) AS \
(SELECT inhrelid FROM pg_inherits WHERE inhparent = c.oid \
UNION ALL SELECT i.inhrelid FROM p JOIN pg_inherits i ON i.inhparent = p.oid) \
SELECT FROM p JOIN pg_class k ON k.oid = p.oid WHERE k.relpersistence = 'u'), false), hashtextextended(concat_ws('|', c.relkind, \
(SELECT string_agg(concat_ws(':', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attisdropped, \
a.attgenerated, a.attidentity, a.atthasdef, a.attcollation), ',' ORDER BY a.attnum) \
FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0), \
(SELECT string_agg(concat_ws(':', d.oid, d.xmin), ',' ORDER BY d.oid) FROM pg_attrdef d WHERE d.adrelid = c.oid), \
(SELECT string_agg(concat_ws(':', i.indexrelid, i.indisunique, i.indisvalid, i.indimmediate), ',' \
ORDER BY i.indexrelid) FROM pg_index i WHERE i.indrelid = c.oid), \
(SELECT string_agg(concat_ws(':', k.oid, k.xmin), ',' ORDER BY k.oid) FROM pg_constraint k WHERE k.conrelid = c.oid), \
(SELECT string_agg(g.oid::text, ',' ORDER BY g.oid) FROM pg_trigger g WHERE g.tgrelid = c.oid), \
(SELECT concat_ws(':', count(*), sum(e.oid::bigint), sum(hashtext(e.enumlabel::text))) FROM pg_enum e), \
row_security_active(c.oid), c.relhasrules, c.relhassubclass, has_schema_privilege(n.oid, 'USAGE'), \
has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'), has_table_privilege(c.oid, 'UPDATE')), 0), \
t.table_name IS NOT NULL, t.relation, coalesce(t.unlogged, false), u.table_name IS NOT NULL, \
t.consumer_group, t.database_name, t.collection_name \
FROM (SELECT $1::text AS schema, $2::text AS name, $3::text AS label) AS w \
LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace) \
ON n.nspname = w.schema AND c.relname = w.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
LEFT JOIN cdc.tables t ON t.table_name = w.label \
LEFT JOIN cdc.unlogged_tables u ON u.table_name = w.label AND u.relation = c.oid";

/// The claim is about this very table from now on.
const BIND: &str = "\
UPDATE cdc.tables SET relation = $2, unlogged = $3 WHERE table_name = $1 \
AND (relation IS NULL OR relation = $2) AND (relation IS NULL OR unlogged IS DISTINCT FROM $3)";

/// Empty after a crash, like the table that it names.
const WATCH: &str = "\
INSERT INTO cdc.unlogged_tables AS u (table_name, relation) VALUES ($1, $2) \
ON CONFLICT (table_name) DO UPDATE SET relation = excluded.relation WHERE u.relation <> excluded.relation";

/// A table, by the names that people and the catalog have for it, and whose it is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) schema: &'a str,
    pub(crate) name: &'a str,
    /// Schema and name as they stand in the bookkeeping.
    pub(crate) label: &'a str,
    pub(crate) consumer_group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) database: &'a str,
    pub(crate) collection: &'a str,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// The table's oid; `None` where there is no table.
    pub(crate) relation: Option<u32>,
    pub(crate) unlogged: bool,
    /// Equal as long as the table's shape is.
    pub(crate) shape: i64,
    claim: Claim,
}

/// What the claim says of which table it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// There is none.
    None,
    /// It is somebody else's.
    Foreign,
    Ours {
        /// `None` in a claim of an earlier release, and in one that was made a moment ago.
        relation: Option<u32>,
        /// Whether the table was unlogged when it was last looked at.
        unlogged: bool,
        /// Whether no crash has happened since then.
        is_whole: bool,
    },
}

/// Looks at the table.
pub(crate) async fn inspect(session: &mut Session, wanted: &Wanted<'_>) -> Result<Inspection, Trouble> {
    let asked = async {
        let statement = session.prepare(&INSPECT.into(), &[]).await?;
        session.client.query_one(&statement, &[&wanted.schema, &wanted.name, &wanted.label]).await
    };
    let row = asked.await.map_err(|error: Error| Trouble::of(OPERATION, error))?;
    Ok(Inspection {
        relation: row.get(0),
        unlogged: row.get(1),
        shape: row.get(2),
        claim: claim_of(&row, wanted),
    })
}

fn claim_of(row: &Row, wanted: &Wanted<'_>) -> Claim {
    if !row.get::<_, bool>(3) {
        return Claim::None;
    }
    let owner: (&str, &str, &str) = (row.get(7), row.get(8), row.get(9));
    if owner != (wanted.consumer_group, wanted.database, wanted.collection) {
        return Claim::Foreign;
    }
    Claim::Ours { relation: row.get(4), unlogged: row.get(5), is_whole: row.get(6) }
}

impl Inspection {
    /// True where there is neither a table nor a claim: the topic has never been written.
    pub(crate) fn is_new(&self) -> bool {
        self.relation.is_none() && self.claim == Claim::None
    }

    /// True where the claim is somebody else's and there is no table, so that none must be made.
    pub(crate) fn is_foreign_and_missing(&self) -> bool {
        self.relation.is_none() && self.claim == Claim::Foreign
    }

    /// True where a look that found this found the same table, of the same shape, and all that the claim has to say.
    pub(crate) fn is_of_the_same_table(&self, other: &Self) -> bool {
        (self.relation, self.unlogged, self.shape) == (other.relation, other.unlogged, other.shape)
            && !other.is_unbound()
    }

    /// Refuses another table than the one that was claimed, and one that has lost its rows. Both are noticed by
    /// nothing else: the ledger says that all has been written.
    pub(crate) fn check(&self, wanted: &Wanted<'_>) -> Result<(), Trouble> {
        let Claim::Ours { relation, unlogged, is_whole } = self.claim else { return Ok(()) };
        let Wanted { label, topic, .. } = wanted;
        let (reason, what) = match self.relation {
            None => (
                HoldReason::TableDropped,
                format!(
                    "table {label} was there and is gone, with the rows of topic {topic} that the ledger counts as \
                     written. Create it again (without it a mirror will be made), and run"
                ),
            ),
            Some(found) if relation.is_some_and(|claimed| claimed != found) => (
                HoldReason::TableReplaced,
                format!(
                    "table {label} is another one than the one that topic {topic} was written to. If the rows of \
                     that one are all in it, such as after a dump was restored, UPDATE cdc.tables SET relation = \
                     NULL WHERE table_name = {} is enough; else run",
                    quote_literal(label)
                ),
            ),
            Some(_) if self.unlogged && unlogged && relation.is_some() && !is_whole => (
                HoldReason::TableEmptied,
                format!(
                    "table {label} is unlogged, and PostgreSQL has emptied it after a crash, while the ledger \
                     counts the records of topic {topic} as written. ALTER TABLE … SET LOGGED keeps that from \
                     happening again; run"
                ),
            ),
            Some(_) => return Ok(()),
        };
        let sql = rewind_sql(wanted);
        Err(Trouble::held(
            reason,
            OPERATION,
            format!(
                "{what} this to have the topic read again from its start, also under a running Syncer: {sql}"
            ),
        ))
    }

    /// True where the claim does not say yet what was found.
    fn is_unbound(&self) -> bool {
        match self.claim {
            Claim::Ours { relation: Some(_), unlogged, .. } => unlogged != self.unlogged,
            Claim::None | Claim::Foreign | Claim::Ours { .. } => true,
        }
    }

    /// Binds the claim, which is there by now, to the table that was found. An unlogged one gets a companion that a
    /// crash empties with it.
    pub(crate) async fn bind(&self, session: &mut Session, wanted: &Wanted<'_>) -> Result<(), Trouble> {
        let Some(relation) = self.relation.filter(|_| self.is_unbound()) else { return Ok(()) };
        begin(session, OPERATION).await?;
        let bound = async {
            if self.unlogged {
                session.client.execute(WATCH, &[&wanted.label, &relation]).await?;
            }
            session.client.execute(BIND, &[&wanted.label, &relation, &self.unlogged]).await?;
            session.client.batch_execute("COMMIT").await
        };
        match bound.await {
            Ok(()) => {
                session.in_doubt = false;
                Ok(())
            }
            Err(error) => {
                rollback(session).await;
                Err(Trouble::of(OPERATION, error))
            }
        }
    }
}

/// Renews the claim and rewinds the topic. The new epoch refuses whatever is still under way.
fn rewind_sql(wanted: &Wanted<'_>) -> String {
    let [label, group, topic] = [wanted.label, wanted.consumer_group, wanted.topic].map(quote_literal);
    format!(
        "BEGIN; DELETE FROM cdc.tables WHERE table_name = {label}; \
         UPDATE cdc.partitions SET next_offset = 0, epoch = epoch + 1, owner = NULL, end_seen = NULL \
         WHERE consumer_group = {group} AND topic = {topic}; COMMIT;"
    )
}
