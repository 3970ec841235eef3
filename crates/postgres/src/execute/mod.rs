//! A plan on its way into the tables, in one transaction.

pub(crate) mod evict;
pub(crate) mod judge;
pub(crate) mod pieces;
pub(crate) mod retry;
pub(crate) mod write;
