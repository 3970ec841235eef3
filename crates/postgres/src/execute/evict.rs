//! Takes older versions of parked rows out of their tables, so that rows that wait for each other's values can move.

use cdc_machine::Fault;
use cdc_ports::WriteCounts;
use postgres_types::ToSql;
use tokio_postgres::Statement;

use crate::execute::pieces::{BadRows, Deed, Lot, write_around};
use crate::execute::savepoint::{Mark, execute};
use crate::parked::Blocked;
use crate::plan::TablePlan;
use crate::server::operation::RETRY_PARKED;
use crate::server::session::Session;
use crate::server::trouble::Trouble;
use crate::table::Table;
use crate::values::buffer::ColumnBuffer;

/// Times that it is tried without the rows that must not lose their older version.
const TRIES_MAX: usize = 3;

/// The statements, by table.
#[derive(Debug, Default)]
pub(crate) struct Evictions<'p> {
    statements: Vec<(&'p Table, &'p Statement)>,
}

impl<'p> Evictions<'p> {
    pub(crate) fn add(&mut self, table: &'p TablePlan, statement: &'p Statement) {
        self.statements.push((&table.target.table, statement));
    }

    fn of(&self, table: &Table) -> Option<&'p Statement> {
        self.statements.iter().find(|(known, _)| std::ptr::eq(*known, table)).map(|(_, statement)| *statement)
    }
}

/// Takes the older versions out of those rows that wait for a value, and tries all that is pending again. Returns
/// how many were taken out.
///
/// A row that waits for a foreign key gains nothing by a row less. So where one of these turns out to wait for a
/// foreign key as well, or fails for a reason of its own, everything is taken back, and tried without it.
pub(crate) async fn break_cycles(
    session: &Session,
    lots: &mut [Lot<'_>],
    evictions: &Evictions<'_>,
    bad_rows: BadRows,
    counts: &mut WriteCounts,
) -> Result<u64, Trouble> {
    let mut spared: Vec<(usize, usize)> = Vec::new();
    for _ in 0..TRIES_MAX {
        let before: Vec<Left> = lots.iter().map(Left::of).collect();
        execute(session, "SAVEPOINT cdc_evict").await?;
        let mut evicted = 0;
        let mut evicted_rows = Vec::new();
        for (number, lot) in lots.iter().enumerate() {
            let rows: Vec<usize> = evictable(lot).filter(|row| !spared.contains(&(number, *row))).collect();
            if let Some(statement) = evictions.of(&lot.table.target.table).filter(|_| !rows.is_empty()) {
                evicted += evict(session, statement, lot, rows, number, &mut evicted_rows).await?;
            }
        }
        if evicted > 0 {
            write_around(session, lots, bad_rows, counts).await?;
        }
        let harmed: Vec<(usize, usize)> =
            evicted_rows.iter().filter(|(number, row)| is_harmed(&lots[*number], *row)).copied().collect();
        if harmed.is_empty() {
            execute(session, "RELEASE SAVEPOINT cdc_evict").await?;
            return Ok(evicted);
        }
        execute(session, "ROLLBACK TO SAVEPOINT cdc_evict; RELEASE SAVEPOINT cdc_evict").await?;
        lots.iter_mut().zip(before).for_each(|(lot, left)| left.restore(lot));
        spared.extend(harmed);
    }
    Ok(0)
}

/// What was left of a lot.
struct Left {
    pending: Vec<usize>,
    blocked: Vec<Blocked>,
    bad: usize,
}

impl Left {
    fn of(lot: &Lot<'_>) -> Self {
        Self { pending: lot.pending.clone(), blocked: lot.blocked.clone(), bad: lot.bad.len() }
    }

    fn restore(self, lot: &mut Lot<'_>) {
        lot.pending = self.pending;
        lot.blocked = self.blocked;
        lot.bad.truncate(self.bad);
    }
}

/// Rows of other tables would go or change with a row that they refer to by a rule.
fn evictable(lot: &Lot<'_>) -> impl Iterator<Item = usize> {
    let may = lot.deed == Deed::Upsert && !lot.table.target.table.cascades;
    lot.blocked.iter().filter(move |blocked| may && blocked.is_about_a_value()).map(|blocked| blocked.row)
}

fn is_harmed(lot: &Lot<'_>, row: usize) -> bool {
    lot.bad.iter().any(|(bad, _)| *bad == row)
        || lot.blocked.iter().any(|blocked| blocked.row == row && !blocked.is_about_a_value())
}

/// Takes the older versions of these rows out of their table. Where a foreign key or a trigger forbids that of a
/// row, it is left: it stays parked until its values are free.
async fn evict(
    session: &Session,
    statement: &Statement,
    lot: &Lot<'_>,
    rows: Vec<usize>,
    number: usize,
    evicted_rows: &mut Vec<(usize, usize)>,
) -> Result<u64, Trouble> {
    let Some(keys) = &lot.table.upserts.keys else { return Ok(0) };
    // The id's columns come first.
    let ids = &lot.table.upserts.buffers[..lot.table.target.table.ids().len()];
    let mut evicted = 0;
    let mut refused = None;
    let mut pieces = vec![rows];
    let mut mark = Mark::begin(session).await?;
    while let Some(rows) = pieces.pop() {
        execute(session, mark.next()).await?;
        let piece: Vec<ColumnBuffer> =
            ids.iter().chain([&keys.positions]).map(|buffer| buffer.select(&rows)).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            piece.iter().map(|buffer| buffer as &(dyn ToSql + Sync)).collect();
        match session.client.execute(statement, &parameters).await {
            Ok(taken) => {
                mark = Mark::Kept;
                evicted += taken;
                evicted_rows.extend(rows.iter().map(|row| (number, *row)));
            }
            Err(error) => {
                mark = Mark::Spoilt;
                let trouble = Trouble::of_rows(RETRY_PARKED, Some(&lot.table.target.table), error);
                if !matches!(trouble.failure.fault, Fault::Poison | Fault::Blocked) {
                    return Err(trouble);
                }
                if rows.len() > 1 {
                    let (first, second) = rows.split_at(rows.len() / 2);
                    pieces.extend([second.to_vec(), first.to_vec()]);
                }
                refused = Some(trouble);
            }
        }
    }
    mark.end(session).await?;
    if let Some(trouble) = refused {
        tracing::warn!(
            operation = RETRY_PARKED,
            table = lot.table.target.table.label(),
            error = trouble.failure.message,
            "the older versions of some parked rows cannot be taken out of their table, so that a cycle of values \
             cannot open there; they stay parked until their values are free"
        );
    }
    Ok(evicted)
}
