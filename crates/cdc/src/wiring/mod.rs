//! Configuration into running services: each port gets its adapter, each machine its limits.

mod jitter;
mod syncer;
mod token_age;
mod tokens;
mod watcher;

pub use syncer::{database, syncer, syncer_connection};
pub use token_age::{TokenAge, follow_token_age};
pub use tokens::{AnyTokenStore, identity, token_store};
pub use watcher::{lineage_at_ends, source, watcher, watcher_connection};
