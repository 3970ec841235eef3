//! Values in the binary form of their columns.

pub(crate) mod array;
pub(crate) mod buffer;
pub(crate) mod coerce;
mod decimal;
pub(crate) mod id_to_column;
pub(crate) mod items;
pub(crate) mod pointers;
pub(crate) mod row_id;
mod spelled;
pub(crate) mod value_to_column;
