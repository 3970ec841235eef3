//! The state diagrams and the state × input tables, read off the code by exploring small machines.

mod asked;
pub mod syncer;
pub mod watcher;
