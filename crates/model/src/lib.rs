//! Checks that belong to no single crate: the dependency table, what ties the specification to the code, and the
//! list of faults that the end-to-end tests strike with.

pub mod faults;
