//! Where the resume token is kept: in Redis or in a file, behind the executor's
//! [`TokenStore`](cdc_ports::TokenStore).
//!
//! Both are the same store over a different *register*: one cell that is read together with a clock, and
//! written by compare-and-set.
//!
//! ```text
//!  RedisStore ┐                              ┌ RedisRegister: one key, one Lua script
//!             ├─ LeasedStore<R: Register> ───┤
//!  FileStore  ┘   lease · fence · record     └ FileRegister:  one file, one lock file, over a small Disk
//! ```
//!
//! A store is made of parts that know nothing of each other: who asks and what it has seen of the holder
//! (`claimant`), who may have the lease (`lease`), the cell that only its owner writes (`fence`), the places where the
//! record was kept before (`earlier`).
//!
//! The cell holds one line of JSON (see [`mod@record`]): the position, what it belongs to, and the lease. Each
//! write names the (incarnation, owner, sequence) that it replaces, so of two writers one fails and learns
//! of the other.

#![allow(clippy::wildcard_enum_match_arm, reason = "the driver's error kinds are an open list")]

mod change;
mod claimant;
mod classify;
mod clock;
mod disk;
mod earlier;
mod fence;
mod file;
mod gaps;
mod identity;
mod lease;
pub mod record;
mod redis;
mod register;
mod reset;
mod store;

pub use crate::disk::{Disk, LocalDisk};
pub use crate::file::{FileRegister, FileStore};
pub use crate::redis::{RedisRegister, RedisSettings, RedisStore};
pub use change::{Examination, Examined};
pub use register::{Expected, Reading, Register, Swap};
pub use reset::{Look, Reset, ResetOutcome};
pub use store::LeasedStore;
