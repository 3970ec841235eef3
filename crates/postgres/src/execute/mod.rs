//! A plan on its way into the tables, in one transaction.

mod copy;
mod count;
mod evict;
pub(crate) mod job;
pub(crate) mod judge;
mod lock;
mod park;
pub(crate) mod pieces;
pub(crate) mod retry;
mod savepoint;
mod table;
pub(crate) mod write;
