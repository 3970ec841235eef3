//! Checks that belong to no single crate: the dependency table, and what ties the specification to the code.
