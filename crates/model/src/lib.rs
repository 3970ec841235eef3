//! Checks that belong to no single crate: the dependency table, what ties the specification to the code, the
//! exploration of both machines, and the list of faults that the end-to-end tests strike with.

pub mod explore;
pub mod faults;
pub mod graph;
