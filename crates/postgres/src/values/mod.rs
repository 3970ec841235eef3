//! Values in the binary form of their columns.

pub(crate) mod buffer;
mod decimal;
pub(crate) mod id_to_column;
pub(crate) mod pointers;
pub(crate) mod value_to_column;
