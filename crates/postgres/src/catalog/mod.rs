//! A table as the catalog has it: its columns, its claim, what the role may do with it, and what is missing of it.

pub(crate) mod claim;
mod column_types;
mod columns;
mod decision;
mod defaults;
pub(crate) mod ensure;
pub(crate) mod identity;
mod privileges;
pub(crate) mod shape;
pub(crate) mod told;
mod types;
