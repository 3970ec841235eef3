//! Why a record has no row.

use cdc_syncer::{Reject, Rejected};

/// Why a record has no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoRow {
    pub(crate) reason: Reject,
    pub(crate) detail: String,
}

impl NoRow {
    pub(crate) fn new(reason: Reject, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The same, of the batch's record of this index.
    pub(crate) fn rejects(self, index: usize) -> Rejected {
        Rejected { index, reason: self.reason, sqlstate: None, detail: self.detail.into() }
    }
}
