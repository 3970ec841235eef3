//! What a statement did to its rows, added to the batch's counts: the one place for all ways into a table.

use cdc_machine::Fault;
use cdc_ports::WriteCounts;
use postgres_types::ToSql;
use tokio_postgres::{Error, Row};

use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::table::Table;

/// Counts an upsert of so many rows by its answer; returns how many the fence kept off.
pub(crate) fn count_upsert(rows: usize, answer: &Row, counts: &mut WriteCounts) -> Result<u64, Trouble> {
    let (inserted, updated) = (unsigned(answer.get(0)), unsigned(answer.get(1)));
    let Some(fenced) = (rows as u64).checked_sub(inserted + updated) else {
        return Err(Trouble::new(
            Fault::Bug,
            WRITE,
            format!(
                "a statement for {rows} rows wrote {}, which is a bug; nothing of it is committed",
                inserted + updated
            ),
        ));
    };
    counts.inserted += inserted;
    counts.updated += updated;
    counts.fenced += fenced;
    Ok(fenced)
}

/// Counts a delete of so many rows by its answer; returns how many the fence kept off. Fails where a policy may have
/// hidden rows.
pub(crate) fn count_delete(
    rows: usize,
    table: &Table,
    answer: &Row,
    counts: &mut WriteCounts,
) -> Result<u64, Trouble> {
    if answer.get::<_, bool>(2) {
        return Err(Trouble::hidden(WRITE, table));
    }
    let (deleted, there) = (unsigned(answer.get(0)), unsigned(answer.get(1)));
    let fenced = there.saturating_sub(deleted);
    counts.deleted += deleted;
    counts.fenced += fenced;
    counts.absent += (rows as u64).saturating_sub(there);
    Ok(fenced)
}

/// Counts those of the rows that the fence kept off which met a higher lineage. Asks only where there are any.
pub(crate) async fn count_fenced_by_lineage(
    session: &Session,
    question: Option<&str>,
    parameters: &[&(dyn ToSql + Sync)],
    fenced: u64,
    counts: &mut WriteCounts,
) -> Result<(), Error> {
    if let Some(question) = question.filter(|_| fenced > 0) {
        counts.fenced_by_lineage += unsigned(session.client.query_one(question, parameters).await?.get(0));
    }
    Ok(())
}

/// PostgreSQL counts in signed numbers.
fn unsigned(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}
