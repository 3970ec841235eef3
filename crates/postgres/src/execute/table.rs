//! One table's rows, each kind by one statement.

use cdc_ports::WriteCounts;
use postgres_types::ToSql;
use tokio_postgres::Statement;

use crate::execute::copy::copy;
use crate::execute::count::{count_delete, count_fenced_by_lineage, count_upsert};
use crate::plan::TablePlan;
use crate::prepare::{PreparedTable, PreparedUpsert};
use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::trouble::Trouble;

/// Deletes first: a unique value that they free may be taken by an upsert of the same batch.
pub(crate) async fn write_table(
    session: &Session,
    table: &TablePlan,
    prepared: &PreparedTable,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    // Nothing may be left of either since they were prepared.
    if let Some(statement) = prepared.delete.as_ref().filter(|_| !table.deletes.is_empty()) {
        delete_rows(session, statement, table, counts).await?;
    }
    let by_lineage = table.target.statements.fenced_by_lineage.as_ref();
    match prepared.upsert.as_ref().filter(|_| table.upserts.len() > 0) {
        None => Ok(()),
        Some(PreparedUpsert::Arrays(statement)) => {
            counts.prepared_statements += 1;
            let parameters: Vec<&(dyn ToSql + Sync)> =
                table.upserts.buffers.iter().map(|buffer| buffer as &(dyn ToSql + Sync)).collect();
            let question = by_lineage.map(|questions| &*questions.upsert);
            upsert_rows(session, (statement, question), &parameters, table, counts).await
        }
        Some(PreparedUpsert::Copy { stage, merge }) => {
            counts.copied_statements += 1;
            copy(stage, session, &table.target.table, &table.upserts.buffers).await?;
            let question = by_lineage.map(|questions| &*questions.merge);
            upsert_rows(session, (merge, question), &[], table, counts).await
        }
    }
}

async fn delete_rows(
    session: &Session,
    statement: &Statement,
    table: &TablePlan,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    let (deletes, target) = (&table.deletes, &table.target);
    let failed = |error| Trouble::of_rows(WRITE, Some(&target.table), error);
    let parameters: Vec<&(dyn ToSql + Sync)> =
        deletes.buffers().map(|buffer| buffer as &(dyn ToSql + Sync)).collect();
    let answer = session.client.query_one(statement, &parameters).await.map_err(failed)?;
    let fenced = count_delete(deletes.len(), &target.table, &answer, counts)?;
    let question = target.statements.fenced_by_lineage.as_ref().map(|questions| &*questions.delete);
    count_fenced_by_lineage(session, question, &parameters, fenced, counts).await.map_err(failed)
}

async fn upsert_rows(
    session: &Session,
    (statement, question): (&Statement, Option<&str>),
    parameters: &[&(dyn ToSql + Sync)],
    table: &TablePlan,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    let failed = |error| Trouble::of_rows(WRITE, Some(&table.target.table), error);
    let answer = session.client.query_one(statement, parameters).await.map_err(failed)?;
    let fenced = count_upsert(table.upserts.len(), &answer, counts)?;
    count_fenced_by_lineage(session, question, parameters, fenced, counts).await.map_err(failed)
}
