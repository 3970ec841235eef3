//! A topic's table with its statements, and how far it is known.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::statements::Statements;
use crate::table::Table;
use crate::tables::inspections::Names;

/// What is known of a table is read again after this long, so that an added column or a lifted constraint
/// is noticed without a restart.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A table with its statements.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) table: Table,
    pub(crate) statements: Statements,
    /// When it was read.
    read_at: Instant,
}

impl Target {
    /// This table, read just now.
    pub(crate) fn new(table: Table) -> Self {
        Self { statements: Statements::new(&table), table, read_at: Instant::now() }
    }

    /// True where it was read so short a while ago that it need not be read again.
    pub(crate) fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < MAX_AGE
    }

    /// The same target once documents have fed these columns, too.
    #[must_use]
    pub(crate) fn feeding(&self, columns: &[String]) -> Self {
        let table = self.table.feeding(columns);
        Self { statements: Statements::new(&table), table, read_at: self.read_at }
    }
}

/// A topic's table, as far as it is known.
#[derive(Clone, Debug)]
pub(crate) struct KnownTable {
    pub(crate) target: Arc<Target>,
    /// Fields that have been looked for, and have no column.
    pub(crate) absent: Arc<Names>,
}

/// A topic of whose records some do not fit what is known of its table.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// The topic's place among those of the batch.
    pub(crate) place: usize,
    /// Fields for which no column is known, and that were not looked for yet.
    pub(crate) unknown: Vec<String>,
}

/// Columns of a table that a write feeds for the first time, as far as is known.
#[derive(Clone, Debug)]
pub(crate) struct Feeding {
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
}
