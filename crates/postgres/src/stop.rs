//! Why a batch, or a retry of parked rows, comes to nothing.

use cdc_syncer::{Hold, Partition};

use crate::server::trouble::Trouble;

/// Why nothing was written.
#[derive(Debug)]
pub(crate) enum Stop {
    /// These partitions are somebody else's.
    Refused(Vec<Partition>),
    /// The tables of these topics cannot be written.
    Held(Vec<Hold>),
    /// PostgreSQL, or the way to it, failed.
    Failed(Trouble),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(trouble)
    }
}
