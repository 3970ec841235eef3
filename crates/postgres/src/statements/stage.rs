//! The temporary table that one target's rows pass through on their way from COPY into a merge.
//!
//! It belongs to that one target, and each use begins by emptying it: whatever a merge finds there was put there
//! by the COPY in front of it, in the same transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cdc_machine::Fault;
use futures_util::SinkExt as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Statement};
use xxhash_rust::xxh3::xxh3_64;

use crate::execute::write::OPERATION;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::table::{Table, quote};
use crate::values::buffer::{ColumnBuffer, copy_pieces};

/// COPY data are made and handed to the driver in pieces of about this many bytes.
const COPY_PIECE_BYTES: usize = 256 * 1024;

/// Columns of a temporary table, as of every other. A table that has as many, and an id that is not text, passes
/// through arrays.
pub(crate) const MAX_COLUMNS: usize = 1_600;

/// Temporary tables that one connection keeps. Beyond them it starts over, with those of the batch at hand.
const MAX_STAGES: usize = 32;

const MAY_STAGE: &str = "SELECT has_database_privilege(current_database(), 'TEMPORARY')";

/// The statements around a target's temporary table.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Its name, as statements spell it.
    pub(crate) quoted: Arc<str>,
    pub(crate) create: String,
    pub(crate) empty: Arc<str>,
    pub(crate) copy: Arc<str>,
}

impl Stage {
    /// The stage of the table of this quoted name. Another shape of the same table has a stage of its own.
    #[must_use]
    pub(crate) fn new(target: &str, declared: &str) -> Self {
        // A quoted name has no NUL, so that no two pairs are spelled alike.
        let hash = xxh3_64(format!("{target}\0{declared}").as_bytes());
        let quoted = format!("pg_temp.{}", quote(&format!("cdc_stage_{hash:016x}")));
        Self {
            create: format!(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {quoted} ({declared}) ON COMMIT DELETE ROWS"
            ),
            empty: format!("DELETE FROM {quoted}").into(),
            copy: format!("COPY {quoted} FROM STDIN (FORMAT binary)").into(),
            quoted: quoted.into(),
        }
    }

    /// Makes the temporary table, which outlives the transaction, and prepares what fills it.
    pub(crate) async fn prepare(&self, session: &mut Session) -> Result<PreparedStage, Error> {
        if !session.stages.contains(&self.quoted) {
            session.client.batch_execute(&self.create).await?;
            session.stages.insert(Arc::clone(&self.quoted));
        }
        Ok(PreparedStage {
            empty: session.prepare(&self.empty, &[]).await?,
            copy: session.prepare(&self.copy, &[]).await?,
        })
    }
}

/// Drops what the connection has of temporary tables where those of a batch would be too many beside them.
pub(crate) async fn make_room(
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
            operation = OPERATION,
            "the role may make no temporary tables, which COPY goes through: large batches go by arrays, which is \
             slower; GRANT TEMPORARY ON DATABASE … TO the role brings COPY back, with the next connections"
        );
    }
}

/// True of PostgreSQL's refusal to make a temporary table.
pub(crate) fn is_refusal(error: &Error) -> bool {
    error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

/// A temporary table, ready to be filled.
#[derive(Debug)]
pub(crate) struct PreparedStage {
    empty: Statement,
    copy: Statement,
}

impl PreparedStage {
    /// Puts these rows into the temporary table, and sees that there are no others.
    pub(crate) async fn fill(
        &self,
        session: &Session,
        table: &Table,
        columns: &[ColumnBuffer],
    ) -> Result<(), Trouble> {
        // One round trip.
        let (emptied, sink) = futures_util::future::join(
            session.client.execute(&self.empty, &[]),
            session.client.copy_in::<_, Bytes>(&self.copy),
        )
        .await;
        let filled = async {
            emptied?;
            let sink = sink?;
            futures_util::pin_mut!(sink);
            for piece in copy_pieces(columns, COPY_PIECE_BYTES) {
                sink.send(piece).await?;
            }
            sink.finish().await
        };
        let copied = filled.await.map_err(|error| Trouble::of_rows(OPERATION, Some(table), error))?;
        let rows = columns.first().map_or(0, ColumnBuffer::len);
        if copied != rows as u64 {
            return Err(Trouble::new(
                Fault::Bug,
                OPERATION,
                format!("COPY took {copied} of {rows} rows, which is a bug"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_and_each_shape_has_a_stage_of_its_own() {
        let named = |target, declared| Stage::new(target, declared).quoted;
        let one = named("\"public\".\"one\"", "c0 text");
        assert_eq!(one, named("\"public\".\"one\"", "c0 text"));
        assert_ne!(one, named("\"public\".\"two\"", "c0 text"));
        assert_ne!(one, named("\"public\".\"one\"", "c0 text, c1 text"));
        assert_ne!(named("\"a.b\".\"c\"", "c0 text"), named("\"a\".\"b.c\"", "c0 text"));
    }
}
