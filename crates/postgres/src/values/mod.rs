//! Values in the binary form of their columns.

pub(crate) mod buffer;
pub(crate) mod decimal;
pub(crate) mod pointers;
pub(crate) mod value_to_column;
