//! The effects executor: it carries out what the machines order, and tells them what became of it.

pub mod ports;
