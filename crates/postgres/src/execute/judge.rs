//! What a failed write comes to where its error does not tell: a row's own trouble, its table's, or a moment's. The
//! catalog is asked, never the error's text.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use cdc_machine::Fault;
use cdc_ports::KafkaRecord;
use cdc_syncer::{Hold, HoldReason, Partition, Row};
use foldhash::fast::RandomState;

use crate::bindings::BatchTopics;
use crate::plan::Plan;
use crate::server::trouble::{Otherwise, Trouble};
use crate::stop::Stop;
use crate::tables::lookup::Tables;
use crate::tables::target::Target;

/// What PostgreSQL answers where it did not foresee the error: somebody's function in C, or a change of the catalog at
/// the same moment.
const INTERNAL_ERROR: &str = "XX000";

/// Rows that are remembered to have met an internal error. Beyond them all are forgotten, and written once more again.
const REMEMBERED_MAX: usize = 1_000;

/// The rows that have met an internal error alone: each is written once more before it is given up.
#[derive(Debug, Default)]
pub(crate) struct InternalErrors {
    rows: Mutex<HashSet<(Partition, i64), RandomState>>,
}

impl InternalErrors {
    fn is_first_of(&self, row: &Row<KafkaRecord>) -> bool {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.remove(&(row.partition, row.offset)) {
            return false;
        }
        if rows.len() >= REMEMBERED_MAX {
            rows.clear();
        }
        rows.insert((row.partition, row.offset))
    }

    /// These rows are written. One that met an internal error earlier would otherwise go without its second try when it
    /// meets the next one, after a replay.
    pub(crate) fn forget(&self, written: &[Row<KafkaRecord>]) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.is_empty() {
            return;
        }
        for row in written {
            rows.remove(&(row.partition, row.offset));
        }
    }
}

/// A table as a write saw it.
#[derive(Clone, Debug)]
pub(crate) struct WrittenAs {
    target: Arc<Target>,
    /// Whether rows were to be deleted.
    deletes: bool,
}

impl WrittenAs {
    pub(crate) fn of(plan: &Plan) -> Vec<Self> {
        let tables = plan.tables.iter();
        tables
            .map(|table| Self { target: Arc::clone(&table.target), deletes: !table.deletes.is_empty() })
            .collect()
    }
}

/// What a failed write comes to: the topics that are to be held, or the trouble with the fault that it has come down to.
///
/// The tables that the write met are looked at again, at once: nothing of the write is left, and a failed one is
/// dear anyhow. Where one has been altered, all is written once more to what it is now. `rows` are the
/// batch's, which is halved where the trouble is a row's; none of a retry, which halves by itself.
pub(crate) async fn judge(
    tables: &Tables,
    internal_errors: &InternalErrors,
    trouble: Trouble,
    topics: &BatchTopics,
    written_as: &[WrittenAs],
    rows: &[Row<KafkaRecord>],
) -> Stop {
    match find_holds(tables, internal_errors, trouble, topics, written_as, rows).await {
        Ok(holds) => Stop::Held(holds),
        Err(trouble) => Stop::Failed(trouble),
    }
}

async fn find_holds(
    tables: &Tables,
    internal_errors: &InternalErrors,
    mut trouble: Trouble,
    topics: &BatchTopics,
    written_as: &[WrittenAs],
    rows: &[Row<KafkaRecord>],
) -> Result<Vec<Hold>, Trouble> {
    let Some(doubt) = trouble.doubt.take() else { return Err(trouble) };
    // The batch is halved anyhow, down to a row that comes here alone: the table need not be read for each half.
    if doubt.otherwise == Otherwise::Row && rows.len() > 1 && trouble.failure.fault == Fault::Poison {
        return Err(trouble);
    }
    let (mut suspects, mut holds, mut is_altered) = (Vec::new(), Vec::new(), false);
    for before in written_as {
        let label = before.target.table.label();
        let Some(binding) = topics.topics.iter().find(|binding| tables.label(binding) == label) else {
            continue;
        };
        if doubt.table.as_ref().is_some_and(|table| *table != label) {
            continue;
        }
        if doubt.otherwise == Otherwise::Privilege && before.deletes {
            tables.targets.note_deletes(&binding.topic);
        }
        match tables.look_anew(binding).await {
            Ok(now) if now.table.has_columns_of(&before.target.table) => suspects.push(binding),
            Ok(_) => is_altered = true,
            Err(refused) => holds.extend(tables.holds_for(binding, refused)?),
        }
    }
    if !holds.is_empty() {
        return Ok(holds);
    }
    let (reason, next) = match doubt.otherwise {
        _ if is_altered => {
            trouble.failure.fault = Fault::RetryNow;
            return Err(trouble);
        }
        Otherwise::Row => {
            if let [row] = rows
                && trouble.sqlstate.is_some_and(|code| code.as_str() == INTERNAL_ERROR)
                && internal_errors.is_first_of(row)
            {
                trouble.failure.fault = Fault::RetryNow;
            }
            return Err(trouble);
        }
        Otherwise::Statement => (HoldReason::Unwritable, ""),
        Otherwise::Privilege => (HoldReason::NoPrivilege, ", to the role that the Syncer logs in as"),
    };
    for binding in suspects {
        let message =
            format!("table {} cannot be written: {}{next}", tables.label(binding), trouble.failure.message);
        holds.extend(tables.holds_for(binding, Trouble::held(reason, trouble.failure.operation, message))?);
    }
    if holds.is_empty() { Err(trouble) } else { Ok(holds) }
}

#[cfg(test)]
mod tests {
    use cdc_machine::{Epoch, SeqNo};

    use super::*;

    fn row(offset: i64) -> Row<KafkaRecord> {
        let handle = KafkaRecord::new(b"", None, b"", 0);
        let (partition, epoch, seq) = (Partition(0), Epoch(1), SeqNo::default());
        Row { partition, epoch, seq, offset, route: 0, bytes: 0, handle }
    }

    #[test]
    fn a_row_is_written_twice_for_each_internal_error_that_it_meets() {
        let met = InternalErrors::default();
        assert!(met.is_first_of(&row(1)));
        assert!(!met.is_first_of(&row(1)), "given up");
        assert!(met.is_first_of(&row(1)), "a replay of it");
        met.forget(&[row(0), row(1)]);
        assert!(met.is_first_of(&row(1)), "it was written meanwhile");
    }
}
