//! From a batch's candidates to the rows of each table: who wins, who is rejected.

mod document;
mod layout;
mod row;
pub(crate) mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cdc_ports::{Fate, WriteCounts};
use cdc_syncer::Rejected;

use self::layout::{LaidOut, Layout};
use self::rows::{Deletes, Upserts};
use crate::decode::{Candidate, Records};
use crate::tables::target::{Doubt, Feeding, KnownTable, Target};

/// What is to be written, table by table, and what is not.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Sorted by table, so that all writers lock tables' rows in one order.
    pub(crate) tables: Vec<TablePlan>,
    /// Records that cannot be written.
    pub(crate) rejected: Vec<Rejected>,
    /// What is known before anything is written.
    pub(crate) counts: WriteCounts,
    /// What another look at the tables may change.
    pub(crate) doubts: Vec<Doubt>,
    /// Fields that no column takes although their names come to one.
    pub(crate) shadowed: Vec<Shadowed>,
}

/// A field that no column takes, because its document has a field of the very name of the column that it comes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shadowed {
    pub(crate) table: String,
    pub(crate) field: String,
    pub(crate) column: String,
}

/// One table's rows, sorted by row id.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) target: Arc<Target>,
    /// The index in the batch of one of its records: they are all of one topic.
    pub(crate) record: usize,
    pub(crate) upserts: Upserts,
    pub(crate) deletes: Deletes,
    /// Columns of the target that documents feed for the first time, as far as is known.
    pub(crate) newly_fed: Vec<String>,
}

impl Plan {
    /// Decides, for every row of every table, which record it gets: the one of the greatest position among
    /// those that convert. A record that does not is rejected, and the next one gets its chance. With
    /// `keeps_keys` the rows can be parked.
    pub(crate) fn new(records: Records<'_>, targets: &[Option<KnownTable>], keeps_keys: bool) -> Self {
        let Records { candidates, mut rejected, mut counts } = records;
        let written_at = unix_micros();
        let mut tables = Vec::with_capacity(targets.len());
        let (mut doubts, mut shadowed) = (Vec::new(), Vec::new());
        for (place, (known, mut contest)) in targets.iter().zip(candidates).enumerate() {
            let Some(known) = known else { continue };
            contest.sort_unstable_by(|a, b| {
                a.row_id
                    .cmp(&b.row_id)
                    .then_with(|| b.envelope.position.cmp(&a.envelope.position))
                    .then_with(|| a.index.cmp(&b.index))
            });
            let refused = rejected.len();
            let (plan, unknown, shadows) =
                TablePlan::new(known, &contest, (written_at, keeps_keys), &mut rejected, &mut counts);
            shadowed.extend(shadows);
            if rejected.len() > refused || !unknown.is_empty() {
                doubts.push(Doubt { place, unknown });
            }
            if plan.upserts.len() > 0 || !plan.deletes.is_empty() || !plan.newly_fed.is_empty() {
                tables.push(plan);
            }
        }
        tables.sort_unstable_by_key(|writes| writes.target.table.label());
        rejected.sort_unstable_by_key(|rejected| rejected.index);
        Self { tables, rejected, counts, doubts, shadowed }
    }

    /// What the plan feeds for the first time, as far as is known.
    pub(crate) fn feedings(&self) -> Vec<Feeding> {
        let new = self.tables.iter().filter(|table| !table.newly_fed.is_empty());
        new.map(|table| Feeding { table: table.target.table.label(), columns: table.newly_fed.clone() })
            .collect()
    }
}

impl TablePlan {
    /// `contest` is sorted by row id, and then from the greatest position down.
    ///
    /// The statements name the columns that documents have fed so far. Where these documents feed more, the rows
    /// are laid out again: at most once for each column of the table, ever.
    fn new(
        known: &KnownTable,
        contest: &[Candidate<'_>],
        (written_at, keeps_keys): (i64, bool),
        rejected: &mut Vec<Rejected>,
        counts: &mut WriteCounts,
    ) -> (Self, Vec<String>, Vec<Shadowed>) {
        let target = Arc::clone(&known.target);
        let absent = &*known.absent;
        let mut layout = Layout { target, absent, written_at, keeps_keys, refused: BTreeMap::new() };
        let mut newly_fed: Vec<String> = Vec::new();
        loop {
            let laid_out = layout.lay_out(contest);
            if laid_out.feeds.is_empty() {
                let Layout { target, refused, .. } = layout;
                rejected.extend(refused.into_iter().map(|(index, no_row)| no_row.rejects(index)));
                counts.merged += laid_out.merged;
                let merged = laid_out.sampled_merged.iter().map(|index| (*index, Fate::Merged));
                counts.sampled.extend(merged);
                counts.newest_unix_seconds = counts.newest_unix_seconds.max(laid_out.newest_unix_seconds);
                let LaidOut { upserts, deletes, unknown, shadowed, .. } = laid_out;
                let of_table = |(field, column)| Shadowed { table: target.table.label(), field, column };
                let shadowed = shadowed.into_iter().map(of_table).collect();
                let record = contest.first().map_or(0, |candidate| candidate.index);
                return (Self { target, record, upserts, deletes, newly_fed }, unknown, shadowed);
            }
            layout.target = Arc::new(layout.target.feeding(&laid_out.feeds));
            newly_fed.extend(laid_out.feeds);
        }
    }
}

/// The time of the write, in Unix microseconds.
fn unix_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
