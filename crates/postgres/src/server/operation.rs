//! What the work on rows is called in logs and failures.

/// The writing of a batch, with the looks at its tables.
pub(crate) const WRITE: &str = "postgres_write";

/// A retry of parked rows.
pub(crate) const RETRY_PARKED: &str = "postgres_retry_parked";
