//! Configuration into running services: each port gets its adapter, each machine its limits.

mod syncer;
mod token_age;
mod tokens;
mod watcher;

pub use syncer::{database, syncer, syncer_connection};
pub use token_age::{TokenAge, follow_token_age};
pub use tokens::{AnyTokenStore, identity, token_store};
pub(crate) use watcher::pairs;
pub use watcher::{describe_source, lineage_at_ends, source, watcher};

use std::time::{SystemTime, UNIX_EPOCH};

use cdc_executor::Jitter;

/// How long a connection of the pool lives, as the design document has it.
const CONNECTION_LIFETIME: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// How long an idle connection beyond the minimum is kept, as the design document has it.
const CONNECTION_IDLE: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// A generator of its own for each process; its seed is logged, so that a run's waits can be repeated.
fn jitter(service: &'static str) -> Jitter {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let seed = u64::from(nanos) << 32 | u64::from(std::process::id());
    tracing::debug!(service, operation = "start", seed, "jitter");
    Jitter::seeded(seed)
}
