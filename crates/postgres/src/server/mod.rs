//! The server: connections, transactions whose end is known, and what its errors mean.

pub(crate) mod classify;
pub(crate) mod current_pool;
pub(crate) mod deadline;
mod grants;
pub(crate) mod operation;
pub(crate) mod pool;
pub(crate) mod session;
pub(crate) mod transaction;
pub(crate) mod trouble;
