//! The four servers: how each is configured, started and asked whether it is ready.

pub(crate) mod kafka;
mod kafka_probe;
pub(crate) mod mongod;
pub(crate) mod postgres;
pub(crate) mod redis;
