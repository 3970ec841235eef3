//! The tables of the topics: what is known of them, how old that is, and when they are looked at again.

pub(crate) mod inspect;
pub(crate) mod inspections;
pub(crate) mod lookup;
pub(crate) mod target;
pub(crate) mod targets;
