//! The statements of a plan, prepared before its transaction begins: a failure to do so leaves none open. A temporary
//! table outlives the transaction, too.

pub(crate) mod stages;

use std::sync::atomic::AtomicBool;

use cdc_syncer::Parking;
use tokio_postgres::Statement;

use self::stages::PreparedStage;
use crate::ledger::lock::LOCK_OWNED;
use crate::plan::{Plan, TablePlan};
use crate::server::operation::{RETRY_PARKED, WRITE};
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::statements::stage::MAX_COLUMNS;

/// The statements of a batch.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    pub(crate) lock: Statement,
    /// In the order of the plan's tables.
    pub(crate) tables: Vec<PreparedTable>,
}

/// How one table's rows travel, ready to run.
#[derive(Debug)]
pub(crate) struct PreparedTable {
    pub(crate) delete: Option<Statement>,
    pub(crate) upsert: Option<PreparedUpsert>,
}

#[derive(Debug)]
pub(crate) enum PreparedUpsert {
    Arrays(Statement),
    Copy { stage: PreparedStage, merge: Statement },
}

/// When a table's rows go by COPY.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyRule<'a> {
    /// From so many rows on.
    pub(crate) threshold: usize,
    /// Whether a missing privilege for temporary tables was told of.
    pub(crate) told_no_stage: &'a AtomicBool,
}

impl CopyRule<'_> {
    fn covers(&self, table: &TablePlan, parking: Parking) -> bool {
        // Rows that may be set aside go piece by piece.
        table.upserts.len() >= self.threshold.max(1)
            && parking != Parking::Park
            && table.target.statements.source.len() <= MAX_COLUMNS
    }
}

/// Prepares a batch.
pub(crate) async fn prepare(
    session: &mut Session,
    plan: &Plan,
    parking: Parking,
    rule: CopyRule<'_>,
) -> Result<PreparedBatch, Trouble> {
    let failed = |error| Trouble::of(WRITE, error);
    let lock = session.prepare(&LOCK_OWNED.into(), &[]).await.map_err(failed)?;
    let copies = |table: &&TablePlan| rule.covers(table, parking);
    let mut may_stage = plan.tables.iter().any(|table| copies(&table))
        && stages::is_allowed(session, rule.told_no_stage).await.map_err(failed)?;
    if may_stage {
        let wanted = plan.tables.iter().filter(copies).map(|table| &table.target.statements.stage);
        stages::drop_beyond(session, wanted).await.map_err(failed)?;
    }
    let mut tables = Vec::with_capacity(plan.tables.len());
    for table in &plan.tables {
        let statements = &table.target.statements;
        let failed = |error| Trouble::of_statement(WRITE, &table.target.table, error);
        let delete = if table.deletes.is_empty() {
            None
        } else {
            let statement = session.prepare(&statements.delete, &statements.delete_types).await;
            Some(statement.map_err(failed)?)
        };
        let mut stage = None;
        if may_stage && copies(&table) {
            match stages::prepare(&statements.stage, session).await {
                Ok(prepared) => stage = Some(prepared),
                // Revoked since the connection asked.
                Err(error) if stages::is_refusal(&error) => {
                    stages::forbid(session, rule.told_no_stage);
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
        tables.push(PreparedTable { delete, upsert });
    }
    Ok(PreparedBatch { lock, tables })
}

/// The statements of a retry.
#[derive(Debug)]
pub(crate) struct PreparedRetry {
    pub(crate) lock: Statement,
    /// In the order of the plan's tables.
    pub(crate) tables: Vec<PreparedRetryTable>,
}

#[derive(Debug)]
pub(crate) struct PreparedRetryTable {
    pub(crate) delete: Statement,
    pub(crate) upsert: Statement,
    pub(crate) evict_older: Statement,
}

/// Prepares a retry.
pub(crate) async fn prepare_retry(session: &mut Session, plan: &Plan) -> Result<PreparedRetry, Trouble> {
    let lock = session.prepare(&LOCK_OWNED.into(), &[]).await;
    let lock = lock.map_err(|error| Trouble::of(RETRY_PARKED, error))?;
    let mut tables = Vec::with_capacity(plan.tables.len());
    for TablePlan { target, .. } in &plan.tables {
        let statements = &target.statements;
        let prepared = async {
            Ok(PreparedRetryTable {
                delete: session.prepare(&statements.delete, &statements.delete_types).await?,
                upsert: session.prepare(&statements.upsert, &statements.upsert_types).await?,
                evict_older: session.prepare(&statements.evict_older, &statements.evict_types).await?,
            })
        };
        let failed = |error| Trouble::of_statement(RETRY_PARKED, &target.table, error);
        tables.push(prepared.await.map_err(failed)?);
    }
    Ok(PreparedRetry { lock, tables })
}
