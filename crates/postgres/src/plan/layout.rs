//! One round over a table's candidates: each row gets its record, and each record's row its place in the columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use cdc_event::Operation;

use crate::decode::Candidate;
use crate::decode::no_row::NoRow;
use crate::plan::row::RowWriter;
use crate::plan::rows::{Deletes, Keys, Upserts};
use crate::tables::inspections::Names;
use crate::tables::target::Target;

/// What it takes to lay out a table's rows.
pub(crate) struct Layout<'k> {
    pub(crate) target: Arc<Target>,
    /// Fields that are known to have no column.
    pub(crate) absent: &'k Names,
    pub(crate) written_at: i64,
    pub(crate) keeps_keys: bool,
    /// The records that have no row, by their index in the batch. They have none in a later round either.
    pub(crate) refused: BTreeMap<usize, NoRow>,
}

/// A table's rows, and what the round found.
pub(crate) struct LaidOut {
    pub(crate) upserts: Upserts,
    pub(crate) deletes: Deletes,
    /// Columns that the rows lack, because no document had fed them before these.
    pub(crate) feeds: Vec<String>,
    /// Fields for which no column is known, and that were not looked for yet.
    pub(crate) unknown: Vec<String>,
    /// Fields that another field of their document kept from the column that their name comes to, with that column.
    pub(crate) shadowed: Vec<(String, String)>,
    pub(crate) merged: u64,
    /// Those of the merged ones that are sampled, by their index in the batch.
    pub(crate) sampled_merged: Vec<usize>,
    pub(crate) newest_unix_seconds: u32,
}

impl Layout<'_> {
    /// Decides each row's contest, and writes the winner's row.
    pub(crate) fn lay_out(&mut self, contest: &[Candidate<'_>]) -> LaidOut {
        let target = &*self.target;
        let mut upserts =
            Upserts { buffers: target.statements.buffers(), keys: self.keeps_keys.then(Keys::new) };
        let mut deletes = Deletes::new(&target.table);
        let (mut merged, mut newest_unix_seconds) = (0, 0);
        let mut sampled_merged = Vec::new();
        let mut writer = RowWriter::new(target, self.written_at, Some(self.absent));
        for rivals in contest.chunk_by(|a, b| a.row_id == b.row_id) {
            let mut rivals = rivals.iter();
            for candidate in rivals.by_ref() {
                if self.refused.contains_key(&candidate.index) {
                    continue;
                }
                let converted = if candidate.envelope.operation == Operation::Delete {
                    writer.delete(candidate, &mut deletes).inspect(|()| deletes.origins.push(candidate.index))
                } else {
                    writer.upsert(candidate, &mut upserts).inspect(|()| {
                        if let Some(keys) = &mut upserts.keys {
                            keys.push(candidate);
                        }
                    })
                };
                match converted {
                    Ok(()) => {
                        newest_unix_seconds = newest_unix_seconds.max(candidate.envelope.cluster_time.t);
                        break;
                    }
                    Err(no_row) => drop(self.refused.insert(candidate.index, no_row)),
                }
            }
            merged += rivals.len() as u64;
            sampled_merged.extend(rivals.filter(|it| it.is_sampled).map(|it| it.index));
        }
        let feeds = writer.newly_fed();
        let (unknown, shadowed) = writer.into_unknown();
        LaidOut { feeds, unknown, shadowed, upserts, deletes, merged, sampled_merged, newest_unix_seconds }
    }
}
