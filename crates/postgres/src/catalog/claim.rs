//! Whose table is whose, and which of its columns are the pipeline's: the rows of `cdc.tables`.
//!
//! A claim says once whether its table is a mirror, and remembers every column that a document of its topic has
//! fed. So a column that somebody adds changes neither, and a field that a document lost is told from one that no
//! document ever had.

use std::collections::BTreeSet;

use cdc_machine::Fault;
use cdc_syncer::HoldReason;
use tokio_postgres::{Error, Row};

use crate::server::session::Session;
use crate::server::trouble::Trouble;

const OPERATION: &str = "postgres_claim";

const INSERT: &str = "\
INSERT INTO cdc.tables (table_name, consumer_group, database_name, collection_name, kind, fed) \
VALUES ($1, $2, $3, $4, $5, '{}') ON CONFLICT DO NOTHING";

/// The lock waits for a write that feeds a column and whose end is not known yet.
const READ: &str = "\
SELECT consumer_group, database_name, collection_name, kind, fed FROM cdc.tables WHERE table_name = $1 FOR SHARE";

const DECIDE: &str = "UPDATE cdc.tables SET kind = $2, fed = $3 WHERE table_name = $1 AND kind IS NULL";

/// A union: others may feed other columns at the same time.
const FEED: &str = "\
UPDATE cdc.tables SET fed = ARRAY(SELECT DISTINCT f FROM unnest(coalesce(fed, '{}') || $2::text[]) AS f ORDER BY f) \
WHERE table_name = $1";

/// What a table keeps of its documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The whole document in one column.
    Mirror,
    /// A field a column.
    Typed,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Typed => "typed",
        }
    }
}

/// Who claims which table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant<'a> {
    /// Schema and name, as they stand in the bookkeeping.
    pub(crate) table: &'a str,
    pub(crate) consumer_group: &'a str,
    pub(crate) database: &'a str,
    pub(crate) collection: &'a str,
}

/// What a table's looks say where its claim does not say it yet.
#[derive(Clone, Debug)]
pub(crate) struct Looks {
    /// What it is when it is claimed for the first time.
    pub(crate) kind: Kind,
    /// What the release before took it for; its claims do not say.
    pub(crate) former_kind: Kind,
    /// The columns that count as fed by that release, which wrote all that documents may feed.
    pub(crate) fields: Vec<String>,
}

/// What a claim says of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) kind: Kind,
    /// The columns that a document of the topic has fed, ever.
    pub(crate) fed: BTreeSet<String>,
}

/// Claims a table for one collection and one consumer group, and reads what the claim says. Two writers with
/// positions of different sources would fence each other off.
pub(crate) async fn claim(
    session: &Session,
    claimant: &Claimant<'_>,
    looks: &Looks,
) -> Result<Claim, Trouble> {
    let failed = |error| Trouble::of(OPERATION, error);
    let row = read(session, claimant, looks).await.map_err(failed)?;
    check_owner(&row, claimant)?;
    if let Some(claim) = said(&row) {
        return Ok(claim);
    }
    let fields: &[String] = if looks.former_kind == Kind::Typed { &looks.fields } else { &[] };
    let decision = looks.former_kind.as_str();
    session.client.execute(DECIDE, &[&claimant.table, &decision, &fields]).await.map_err(failed)?;
    tracing::info!(
        operation = OPERATION,
        table = claimant.table,
        kind = decision,
        columns = fields.join(", "),
        "the claim of an earlier release now says what its table is, and which columns documents may have fed"
    );
    let row = read(session, claimant, looks).await.map_err(failed)?;
    said(&row).ok_or_else(|| removed(claimant.table))
}

async fn read(session: &Session, claimant: &Claimant<'_>, looks: &Looks) -> Result<Row, Error> {
    let Claimant { table, consumer_group, database, collection } = claimant;
    let client = &session.client;
    client.execute(INSERT, &[table, consumer_group, database, collection, &looks.kind.as_str()]).await?;
    client.query_one(READ, &[table]).await
}

/// Nothing where the claim is an earlier release's.
fn said(row: &Row) -> Option<Claim> {
    let kind = match row.get::<_, Option<&str>>(3)? {
        "mirror" => Kind::Mirror,
        _ => Kind::Typed,
    };
    let fed = row.get::<_, Option<Vec<String>>>(4).unwrap_or_default();
    Some(Claim { kind, fed: fed.into_iter().collect() })
}

fn check_owner(row: &Row, claimant: &Claimant<'_>) -> Result<(), Trouble> {
    let (group, db, coll): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let Claimant { table, consumer_group, database, collection } = *claimant;
    if (group, db, coll) == (consumer_group, database, collection) {
        return Ok(());
    }
    Err(Trouble::held(
        HoldReason::Claimed,
        OPERATION,
        format!(
            "table {table} is claimed by consumer group {group} for {db}.{coll}, and group {consumer_group} \
             now brings {database}.{collection}; a table has one source. If the claim is out of date: \
             DELETE FROM cdc.tables WHERE table_name = '{table}'"
        ),
    ))
}

fn removed(table: &str) -> Trouble {
    let mut trouble = Trouble::new(
        Fault::Transient,
        OPERATION,
        format!("the claim of table {table} was removed just now; it is read again"),
    );
    trouble.outdates_catalog = true;
    trouble
}

/// Notes that documents have fed these columns, in the transaction that writes them. The claim stays locked
/// until its end, so that a reader never sees a write without what it fed.
pub(crate) async fn feed(session: &Session, table: &str, columns: &[String]) -> Result<(), Trouble> {
    let updated = session.client.execute(FEED, &[&table, &columns]).await;
    match updated.map_err(|error| Trouble::of(OPERATION, error))? {
        0 => Err(removed(table)),
        _ => Ok(()),
    }
}
