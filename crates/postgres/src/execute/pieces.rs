//! Writes the rows that the tables' constraints let pass, and finds those that they do not, all in one transaction:
//! behind a savepoint, what fails is halved until the row in question stands alone.

use cdc_machine::Fault;
use cdc_ports::WriteCounts;
use cdc_syncer::SqlState;
use futures_util::future::join;
use postgres_types::ToSql;
use tokio_postgres::{Error, Row, Statement};

use crate::execute::count::{count_delete, count_fenced_by_lineage, count_upsert};
use crate::execute::savepoint::Mark;
use crate::parked::Blocked;
use crate::plan::TablePlan;
use crate::server::operation::WRITE;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::table::Table;
use crate::values::buffer::ColumnBuffer;

/// Times that blocked rows are tried again after others were written. A chain of hand-overs in one batch
/// resolves by itself, and so do parents behind their children; what is left of a long one is tried again soon.
const PASSES_MAX: usize = 3;

/// Constraints that wait for the commit must speak up earlier here, where it can be told who is blocked.
pub(crate) const CHECK_AT_ONCE: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// What a lot's rows are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Delete,
    Upsert,
}

/// What becomes of a row that fails for a reason of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRows {
    /// It fails the whole.
    Fail,
    /// It is set aside, and its neighbours are written.
    SetAside,
    /// The same, unless it may as well be the table's trouble: that fails the whole.
    SetAsideUndoubted,
}

/// The rows of one table that go by one statement, and what has become of them.
#[derive(Debug)]
pub(crate) struct Lot<'p> {
    pub(crate) table: &'p TablePlan,
    pub(crate) deed: Deed,
    statement: &'p Statement,
    /// Asks how many of the rows that were fenced off met a higher lineage.
    question: Option<&'p str>,
    /// Rows that are still to be written, by their place in the plan.
    pub(crate) pending: Vec<usize>,
    /// Of these, why each was not.
    pub(crate) blocked: Vec<Blocked>,
    /// Rows that fail for reasons of their own.
    pub(crate) bad: Vec<(usize, Trouble)>,
}

impl<'p> Lot<'p> {
    pub(crate) fn of(table: &'p TablePlan, deed: Deed, statement: &'p Statement) -> Self {
        let rows = match deed {
            Deed::Delete => table.deletes.len(),
            Deed::Upsert => table.upserts.len(),
        };
        let questions = table.target.statements.fenced_by_lineage.as_ref();
        let question = questions.map(|questions| match deed {
            Deed::Delete => &*questions.delete,
            Deed::Upsert => &*questions.upsert,
        });
        let (blocked, bad) = (Vec::new(), Vec::new());
        Self { table, deed, statement, question, pending: (0..rows).collect(), blocked, bad }
    }

    /// The index in the batch of the record that a row comes from.
    pub(crate) fn origin(&self, row: usize) -> Option<usize> {
        match self.deed {
            Deed::Delete => self.table.deletes.origins.get(row).copied(),
            Deed::Upsert => self.table.upserts.keys.as_ref()?.origins.get(row).copied(),
        }
    }

    /// A row's id as text, and its position.
    pub(crate) fn key(&self, row: usize) -> Option<(&'p [u8], &'p [u8])> {
        let (ids, positions) = match self.deed {
            Deed::Delete => (&self.table.deletes.row_ids, &self.table.deletes.positions),
            Deed::Upsert => {
                let keys = self.table.upserts.keys.as_ref()?;
                (&keys.row_ids, &keys.positions)
            }
        };
        Some((ids.value(row)?, positions.value(row)?))
    }

    /// The statement's parameters for these rows.
    fn select(&self, rows: &[usize]) -> Vec<ColumnBuffer> {
        match self.deed {
            Deed::Delete => self.table.deletes.buffers().map(|buffer| buffer.select(rows)).collect(),
            Deed::Upsert => self.table.upserts.buffers.iter().map(|buffer| buffer.select(rows)).collect(),
        }
    }

    /// Tries the pending rows, in order.
    async fn pass(
        &mut self,
        session: &Session,
        bad_rows: BadRows,
        mark: &mut Mark,
        counts: &mut WriteCounts,
    ) -> Result<(), Trouble> {
        self.blocked.clear();
        let mut pieces = vec![std::mem::take(&mut self.pending)];
        while let Some(rows) = pieces.pop() {
            let piece = self.select(&rows);
            let parameters: Vec<&(dyn ToSql + Sync)> =
                piece.iter().map(|buffer| buffer as &(dyn ToSql + Sync)).collect();
            counts.prepared_statements += 1;
            // One round trip.
            let (marked, written) = join(
                session.client.batch_execute(mark.next()),
                session.client.query_one(self.statement, &parameters),
            )
            .await;
            marked.map_err(|error| Trouble::of(WRITE, error))?;
            let trouble = match written {
                Ok(row) => {
                    *mark = Mark::Kept;
                    self.count(session, rows.len(), &row, &parameters, counts).await?;
                    continue;
                }
                Err(error) => {
                    *mark = Mark::Spoilt;
                    Failed::of(error, &self.table.target.table, bad_rows)?
                }
            };
            match (&rows[..], trouble) {
                ([row], Failed::Blocked { sqlstate, constraint }) => {
                    self.blocked.push(Blocked { row: *row, sqlstate, constraint });
                }
                ([row], Failed::Bad(trouble)) => self.bad.push((*row, trouble)),
                (rows, _) => {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    pieces.extend([second.to_vec(), first.to_vec()]);
                }
            }
        }
        self.pending = self.blocked.iter().map(|blocked| blocked.row).collect();
        Ok(())
    }

    async fn count(
        &self,
        session: &Session,
        rows: usize,
        answer: &Row,
        parameters: &[&(dyn ToSql + Sync)],
        counts: &mut WriteCounts,
    ) -> Result<(), Trouble> {
        let table = &self.table.target.table;
        let fenced = match self.deed {
            Deed::Delete => count_delete(rows, table, answer, counts)?,
            Deed::Upsert => count_upsert(rows, answer, counts)?,
        };
        count_fenced_by_lineage(session, self.question, parameters, fenced, counts)
            .await
            .map_err(|error| Trouble::of_rows(WRITE, Some(table), error))
    }
}

/// Why a statement failed that can be told from its rows.
enum Failed {
    Blocked { sqlstate: Option<SqlState>, constraint: Option<String> },
    Bad(Trouble),
}

impl Failed {
    fn of(error: Error, table: &Table, bad_rows: BadRows) -> Result<Self, Trouble> {
        let constraint = error.as_db_error().and_then(|said| said.constraint()).map(str::to_owned);
        let trouble = Trouble::of_rows(WRITE, Some(table), error);
        let may_be_set_aside = match bad_rows {
            BadRows::Fail => false,
            BadRows::SetAside => true,
            BadRows::SetAsideUndoubted => trouble.doubt.is_none(),
        };
        match trouble.failure.fault {
            Fault::Blocked => Ok(Self::Blocked { sqlstate: trouble.sqlstate, constraint }),
            Fault::Poison | Fault::TooLarge if may_be_set_aside => Ok(Self::Bad(trouble)),
            Fault::Poison
            | Fault::TooLarge
            | Fault::Transient
            | Fault::Unreachable
            | Fault::RetryNow
            | Fault::HistoryLost
            | Fault::Fenced
            | Fault::Auth
            | Fault::Unfit
            | Fault::Fatal
            | Fault::Bug => Err(trouble),
        }
    }
}

/// Writes what can be written of these lots. What is left stays pending in them, each row with its reason: what
/// one lot's rows waited for may have come with another's, so all are tried again as long as that helps.
pub(crate) async fn write_around(
    session: &Session,
    lots: &mut [Lot<'_>],
    bad_rows: BadRows,
    counts: &mut WriteCounts,
) -> Result<(), Trouble> {
    let pending = |lots: &[Lot<'_>]| lots.iter().map(|lot| lot.pending.len()).sum::<usize>();
    let mut mark = Mark::begin(session).await?;
    for _ in 0..PASSES_MAX {
        let before = pending(lots);
        for lot in lots.iter_mut().filter(|lot| !lot.pending.is_empty()) {
            lot.pass(session, bad_rows, &mut mark, counts).await?;
        }
        let after = pending(lots);
        if after == 0 || after == before {
            break;
        }
    }
    mark.end(session).await
}
