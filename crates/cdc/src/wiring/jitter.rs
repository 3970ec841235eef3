use std::time::{SystemTime, UNIX_EPOCH};

use cdc_executor::Jitter;

/// A generator of its own for each process; its seed is logged, so that a run's waits can be repeated.
pub(super) fn jitter(service: &'static str) -> Jitter {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let seed = u64::from(nanos) << 32 | u64::from(std::process::id());
    tracing::debug!(service, operation = "start", seed, "jitter");
    Jitter::seeded(seed)
}
