use std::time::Duration;

use cdc_executor::metrics;
use cdc_ports::{Failure, TokenStore as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::tokens::token_store;
use crate::config::WatcherConfig;

/// How often the record is looked at: another instance may be saving positions into it.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the gauge is brought up to date.
const TICK: Duration = Duration::from_secs(1);

/// Shows the saved position's age while nobody takes the lease, because the source has not said who it is. It ends
/// with this handle.
pub struct TokenAge(JoinHandle<()>);

impl Drop for TokenAge {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to show the age of the configured store's position.
///
/// # Errors
/// When the store's address or path cannot be used.
pub fn follow_token_age(config: &WatcherConfig) -> Result<TokenAge, Failure> {
    // Reading compares no identity: the age is the record's, whosever it is.
    let mut store = token_store(config, String::new())?;
    let follow = async move {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut known, mut looked_at): (Option<(Instant, Duration)>, Option<Instant>) = (None, None);
        loop {
            tick.tick().await;
            if looked_at.is_none_or(|looked_at| looked_at.elapsed() >= LOOK_EVERY) {
                match store.peek().await {
                    Ok(Some(record)) => known = Some((Instant::now(), record.age())),
                    Ok(None) => {}
                    // The machine says it once it needs the store.
                    Err(failure) => tracing::debug!(
                        service = "watcher",
                        operation = "token_age",
                        error = %failure.chain(),
                        "the token's age is not known"
                    ),
                }
                looked_at = Some(Instant::now());
            }
            if let Some((at, age)) = known {
                metrics::show_token_age(age.saturating_add(at.elapsed()));
            }
        }
    };
    Ok(TokenAge(tokio::spawn(follow)))
}
