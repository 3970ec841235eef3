//! The pool of the connection at hand: replaced with each, gone when the database is closed.

use std::sync::{PoisonError, RwLock};

use cdc_machine::Fault;

use crate::server::pool::Pool;
use crate::server::trouble::Trouble;

/// The pool, while there is one.
#[derive(Debug, Default)]
pub(crate) struct CurrentPool(RwLock<Option<Pool>>);

impl CurrentPool {
    /// The pool, for this operation.
    pub(crate) fn get(&self, operation: &'static str) -> Result<Pool, Trouble> {
        let pool = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pool.clone().ok_or_else(|| {
            Trouble::new(
                Fault::Unreachable,
                operation,
                "the pool is closed; it is opened by the next connection",
            )
        })
    }

    /// Replaces it. Connections on loan close as they come back to a pool that is gone.
    pub(crate) fn set(&self, pool: Option<Pool>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pool;
    }
}
