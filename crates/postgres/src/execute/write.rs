//! Writes a plan in one transaction that first holds the batch's partitions.

use std::sync::atomic::AtomicBool;

use cdc_machine::Fault;
use cdc_ports::{KafkaRecord, Share, WriteCounts};
use cdc_syncer::{ParkedRows, Parking, Partition, Row};
use postgres_types::ToSql;
use tokio_postgres::{Error, Statement};

use crate::catalog::claim;
use crate::execute::pieces::{BadRows, CHECK_AT_ONCE, Deed, Lot, execute, write_around};
use crate::ledger::owned::Holds;
use crate::ledger::{HOLD, HoldOutcome, Ledger};
use crate::parked::{self, Parcels};
use crate::plan::{Deletes, Plan, TablePlan};
use crate::server::session::Session;
use crate::server::transaction::{BEGIN, end, rollback};
use crate::server::trouble::Trouble;
use crate::statements::stage::{self, PreparedStage};

pub(crate) const OPERATION: &str = "postgres_write";

/// A plan, and what it takes to write it.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) batch: &'a [Row<KafkaRecord>],
    pub(crate) holds: &'a Holds,
    pub(crate) share: Share,
    pub(crate) parking: Parking,
    pub(crate) copy_threshold: usize,
    /// Whether a missing privilege for temporary tables was told of.
    pub(crate) told_no_stage: &'a AtomicBool,
}

/// What became of a plan that met no error.
#[derive(Debug)]
pub(crate) enum Written {
    /// Committed, and the commit verified.
    Committed { counts: WriteCounts, parked: Vec<ParkedRows> },
    /// These partitions are somebody else's; nothing was written.
    Refused(Vec<Partition>),
}

/// How one table's rows travel, ready to run.
struct Prepared {
    delete: Option<Statement>,
    upsert: Option<PreparedUpsert>,
}

enum PreparedUpsert {
    Arrays(Statement),
    Copy { stage: PreparedStage, merge: Statement },
}

/// Writes a plan, and takes out of it what versions that are parked keep off. On any error the transaction is rolled back,
/// or its connection is given up.
pub(crate) async fn write(
    session: &mut Session,
    ledger: &Ledger,
    plan: &mut Plan,
    job: &Job<'_>,
) -> Result<Written, Trouble> {
    let (hold, prepared) = prepare(session, plan, job).await?;
    let transaction = match begin_and_hold(session, OPERATION, ledger, (&hold, job.holds)).await? {
        HoldOutcome::Held { transaction } => transaction,
        HoldOutcome::Refused(partitions) => return Ok(Written::Refused(partitions)),
    };
    let mut counts = WriteCounts::default();
    let written = write_tables(session, ledger, plan, &prepared, job, &mut counts).await;
    let parked = end(session, OPERATION, transaction, written).await?;
    Ok(Written::Committed { counts, parked })
}

/// Notes in the claims what the plan feeds for the first time. It comes before any row, so that claims are locked in
/// one order.
pub(crate) async fn feed(session: &Session, plan: &Plan) -> Result<(), Trouble> {
    for table in plan.tables.iter().filter(|table| !table.newly_fed.is_empty()) {
        claim::feed(session, &table.target.table.label(), &table.newly_fed).await?;
    }
    Ok(())
}

/// With nothing parked, the tables' statements are all that there is.
async fn write_tables(
    session: &mut Session,
    ledger: &Ledger,
    plan: &mut Plan,
    prepared: &[Prepared],
    job: &Job<'_>,
    counts: &mut WriteCounts,
) -> Result<Vec<ParkedRows>, Trouble> {
    feed(session, plan).await?;
    let partition_of = |table: &TablePlan| job.batch.get(table.record).map(|row| row.partition);
    match job.parking {
        Parking::Off => {
            for (table, statements) in plan.tables.iter().zip(prepared) {
                let before = partition_of(table).map(|partition| counts.so_far(partition));
                write_table(session, table, statements, counts).await?;
                counts.attribute(before);
            }
            return Ok(Vec::new());
        }
        Parking::Heed => {
            for (table, statements) in plan.tables.iter_mut().zip(prepared) {
                let before = partition_of(table).map(|partition| counts.so_far(partition));
                heed_parked(session, table, counts).await?;
                write_table(session, table, statements, counts).await?;
                counts.attribute(before);
            }
        }
        Parking::Park => {
            for table in &mut plan.tables {
                heed_parked(session, table, counts).await?;
            }
            write_and_park(session, ledger, plan, prepared, job, counts).await?;
        }
    }
    parked::count(session, ledger.consumer_group(), job.share, job.holds)
        .await
        .map_err(|error| Trouble::of(OPERATION, error))
}

/// Takes out of the plan what is not newer than a parked version, and out of `cdc.parked` what is older than
/// the plan's.
async fn heed_parked(
    session: &mut Session,
    table: &mut TablePlan,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    let label = table.target.table.label();
    let failed = |error| Trouble::of_ids(OPERATION, error);
    if let Some(keys) = table.upserts.keys.as_ref().filter(|keys| !keys.origins.is_empty()) {
        let heeded = parked::heed(session, &label, &keys.row_ids, &keys.positions).await.map_err(failed)?;
        counts.superseded += heeded.superseded;
        if !heeded.fenced.is_empty() {
            counts.fenced += heeded.fenced.len() as u64;
            let rows = all_but(&heeded.fenced, table.upserts.len());
            table.upserts = table.upserts.select(&rows);
        }
    }
    if !table.deletes.is_empty() {
        let deletes = &table.deletes;
        let heeded =
            parked::heed(session, &label, &deletes.row_ids, &deletes.positions).await.map_err(failed)?;
        counts.superseded += heeded.superseded;
        if !heeded.fenced.is_empty() {
            counts.fenced += heeded.fenced.len() as u64;
            let rows = all_but(&heeded.fenced, deletes.len());
            table.deletes = deletes.select(&rows);
        }
    }
    Ok(())
}

/// Both lists rise.
fn all_but(left_out: &[usize], rows: usize) -> Vec<usize> {
    (0..rows).filter(|row| left_out.binary_search(row).is_err()).collect()
}

/// Writes what the tables' constraints let pass, and parks the rest.
async fn write_and_park(
    session: &mut Session,
    ledger: &Ledger,
    plan: &Plan,
    prepared: &[Prepared],
    job: &Job<'_>,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    execute(session, CHECK_AT_ONCE).await?;
    let mut lots = Vec::with_capacity(prepared.len() * 2);
    for (table, statements) in plan.tables.iter().zip(prepared) {
        lots.extend(statements.delete.as_ref().map(|delete| Lot::of(table, Deed::Delete, delete)));
        if let Some(PreparedUpsert::Arrays(upsert)) = &statements.upsert {
            lots.push(Lot::of(table, Deed::Upsert, upsert));
        }
    }
    write_around(session, &mut lots, BadRows::Fail, counts).await?;
    for lot in lots.iter().filter(|lot| !lot.blocked.is_empty()) {
        park_rows(session, ledger, lot, job, counts).await?;
    }
    Ok(())
}

async fn park_rows(
    session: &mut Session,
    ledger: &Ledger,
    lot: &Lot<'_>,
    job: &Job<'_>,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    let mut parcels = Parcels::default();
    for blocked in &lot.blocked {
        let record = lot.origin(blocked.row).and_then(|origin| job.batch.get(origin));
        let name = record.and_then(|record| job.holds.name(record.partition));
        let (Some(record), Some(name), Some((id, position))) = (record, name, lot.key(blocked.row)) else {
            return Err(Trouble::new(Fault::Bug, OPERATION, "a blocked row has no record, which is a bug"));
        };
        let id = std::str::from_utf8(id).map_err(|_| {
            Trouble::new(Fault::Bug, OPERATION, "a row's id is not UTF-8, which is a bug in this program")
        })?;
        parcels.push(record, name, (id, position), blocked);
    }
    let label = lot.table.target.table.label();
    counts.parked += parcels
        .park(session, ledger.consumer_group(), &label)
        .await
        .map_err(|error| Trouble::of_ids(OPERATION, error))?;
    Ok(())
}

/// Both go out in one round trip. Where not all is held, no transaction is left open.
pub(crate) async fn begin_and_hold(
    session: &mut Session,
    operation: &'static str,
    ledger: &Ledger,
    (statement, holds): (&Statement, &Holds),
) -> Result<HoldOutcome, Trouble> {
    session.in_doubt = true;
    let asked = &*session;
    let (begun, held) =
        futures_util::future::join(asked.client.batch_execute(BEGIN), ledger.hold(asked, statement, holds))
            .await;
    let held = begun.and(held);
    if !matches!(held, Ok(HoldOutcome::Held { .. })) {
        rollback(session).await;
    }
    held.map_err(|error| Trouble::of(operation, error))
}

/// Prepares before the transaction begins, so that a failure to do so leaves none open. The temporary table
/// outlives the transaction, too.
async fn prepare(
    session: &mut Session,
    plan: &Plan,
    job: &Job<'_>,
) -> Result<(Statement, Vec<Prepared>), Trouble> {
    let failed = |error| Trouble::of(OPERATION, error);
    let hold = session.prepare(&HOLD.into(), &[]).await.map_err(failed)?;
    let copies = |table: &&TablePlan| {
        // Rows that may be set aside go piece by piece.
        table.upserts.len() >= job.copy_threshold.max(1)
            && job.parking != Parking::Park
            && table.target.statements.source.len() <= stage::MAX_COLUMNS
    };
    let mut may_stage = plan.tables.iter().any(|table| copies(&table))
        && stage::is_allowed(session, job.told_no_stage).await.map_err(failed)?;
    if may_stage {
        let stages = plan.tables.iter().filter(copies).map(|table| &table.target.statements.stage);
        stage::make_room(session, stages).await.map_err(failed)?;
    }
    let mut prepared = Vec::with_capacity(plan.tables.len());
    for table in &plan.tables {
        let statements = &table.target.statements;
        let failed = |error| Trouble::of_statement(OPERATION, &table.target.table, error);
        let delete = if table.deletes.is_empty() {
            None
        } else {
            let statement = session.prepare(&statements.delete, &statements.delete_types).await;
            Some(statement.map_err(failed)?)
        };
        let mut stage = None;
        if may_stage && copies(&table) {
            match statements.stage.prepare(session).await {
                Ok(prepared) => stage = Some(prepared),
                // Revoked since the connection asked.
                Err(error) if stage::is_refusal(&error) => {
                    stage::forbid(session, job.told_no_stage);
                    may_stage = false;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        let upsert = if table.upserts.len() == 0 {
            None
        } else if let Some(stage) = stage {
            let merge = session.prepare(&statements.merge, &[]).await.map_err(failed)?;
            Some(PreparedUpsert::Copy { stage, merge })
        } else {
            let statement = session.prepare(&statements.upsert, &statements.upsert_types).await;
            Some(PreparedUpsert::Arrays(statement.map_err(failed)?))
        };
        prepared.push(Prepared { delete, upsert });
    }
    Ok((hold, prepared))
}

/// Deletes first: a unique value that they free may be taken by an upsert of the same batch.
async fn write_table(
    session: &Session,
    table: &TablePlan,
    prepared: &Prepared,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    delete_rows(session, table, prepared, counts).await?;
    let outranked = table.target.statements.outranked.as_ref();
    match &prepared.upsert {
        // Nothing may be left of them since they were prepared.
        Some(_) if table.upserts.len() == 0 => Ok(()),
        None => Ok(()),
        Some(PreparedUpsert::Arrays(statement)) => {
            counts.prepared_statements += 1;
            let parameters: Vec<&(dyn ToSql + Sync)> =
                table.upserts.buffers.iter().map(|buffer| buffer as &(dyn ToSql + Sync)).collect();
            let question = outranked.map(|outranked| &*outranked.upsert);
            upsert(session, statement, question, &parameters, table, counts).await
        }
        Some(PreparedUpsert::Copy { stage, merge }) => {
            counts.copied_statements += 1;
            stage.fill(session, &table.target.table, &table.upserts.buffers).await?;
            let question = outranked.map(|outranked| &*outranked.merge);
            upsert(session, merge, question, &[], table, counts).await
        }
    }
}

async fn delete_rows(
    session: &Session,
    table: &TablePlan,
    prepared: &Prepared,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    match &prepared.delete {
        Some(statement) if !table.deletes.is_empty() => {
            let question = table.target.statements.outranked.as_ref().map(|outranked| &*outranked.delete);
            let question = (statement, question);
            let is_all_seen = delete(session, question, &table.deletes, counts)
                .await
                .map_err(|error| Trouble::of_rows(OPERATION, Some(&table.target.table), error))?;
            if is_all_seen { Ok(()) } else { Err(Trouble::hidden(OPERATION, &table.target.table)) }
        }
        _ => Ok(()),
    }
}

async fn upsert(
    session: &Session,
    statement: &Statement,
    question: Option<&str>,
    parameters: &[&(dyn ToSql + Sync)],
    table: &TablePlan,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    let upserts = &table.upserts;
    let trouble = |error| Trouble::of_rows(OPERATION, Some(&table.target.table), error);
    let row = session.client.query_one(statement, parameters).await.map_err(trouble)?;
    let (inserted, updated) = (count(row.get(0)), count(row.get(1)));
    let Some(fenced) = (upserts.len() as u64).checked_sub(inserted + updated) else {
        return Err(Trouble::new(
            Fault::Bug,
            OPERATION,
            format!(
                "a statement for {} rows wrote {}, which is a bug; nothing of it is committed",
                upserts.len(),
                inserted + updated
            ),
        ));
    };
    counts.inserted += inserted;
    counts.updated += updated;
    counts.fenced += fenced;
    counts.fenced_by_lineage += outranked(session, question, parameters, fenced).await.map_err(trouble)?;
    Ok(())
}

/// How many of the rows that the fence kept off met a higher lineage.
pub(crate) async fn outranked(
    session: &Session,
    question: Option<&str>,
    parameters: &[&(dyn ToSql + Sync)],
    fenced: u64,
) -> Result<u64, Error> {
    match question {
        Some(question) if fenced > 0 => {
            Ok(count(session.client.query_one(question, parameters).await?.get(0)))
        }
        _ => Ok(0),
    }
}

/// False where a policy may have hidden rows.
async fn delete(
    session: &Session,
    (statement, question): (&Statement, Option<&str>),
    deletes: &Deletes,
    counts: &mut WriteCounts,
) -> Result<bool, Error> {
    let parameters: [&(dyn ToSql + Sync); 3] = [&deletes.ids, &deletes.row_ids, &deletes.positions];
    let row = session.client.query_one(statement, &parameters).await?;
    let (deleted, there) = (count(row.get(0)), count(row.get(1)));
    counts.deleted += deleted;
    let fenced = there.saturating_sub(deleted);
    counts.fenced += fenced;
    counts.fenced_by_lineage += outranked(session, question, &parameters, fenced).await?;
    counts.absent += (deletes.len() as u64).saturating_sub(there);
    Ok(!row.get::<_, bool>(2))
}

/// PostgreSQL counts in signed numbers.
pub(crate) fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}
