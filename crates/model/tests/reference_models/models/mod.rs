//! The models, and what drives them.

pub(crate) mod harness;
pub(crate) mod syncer;
pub(crate) mod watcher;
