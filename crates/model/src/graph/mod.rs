//! The state diagrams and the state × input tables, read off the code by exploring small machines.

mod asked;
pub mod syncer;
#[cfg(test)]
mod tests;
pub mod watcher;
