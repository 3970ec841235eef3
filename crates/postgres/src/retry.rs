//! Tries parked rows again, in one transaction that first holds their partitions. Of a row that is still blocked
//! the older version is taken out of its table: its document gave those values up, and another row may wait for
//! them. So cycles open, such as two documents that swap their names.

use std::sync::Arc;

use bytes::Bytes;
use cdc_executor::ports::{Headers, KafkaRecord, RetryCounts, Share, WriteCounts};
use cdc_machine::{Epoch, Fault, SeqNo};
use cdc_syncer::{ParkedRows, Partition, Row};
use tokio_postgres::{Error, Statement};

use crate::failure::Trouble;
use crate::holds::Holds;
use crate::ledger::{HOLD, HoldOutcome, Ledger};
use crate::parked::{self, Blocked, parameters};
use crate::piecewise::{CHECK_AT_ONCE, Mark, upsert_around};
use crate::plan::{Plan, TablePlan};
use crate::session::Session;
use crate::transaction::end;
use crate::write::{begin_and_hold, feed};

pub(crate) const OPERATION: &str = "postgres_retry_parked";

/// Parked rows of one retry.
const ROWS_MAX: i64 = 200;

/// Bytes of their messages; one that is larger goes alone.
pub(crate) const BYTES_MAX: i64 = 2 * 1024 * 1024;

/// Those that were tried least often come first, so that none is forgotten over others.
const READ: &str = "\
SELECT table_name, id, topic, partition, record_offset, route::text, key, value, headers, timestamp_ms FROM \
(SELECT q.*, sum(octet_length(value)) OVER w AS bytes, row_number() OVER w AS number FROM \
(SELECT p.* FROM cdc.parked AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 AND mod(p.route, $4::int) = $5::int \
ORDER BY p.attempts, p.parked_at, p.table_name, p.id LIMIT $6) AS q \
WINDOW w AS (ORDER BY q.attempts, q.parked_at, q.table_name, q.id)) AS r \
WHERE number = 1 OR bytes <= $7 ORDER BY number";

const UNPARK: &str = "\
DELETE FROM cdc.parked AS p USING unnest($1::text[], $2::text[]) AS s(table_name, id) \
WHERE p.table_name = s.table_name AND p.id = s.id";

const TRIED: &str = "\
UPDATE cdc.parked AS p SET attempts = p.attempts + 1, constraint_name = coalesce(s.constraint_name, p.constraint_name) \
FROM unnest($1::text[], $2::text[], $3::text[]) AS s(table_name, id, constraint_name) \
WHERE p.table_name = s.table_name AND p.id = s.id";

/// Parked rows, as they were read from Kafka once, with their names in `cdc.parked`.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) rows: Vec<Row<KafkaRecord>>,
    names: Vec<(String, String)>,
}

/// What became of a retry that met no error.
#[derive(Debug)]
pub(crate) enum Retried {
    Done { parked: Vec<ParkedRows>, counts: RetryCounts },
    Refused(Vec<Partition>),
}

/// Reads the parked rows that one retry takes on.
pub(crate) async fn read(
    session: &mut Session,
    group: &str,
    share: Share,
    holds: &Holds,
    partitions: &[(Partition, Epoch)],
) -> Result<Entries, Error> {
    let statement = session.prepare(&READ.into(), &[]).await?;
    let (worker, of) = parameters(share);
    let found = session
        .client
        .query(&statement, &[&group, &holds.topics, &holds.numbers, &of, &worker, &ROWS_MAX, &BYTES_MAX])
        .await?;
    let mut entries = Entries::default();
    for row in &found {
        let Some(partition) = holds.named(row.get(2), row.get(3)) else { continue };
        let epoch = partitions.iter().find(|(asked, _)| *asked == partition).map(|(_, epoch)| *epoch);
        entries.names.push((row.get(0), row.get(1)));
        entries.rows.push(Row {
            partition,
            epoch: epoch.unwrap_or_default(),
            seq: SeqNo::default(),
            offset: row.get(4),
            route: row.get::<_, &str>(5).parse().unwrap_or_default(),
            bytes: 0,
            handle: KafkaRecord {
                key: bytes(row.get(6)),
                value: Some(bytes(row.get(7))),
                headers: Headers(bytes(row.get(8))),
                timestamp_ms: row.get(9),
            },
        });
    }
    Ok(entries)
}

fn bytes(found: &[u8]) -> Bytes {
    Bytes::copy_from_slice(found)
}

/// Tries them. On any error the transaction is rolled back, or its connection is given up.
pub(crate) async fn retry(
    session: &mut Session,
    ledger: &Ledger,
    share: Share,
    holds: &Holds,
    entries: &Entries,
    plan: &Plan,
) -> Result<Retried, Trouble> {
    let prepared = prepare(session, plan).await.map_err(|error| Trouble::of(OPERATION, error))?;
    let transaction = match begin_and_hold(session, OPERATION, ledger, (&prepared.hold, holds)).await? {
        HoldOutcome::Held { transaction } => transaction,
        HoldOutcome::Refused(partitions) => return Ok(Retried::Refused(partitions)),
    };
    let tried = async {
        session.client.batch_execute(CHECK_AT_ONCE).await.map_err(|error| Trouble::of(OPERATION, error))?;
        feed(session, plan).await?;
        let mut trial = Trial::of(entries, plan);
        for (table, statements) in plan.tables.iter().zip(&prepared.tables) {
            trial.try_table(session, table, statements).await?;
        }
        trial.record(session, entries).await.map_err(|error| Trouble::of(OPERATION, error))?;
        let parked = parked::count(session, ledger.consumer_group(), share, holds)
            .await
            .map_err(|error| Trouble::of(OPERATION, error))?;
        Ok((parked, trial.counts))
    };
    let tried = tried.await;
    let (parked, counts) = end(session, OPERATION, transaction, tried).await?;
    Ok(Retried::Done { parked, counts })
}

struct Prepared {
    hold: Statement,
    tables: Vec<PreparedTable>,
}

struct PreparedTable {
    upsert: Statement,
    withdraw: Statement,
}

async fn prepare(session: &mut Session, plan: &Plan) -> Result<Prepared, Error> {
    let hold = session.prepare(&HOLD.into(), &[]).await?;
    let mut tables = Vec::with_capacity(plan.tables.len());
    for TablePlan { target, .. } in &plan.tables {
        let statements = &target.statements;
        tables.push(PreparedTable {
            upsert: session.prepare(&statements.upsert, &statements.upsert_types).await?,
            withdraw: session.prepare(&statements.withdraw, &statements.withdraw_types).await?,
        });
    }
    Ok(Prepared { hold, tables })
}

/// What is known of each entry while a retry goes on.
struct Trial {
    /// Why an entry stays parked; nothing for those that are resolved.
    stays: Vec<Option<Stay>>,
    counts: RetryCounts,
}

struct Stay {
    constraint: Option<String>,
    why: Arc<str>,
}

impl Trial {
    fn of(entries: &Entries, plan: &Plan) -> Self {
        let mut stays: Vec<Option<Stay>> = entries.rows.iter().map(|_| None).collect();
        // The table or the program has changed since the row was parked.
        for rejected in &plan.rejected {
            stays[rejected.index] = Some(Stay { constraint: None, why: Arc::clone(&rejected.detail) });
        }
        let tried = entries.rows.len() as u64;
        Self { stays, counts: RetryCounts { tried, ..RetryCounts::default() } }
    }

    async fn try_table(
        &mut self,
        session: &Session,
        table: &TablePlan,
        prepared: &PreparedTable,
    ) -> Result<(), Trouble> {
        let mut uncounted = WriteCounts::default();
        let mut blocked =
            upsert_around(session, (&prepared.upsert, None), &table.upserts, &mut uncounted).await?;
        if !blocked.is_empty() && !table.target.table.cascades {
            let rows: Vec<usize> = blocked.iter().map(|blocked| blocked.row).collect();
            let opened = withdraw(session, &prepared.withdraw, table, &rows).await?;
            self.counts.opened += opened;
            if opened > 0 {
                let upserts = table.upserts.select(&rows);
                blocked = upsert_around(session, (&prepared.upsert, None), &upserts, &mut uncounted)
                    .await?
                    .into_iter()
                    .map(|blocked| Blocked { row: rows[blocked.row], ..blocked })
                    .collect();
            }
        }
        let Some(keys) = &table.upserts.keys else { return Ok(()) };
        for Blocked { row, constraint } in blocked {
            let name = constraint.as_deref().unwrap_or("a unique constraint");
            let why = format!("table {}, constraint {name}", table.target.table.label()).into();
            self.stays[keys.origins[row]] = Some(Stay { constraint, why });
        }
        Ok(())
    }

    /// Removes the resolved entries and notes that the others were tried.
    async fn record(&mut self, session: &mut Session, entries: &Entries) -> Result<(), Error> {
        let (mut tables, mut ids): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let (mut kept_tables, mut kept_ids): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let mut constraints = Vec::new();
        for ((table, id), stay) in entries.names.iter().zip(&self.stays) {
            match stay {
                None => {
                    tables.push(table);
                    ids.push(id);
                }
                Some(stay) => {
                    kept_tables.push(table);
                    kept_ids.push(id);
                    constraints.push(stay.constraint.as_deref());
                }
            }
        }
        self.counts.resolved = ids.len() as u64;
        self.counts.blocked = kept_ids.len() as u64;
        self.counts.why = self.stays.iter().flatten().next().map(|stay| stay.why.to_string());
        if !ids.is_empty() {
            let statement = session.prepare(&UNPARK.into(), &[]).await?;
            session.client.execute(&statement, &[&tables, &ids]).await?;
        }
        if !kept_ids.is_empty() {
            let statement = session.prepare(&TRIED.into(), &[]).await?;
            session.client.execute(&statement, &[&kept_tables, &kept_ids, &constraints]).await?;
        }
        Ok(())
    }
}

/// Takes the older versions of these rows out of their table. Where a foreign key or a trigger forbids that,
/// nothing is taken: the rows stay parked until their values are free.
async fn withdraw(
    session: &Session,
    statement: &Statement,
    table: &TablePlan,
    rows: &[usize],
) -> Result<u64, Trouble> {
    let (Some(ids), Some(keys)) = (table.upserts.buffers.first(), &table.upserts.keys) else { return Ok(0) };
    let (ids, positions) = (ids.select(rows), keys.positions.select(rows));
    let mark = Mark::begin(session).await?;
    match session.client.execute(statement, &[&ids, &positions]).await {
        Ok(taken) => {
            mark.end(session).await?;
            Ok(taken)
        }
        Err(error) => {
            let trouble = Trouble::of(OPERATION, error);
            if trouble.failure.fault != Fault::Poison {
                return Err(trouble);
            }
            Mark::Spoilt.end(session).await?;
            tracing::warn!(
                operation = OPERATION,
                table = table.target.table.label(),
                error = trouble.failure.message,
                "the older versions of parked rows cannot be taken out of their table, so that a cycle of \
                 values cannot open; they stay parked until their values are free"
            );
            Ok(0)
        }
    }
}
