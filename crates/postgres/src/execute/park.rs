//! Rows and their parked versions: what those keep off, and which rows join them.

use cdc_machine::Fault;
use cdc_ports::{Fate, WriteCounts};

use crate::execute::job::Job;
use crate::execute::pieces::{BadRows, CHECK_AT_ONCE, Deed, Lot, write_around};
use crate::execute::savepoint::execute;
use crate::parked::{self, Parcels};
use crate::plan::{Plan, TablePlan};
use crate::prepare::{PreparedBatch, PreparedUpsert};
use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::values::buffer::ColumnBuffer;

/// Takes out of the plan what is not newer than a parked version, and out of `cdc.parked` what is older than
/// the plan's.
pub(crate) async fn fence_against_parked(
    session: &mut Session,
    table: &mut TablePlan,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    let label = table.target.table.label();
    if let Some(keys) = table.upserts.keys.as_ref().filter(|keys| !keys.origins.is_empty()) {
        let kept = newer_than_parked(session, &label, (&keys.row_ids, &keys.positions), counts).await?;
        if let Some(rows) = kept {
            table.upserts = table.upserts.select(&rows);
        }
    }
    if !table.deletes.is_empty() {
        let deletes = &table.deletes;
        let kept = newer_than_parked(session, &label, (&deletes.row_ids, &deletes.positions), counts).await?;
        if let Some(rows) = kept {
            table.deletes = deletes.select(&rows);
        }
    }
    Ok(())
}

/// The rows that no parked version keeps off; nothing where that are all.
async fn newer_than_parked(
    session: &mut Session,
    label: &str,
    (row_ids, positions): (&ColumnBuffer, &ColumnBuffer),
    counts: &mut WriteCounts,
) -> Result<Option<Vec<usize>>, Trouble> {
    let found = parked::fence(session, label, row_ids, positions).await;
    let found = found.map_err(|error| Trouble::of_ids(WRITE, error))?;
    counts.superseded += found.superseded;
    counts.fenced += found.fenced.len() as u64;
    // Both rise.
    let kept = |row: &usize| found.fenced.binary_search(row).is_err();
    Ok((!found.fenced.is_empty()).then(|| (0..row_ids.len()).filter(kept).collect()))
}

/// Writes what the tables' constraints let pass, and parks the rest.
pub(crate) async fn write_and_park(
    session: &mut Session,
    plan: &Plan,
    prepared: &PreparedBatch,
    job: &Job<'_>,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    execute(session, CHECK_AT_ONCE).await?;
    let mut lots = Vec::with_capacity(prepared.tables.len() * 2);
    for (table, statements) in plan.tables.iter().zip(&prepared.tables) {
        lots.extend(statements.delete.as_ref().map(|delete| Lot::of(table, Deed::Delete, delete)));
        if let Some(PreparedUpsert::Arrays(upsert)) = &statements.upsert {
            lots.push(Lot::of(table, Deed::Upsert, upsert));
        }
    }
    write_around(session, &mut lots, BadRows::Fail, counts).await?;
    for lot in lots.iter().filter(|lot| !lot.blocked.is_empty()) {
        park_rows(session, lot, job, counts).await?;
    }
    Ok(())
}

async fn park_rows(
    session: &mut Session,
    lot: &Lot<'_>,
    job: &Job<'_>,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    let mut parcels = Parcels::default();
    for blocked in &lot.blocked {
        let record = lot.origin(blocked.row).and_then(|origin| job.batch.get(origin));
        let name = record.and_then(|record| job.owned.name(record.partition));
        let (Some(record), Some(name), Some((id, position))) = (record, name, lot.key(blocked.row)) else {
            return Err(Trouble::new(Fault::Bug, WRITE, "a blocked row has no record, which is a bug"));
        };
        let id = std::str::from_utf8(id).map_err(|_| {
            Trouble::new(Fault::Bug, WRITE, "a row's id is not UTF-8, which is a bug in this program")
        })?;
        parcels.push(record, name, (id, position), blocked);
        let sampled = lot.origin(blocked.row).filter(|_| record.handle.trace.is_some());
        counts.sampled.extend(sampled.map(|index| (index, Fate::Parked)));
    }
    let label = lot.table.target.table.label();
    counts.parked += parcels
        .park(session, job.ledger.consumer_group(), &label)
        .await
        .map_err(|error| Trouble::of_ids(WRITE, error))?;
    Ok(())
}
