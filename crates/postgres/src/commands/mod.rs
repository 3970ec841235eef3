//! What a person asks of the bookkeeping from the command line.

pub(crate) mod dead_letters;
pub(crate) mod gaps;
pub(crate) mod overtaken;
