//! Writes the rows that a unique constraint lets pass, and finds those that it does not, all in one transaction:
//! behind a savepoint, what fails is halved until the blocked row stands alone.

use cdc_executor::ports::WriteCounts;
use cdc_machine::Fault;
use postgres_types::ToSql;
use tokio_postgres::{Error, Statement};

use crate::classify::classify;
use crate::failure::Trouble;
use crate::parked::Blocked;
use crate::plan::Upserts;
use crate::session::Session;
use crate::write::{OPERATION, count, outranked};

/// Times that blocked rows are tried again after others were written. A chain of hand-overs in one batch
/// resolves by itself; what is left of a long one is tried again soon.
const PASSES_MAX: usize = 3;

/// Unique constraints that wait for the commit must speak up earlier here, where it can be told who is blocked.
pub(crate) const CHECK_AT_ONCE: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// The statement that writes the rows, and the question that goes with it where some are fenced off.
pub(crate) type Asked<'a> = (&'a Statement, Option<&'a str>);

/// Writes what can be written of these rows, and returns the others.
pub(crate) async fn upsert_around(
    session: &Session,
    (statement, question): Asked<'_>,
    upserts: &Upserts,
    counts: &mut WriteCounts,
) -> Result<Vec<Blocked>, Trouble> {
    let mut mark = Mark::begin(session).await?;
    let mut blocked = Vec::new();
    let mut rows: Vec<usize> = (0..upserts.len()).collect();
    for _ in 0..PASSES_MAX {
        let tried = rows.len();
        blocked = pass(session, (statement, question), upserts, rows, &mut mark, counts).await?;
        rows = blocked.iter().map(|blocked| blocked.row).collect();
        if rows.is_empty() || rows.len() == tried {
            break;
        }
    }
    mark.end(session).await?;
    Ok(blocked)
}

/// Tries these rows, in order.
async fn pass(
    session: &Session,
    (statement, question): Asked<'_>,
    upserts: &Upserts,
    rows: Vec<usize>,
    mark: &mut Mark,
    counts: &mut WriteCounts,
) -> Result<Vec<Blocked>, Trouble> {
    let mut blocked = Vec::new();
    let mut pieces = vec![rows];
    while let Some(rows) = pieces.pop() {
        let piece = upserts.select(&rows);
        let parameters: Vec<&(dyn ToSql + Sync)> =
            piece.buffers.iter().map(|buffer| buffer as &(dyn ToSql + Sync)).collect();
        counts.prepared_statements += 1;
        // One round trip.
        let (marked, written) = futures_util::future::join(
            session.client.batch_execute(mark.next()),
            session.client.query_one(statement, &parameters),
        )
        .await;
        marked.map_err(|error| Trouble::of(OPERATION, error))?;
        match written {
            Ok(row) => {
                *mark = Mark::Kept;
                let (inserted, updated) = (count(row.get(0)), count(row.get(1)));
                counts.inserted += inserted;
                counts.updated += updated;
                let fenced = (rows.len() as u64).saturating_sub(inserted + updated);
                counts.fenced += fenced;
                counts.outranked += outranked(session, question, &parameters, fenced)
                    .await
                    .map_err(|error| Trouble::of(OPERATION, error))?;
            }
            Err(error) if is_blocked(&error) => {
                *mark = Mark::Spoilt;
                if let [row] = rows[..] {
                    let constraint = error.as_db_error().and_then(|said| said.constraint());
                    blocked.push(Blocked { row, constraint: constraint.map(str::to_owned) });
                } else {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    pieces.extend([second.to_vec(), first.to_vec()]);
                }
            }
            Err(error) => return Err(Trouble::of(OPERATION, error)),
        }
    }
    Ok(blocked)
}

fn is_blocked(error: &Error) -> bool {
    error.code().is_some_and(|code| classify(code.code()).fault == Fault::Blocked)
}

/// A savepoint that moves along: behind what was written, back before what failed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Kept,
    Spoilt,
}

impl Mark {
    pub(crate) async fn begin(session: &Session) -> Result<Self, Trouble> {
        execute(session, "SAVEPOINT cdc_piece").await?;
        Ok(Self::Kept)
    }

    pub(crate) async fn end(self, session: &Session) -> Result<(), Trouble> {
        let sql = match self {
            Self::Kept => "RELEASE SAVEPOINT cdc_piece",
            Self::Spoilt => "ROLLBACK TO SAVEPOINT cdc_piece; RELEASE SAVEPOINT cdc_piece",
        };
        execute(session, sql).await
    }

    /// What goes before the next statement.
    const fn next(self) -> &'static str {
        match self {
            Self::Kept => "RELEASE SAVEPOINT cdc_piece; SAVEPOINT cdc_piece",
            Self::Spoilt => "ROLLBACK TO SAVEPOINT cdc_piece",
        }
    }
}

async fn execute(session: &Session, sql: &str) -> Result<(), Trouble> {
    session.client.batch_execute(sql).await.map_err(|error| Trouble::of(OPERATION, error))
}
