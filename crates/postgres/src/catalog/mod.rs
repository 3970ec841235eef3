//! A table as the catalog has it: its columns, its claim, what the role may do with it, and what is missing of it.

pub(crate) mod claim;
pub(crate) mod closed;
mod column_types;
mod columns;
mod defaults;
pub(crate) mod ensure;
pub(crate) mod identity;
mod privileges;
pub(crate) mod shape;
