//! Checks that belong to no single crate: the dependency table, what ties the specification to the code, the
//! exploration of both machines, the list of faults that the end-to-end tests strike with, and the simulator with the
//! invariants that it asks.

pub mod explore;
pub mod faults;
pub mod graph;
pub mod invariants;
pub mod sim;
