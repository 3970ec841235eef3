//! The state diagrams and the state × input tables, read off the code by exploring small machines.

pub mod syncer;
pub mod watcher;
