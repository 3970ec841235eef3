//! Writes a plan in one transaction that first locks the batch's partitions.

use cdc_ports::WriteCounts;
use cdc_syncer::{ParkedRows, Parking};

use crate::catalog::claim;
use crate::execute::job::Job;
use crate::execute::lock::{begin_and_lock, begin_lock_and_work};
use crate::execute::park::{fence_against_parked, write_and_park};
use crate::execute::table::write_table;
use crate::parked;
use crate::plan::Plan;
use crate::prepare::PreparedBatch;
use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::transaction::end;
use crate::server::trouble::Trouble;
use crate::stop::Stop;

/// Writes a plan, and takes out of it what versions that are parked keep off. Adds to the counts what it did; returns
/// what is parked now. On any error the transaction is rolled back, or its connection is given up.
pub(crate) async fn write(
    session: &mut Session,
    plan: &mut Plan,
    prepared: &PreparedBatch,
    job: &Job<'_>,
    counts: &mut WriteCounts,
) -> Result<Vec<ParkedRows>, Stop> {
    let lock = (&prepared.lock, job.owned);
    if job.parking == Parking::Off {
        let plan = &*plan;
        let work = async |session: &Session| write_tables(session, plan, prepared, job, counts).await;
        let (transaction, ()) = begin_lock_and_work(session, WRITE, job.ledger, lock, work).await?;
        end(session, WRITE, transaction, Ok(())).await?;
        return Ok(Vec::new());
    }
    let transaction = begin_and_lock(session, WRITE, job.ledger, lock).await?;
    let written = write_among_parked(session, plan, prepared, job, counts).await;
    Ok(end(session, WRITE, transaction, written).await?)
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
    session: &Session,
    plan: &Plan,
    prepared: &PreparedBatch,
    job: &Job<'_>,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    feed(session, plan).await?;
    for (table, statements) in plan.tables.iter().zip(&prepared.tables) {
        let before = job.partition_of(table).map(|partition| counts.so_far(partition));
        write_table(session, table, statements, counts).await?;
        counts.attribute(before);
    }
    Ok(())
}

/// Fences what parked versions keep off, and parks what is blocked where that is ordered; returns what is parked now.
async fn write_among_parked(
    session: &mut Session,
    plan: &mut Plan,
    prepared: &PreparedBatch,
    job: &Job<'_>,
    counts: &mut WriteCounts,
) -> Result<Vec<ParkedRows>, Trouble> {
    feed(session, plan).await?;
    if job.parking == Parking::Park {
        for table in &mut plan.tables {
            fence_against_parked(session, table, counts).await?;
        }
        write_and_park(session, plan, prepared, job, counts).await?;
    } else {
        for (table, statements) in plan.tables.iter_mut().zip(&prepared.tables) {
            let before = job.partition_of(table).map(|partition| counts.so_far(partition));
            fence_against_parked(session, table, counts).await?;
            write_table(session, table, statements, counts).await?;
            counts.attribute(before);
        }
    }
    parked::count(session, job.ledger.consumer_group(), job.share, job.owned)
        .await
        .map_err(|error| Trouble::of(WRITE, error))
}
