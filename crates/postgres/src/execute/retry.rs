//! Tries parked rows again, in one transaction that first holds their partitions. Of a row that still waits for a
//! value the older version is taken out of its table: its document gave those values up, and another row may wait
//! for them. So cycles open, such as two documents that swap their names. A row that fails for a reason of its own
//! stays where it is until the machine has given it up; its neighbours go.

use std::sync::Arc;

use bytes::Bytes;
use cdc_machine::{Epoch, SeqNo};
use cdc_ports::{Headers, KafkaRecord, RetryCounts, Share, WriteCounts};
use cdc_syncer::{Hold, ParkedRows, Partition, RejectedParked, Row};
use tokio_postgres::{Error, Statement};

use crate::execute::evict::{Withdrawals, open_cycles};
use crate::execute::pieces::{BadRows, CHECK_AT_ONCE, Deed, Lot, execute, write_around};
use crate::execute::write::{begin_and_hold, feed};
use crate::ledger::owned::Holds;
use crate::ledger::{HOLD, HoldOutcome, Ledger};
use crate::parked::{self, Blocked, parameters};
use crate::plan::{Plan, TablePlan};
use crate::server::session::Session;
use crate::server::transaction::end;
use crate::server::trouble::Trouble;

pub(crate) const OPERATION: &str = "postgres_retry_parked";

/// Parked rows of one retry.
const ROWS_MAX: i64 = 200;

/// Bytes of their messages; one that is larger goes alone.
pub(crate) const BYTES_MAX: i64 = 2 * 1024 * 1024;

/// Those that were tried least often come first, so that none is forgotten over others. Given up are those whose
/// dead letter is durable.
const READ: &str = "\
SELECT table_name, id, topic, partition, record_offset, route::text, key, value, headers, timestamp_ms, attempts FROM \
(SELECT q.*, sum(octet_length(value)) OVER w AS bytes, row_number() OVER w AS number FROM \
(SELECT p.* FROM cdc.parked AS p \
JOIN unnest($2::text[], $3::int[]) AS c(topic, partition) ON p.topic = c.topic AND p.partition = c.partition \
WHERE p.consumer_group = $1 AND mod(p.route, $4::int) = $5::int \
AND NOT EXISTS (SELECT FROM unnest($8::text[], $9::int[], $10::bigint[]) AS g(topic, partition, record_offset) \
WHERE g.topic = p.topic AND g.partition = p.partition AND g.record_offset = p.record_offset) \
ORDER BY p.attempts, p.parked_at, p.table_name, p.id LIMIT $6) AS q \
WINDOW w AS (ORDER BY q.attempts, q.parked_at, q.table_name, q.id)) AS r \
WHERE number = 1 OR bytes <= $7 ORDER BY number";

const UNPARK: &str = "\
DELETE FROM cdc.parked AS p USING unnest($1::text[], $2::text[]) AS s(table_name, id) \
WHERE p.table_name = s.table_name AND p.id = s.id";

const GIVE_UP: &str = "\
DELETE FROM cdc.parked AS p USING unnest($2::text[], $3::int[], $4::bigint[]) AS g(topic, partition, record_offset) \
WHERE p.consumer_group = $1 AND p.topic = g.topic AND p.partition = g.partition AND p.record_offset = g.record_offset";

const TRIED: &str = "\
UPDATE cdc.parked AS p SET attempts = p.attempts + 1, constraint_name = coalesce(s.constraint_name, p.constraint_name), \
sqlstate = coalesce(s.sqlstate, p.sqlstate) \
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS s(table_name, id, constraint_name, sqlstate) \
WHERE p.table_name = s.table_name AND p.id = s.id";

/// Parked rows, as they were read from Kafka once, with their names in `cdc.parked` and the tries so far.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) rows: Vec<Row<KafkaRecord>>,
    names: Vec<(String, String)>,
    attempts: Vec<u32>,
    given_up: GivenUp,
}

/// Entries whose dead letters are durable, as arrays for the statements.
#[derive(Debug, Default)]
struct GivenUp {
    topics: Vec<String>,
    partitions: Vec<i32>,
    offsets: Vec<i64>,
}

/// What became of a retry that met no error.
#[derive(Debug)]
pub(crate) enum Retried {
    Done { parked: Vec<ParkedRows>, counts: RetryCounts, rejected: Vec<RejectedParked<KafkaRecord>> },
    Refused(Vec<Partition>),
    Held(Vec<Hold>),
}

/// What a retry is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'r> {
    pub(crate) share: Share,
    pub(crate) partitions: &'r [(Partition, Epoch)],
    /// Partition and offset of the records whose entries are to go.
    pub(crate) given_up: &'r [(Partition, i64)],
}

/// Reads the parked rows that one retry takes on.
pub(crate) async fn read(
    session: &mut Session,
    group: &str,
    holds: &Holds,
    request: Request<'_>,
) -> Result<Entries, Error> {
    let statement = session.prepare(&READ.into(), &[]).await?;
    let mut given_up = GivenUp::default();
    for (partition, offset) in request.given_up {
        let Some((topic, number)) = holds.name(*partition) else { continue };
        given_up.topics.push(topic.to_owned());
        given_up.partitions.push(number);
        given_up.offsets.push(*offset);
    }
    let (worker, of) = parameters(request.share);
    let GivenUp { topics, partitions, offsets } = &given_up;
    let found = session
        .client
        .query(
            &statement,
            &[
                &group,
                &holds.topics,
                &holds.numbers,
                &of,
                &worker,
                &ROWS_MAX,
                &BYTES_MAX,
                topics,
                partitions,
                offsets,
            ],
        )
        .await?;
    let mut entries = Entries { given_up, ..Entries::default() };
    for row in &found {
        let Some(partition) = holds.named(row.get(2), row.get(3)) else { continue };
        let epoch = request.partitions.iter().find(|(asked, _)| *asked == partition).map(|(_, epoch)| *epoch);
        entries.names.push((row.get(0), row.get(1)));
        entries.attempts.push(u32::try_from(row.get::<_, i32>(10)).unwrap_or_default().saturating_add(1));
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
    (share, bad_rows): (Share, BadRows),
    holds: &Holds,
    entries: &Entries,
    plan: &Plan,
) -> Result<Retried, Trouble> {
    let prepared = prepare(session, plan).await?;
    let transaction = match begin_and_hold(session, OPERATION, ledger, (&prepared.hold, holds)).await? {
        HoldOutcome::Held { transaction } => transaction,
        HoldOutcome::Refused(partitions) => return Ok(Retried::Refused(partitions)),
    };
    let tried = async {
        execute(session, CHECK_AT_ONCE).await?;
        feed(session, plan).await?;
        let mut trial = Trial::of(entries, plan);
        trial.try_tables(session, plan, &prepared, entries, bad_rows).await?;
        let group = ledger.consumer_group();
        trial.record(session, group, entries).await.map_err(|error| Trouble::of(OPERATION, error))?;
        let parked = parked::count(session, group, share, holds)
            .await
            .map_err(|error| Trouble::of(OPERATION, error))?;
        Ok((parked, trial.counts, trial.rejected))
    };
    let tried = tried.await;
    let (parked, counts, rejected) = end(session, OPERATION, transaction, tried).await?;
    Ok(Retried::Done { parked, counts, rejected })
}

struct Prepared {
    hold: Statement,
    tables: Vec<PreparedTable>,
}

struct PreparedTable {
    delete: Statement,
    upsert: Statement,
    withdraw: Statement,
}

async fn prepare(session: &mut Session, plan: &Plan) -> Result<Prepared, Trouble> {
    let hold = session.prepare(&HOLD.into(), &[]).await.map_err(|error| Trouble::of(OPERATION, error))?;
    let mut tables = Vec::with_capacity(plan.tables.len());
    for TablePlan { target, .. } in &plan.tables {
        let statements = &target.statements;
        let prepared = async {
            Ok(PreparedTable {
                delete: session.prepare(&statements.delete, &statements.delete_types).await?,
                upsert: session.prepare(&statements.upsert, &statements.upsert_types).await?,
                withdraw: session.prepare(&statements.withdraw, &statements.withdraw_types).await?,
            })
        };
        tables.push(prepared.await.map_err(|error| Trouble::of_statement(OPERATION, &target.table, error))?);
    }
    Ok(Prepared { hold, tables })
}

/// What is known of each entry while a retry goes on.
struct Trial {
    /// Why an entry stays parked; nothing for those that are resolved.
    stays: Vec<Option<Stay>>,
    rejected: Vec<RejectedParked<KafkaRecord>>,
    counts: RetryCounts,
}

struct Stay {
    sqlstate: Option<String>,
    constraint: Option<String>,
    why: Arc<str>,
}

impl Trial {
    fn of(entries: &Entries, plan: &Plan) -> Self {
        let tried = entries.rows.len() as u64;
        let counts = RetryCounts { tried, ..RetryCounts::default() };
        let stays = entries.rows.iter().map(|_| None).collect();
        let mut trial = Self { stays, rejected: Vec::new(), counts };
        // The table or the program has changed since the row was parked.
        for it in &plan.rejected {
            let trouble = (it.reason, it.sqlstate, Arc::clone(&it.detail));
            trial.reject(entries, it.index, trouble);
        }
        trial
    }

    fn reject(
        &mut self,
        entries: &Entries,
        index: usize,
        (reason, sqlstate, detail): (cdc_syncer::Reject, Option<cdc_syncer::SqlState>, Arc<str>),
    ) {
        let (Some(row), Some(attempts)) = (entries.rows.get(index), entries.attempts.get(index)) else {
            return;
        };
        let (row, attempts) = (row.clone(), *attempts);
        let code = sqlstate.map(|code| code.as_str().to_owned());
        self.stays[index] = Some(Stay { sqlstate: code, constraint: None, why: Arc::clone(&detail) });
        self.rejected.push(RejectedParked { row, reason, sqlstate, detail, attempts });
    }

    async fn try_tables(
        &mut self,
        session: &Session,
        plan: &Plan,
        prepared: &Prepared,
        entries: &Entries,
        bad_rows: BadRows,
    ) -> Result<(), Trouble> {
        let mut lots = Vec::with_capacity(plan.tables.len() * 2);
        let mut withdrawals = Withdrawals::default();
        for (table, statements) in plan.tables.iter().zip(&prepared.tables) {
            lots.push(Lot::of(table, Deed::Delete, &statements.delete));
            lots.push(Lot::of(table, Deed::Upsert, &statements.upsert));
            withdrawals.add(table, &statements.withdraw);
        }
        let mut uncounted = WriteCounts::default();
        write_around(session, &mut lots, bad_rows, &mut uncounted).await?;
        self.counts.evicted +=
            open_cycles(session, &mut lots, &withdrawals, bad_rows, &mut uncounted).await?;
        for lot in lots {
            for (row, trouble) in &lot.bad {
                if let Some(index) = lot.origin(*row) {
                    let detail = trouble.failure.message.as_str().into();
                    self.reject(entries, index, (trouble.reason, trouble.sqlstate, detail));
                }
            }
            for Blocked { row, sqlstate, constraint } in &lot.blocked {
                let Some(index) = lot.origin(*row) else { continue };
                let name = constraint.as_deref().unwrap_or("a constraint");
                let why = format!("table {}, constraint {name}", lot.table.target.table.label()).into();
                let sqlstate = sqlstate.map(|code| code.as_str().to_owned());
                self.stays[index] = Some(Stay { sqlstate, constraint: constraint.clone(), why });
            }
        }
        Ok(())
    }

    /// Removes the entries that are resolved or given up, and notes that the others were tried.
    async fn record(&mut self, session: &mut Session, group: &str, entries: &Entries) -> Result<(), Error> {
        let (mut tables, mut ids): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let (mut kept_tables, mut kept_ids): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        let (mut constraints, mut sqlstates) = (Vec::new(), Vec::new());
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
                    sqlstates.push(stay.sqlstate.as_deref());
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
            let parameters: [&(dyn postgres_types::ToSql + Sync); 4] =
                [&kept_tables, &kept_ids, &constraints, &sqlstates];
            session.client.execute(&statement, &parameters).await?;
        }
        let GivenUp { topics, partitions, offsets } = &entries.given_up;
        if !topics.is_empty() {
            let statement = session.prepare(&GIVE_UP.into(), &[]).await?;
            session.client.execute(&statement, &[&group, topics, partitions, offsets]).await?;
        }
        Ok(())
    }
}
