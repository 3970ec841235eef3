//! The temporary tables of one connection: whether it may make them, which it has, and those that a batch needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Statement};

use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::statements::stage::Stage;

/// Temporary tables that one connection keeps. Beyond them it starts over, with those of the batch at hand.
const MAX_STAGES: usize = 32;

const MAY_STAGE: &str = "SELECT has_database_privilege(current_database(), 'TEMPORARY')";

/// A temporary table, ready to be filled.
#[derive(Debug)]
pub(crate) struct PreparedStage {
    pub(crate) empty: Statement,
    pub(crate) copy: Statement,
}

/// Makes the temporary table, which outlives the transaction, and prepares what fills it.
pub(crate) async fn prepare(stage: &Stage, session: &mut Session) -> Result<PreparedStage, Error> {
    if !session.stages.contains(&stage.quoted) {
        session.client.batch_execute(&stage.create).await?;
        session.stages.insert(Arc::clone(&stage.quoted));
    }
    Ok(PreparedStage {
        empty: session.prepare(&stage.empty, &[]).await?,
        copy: session.prepare(&stage.copy, &[]).await?,
    })
}

/// Drops what the connection has of temporary tables where those of a batch would be too many beside them.
pub(crate) async fn drop_beyond(
    session: &mut Session,
    wanted: impl Iterator<Item = &Stage>,
) -> Result<(), Error> {
    let missing = wanted.filter(|stage| !session.stages.contains(&stage.quoted)).count();
    if missing == 0 || session.stages.len() + missing <= MAX_STAGES {
        return Ok(());
    }
    session.client.batch_execute("DISCARD TEMP").await?;
    session.stages.clear();
    // Those that name the dropped tables would fail.
    session.forget_statements();
    Ok(())
}

/// Whether the connection may make temporary tables; asked once of each, and told once of all. Where it may not, rows
/// go by arrays, whatever their number.
pub(crate) async fn is_allowed(session: &mut Session, told: &AtomicBool) -> Result<bool, Error> {
    if let Some(known) = session.may_stage {
        return Ok(known);
    }
    let row = session.client.query_one(MAY_STAGE, &[]).await?;
    if row.get(0) {
        session.may_stage = Some(true);
    } else {
        forbid(session, told);
    }
    Ok(row.get(0))
}

/// Notes that the connection may make no temporary tables.
pub(crate) fn forbid(session: &mut Session, told: &AtomicBool) {
    session.may_stage = Some(false);
    if !told.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            operation = WRITE,
            "the role may make no temporary tables, which COPY goes through: large batches go by arrays, which is \
             slower; GRANT TEMPORARY ON DATABASE … TO the role brings COPY back, with the next connections"
        );
    }
}

/// True of PostgreSQL's refusal to make a temporary table.
pub(crate) fn is_refusal(error: &Error) -> bool {
    error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}
