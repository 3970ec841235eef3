use core::time::Duration;

use cdc_machine::{Dependency, Retry};

/// Limits and policies of a Watcher, constant over its life. A limit below 1 counts as 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Acked events beyond the last save that make the next save due.
    pub token_save_interval: u64,
    /// The longest time that an acked event stays unsaved while traffic is slow.
    pub token_save_max_delay: Duration,
    /// The shortest time between the starts of two saves, where there is still room: a store must not be
    /// hammered.
    pub save_spacing: Duration,
    /// The longest time that an idle position stays unsaved.
    pub idle_save_interval: Duration,
    /// The most events that a crash can replay: opened and not yet covered by a saved token.
    pub max_replay_events: u64,
    /// The most bytes handed to Kafka and not yet answered; one event that is larger passes alone.
    pub max_in_flight_bytes: u64,
    /// The most events of one pull.
    pub max_pull_events: u32,
    /// The most bytes of one pull: until the Kafka client has taken its copies, the whole pull is held beside
    /// what is in flight.
    pub max_pull_bytes: u64,
    /// How often each dependency is tried again.
    pub retries: Retries,
    /// How long the lease lives without a renewal.
    pub lease_ttl: Duration,
    /// The time between two renewals.
    pub lease_renew_every: Duration,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Which token store this is, for the cause of a stop: `Redis` or `TokenFile`.
    pub token_store: Dependency,
    /// What becomes of a message that does not fit the broker's limits.
    pub on_too_large: OnTooLarge,
    /// What to do where the saved position is lost, or is no longer in the source's history.
    pub on_history_lost: OnHistoryLost,
}

/// Retries per dependency; a first try is not a retry, and progress starts the count over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Opening and reading the change stream.
    pub mongodb: Retry,
    /// Making the producer and delivering messages.
    pub kafka: Retry,
    /// Taking the lease and saving the token.
    pub token_store: Retry,
}

/// What becomes of a message that does not fit the broker's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTooLarge {
    /// A body-less marker goes to the dead letters, and the stream goes on once it is durable.
    DeadLetter,
    /// The stream goes on without it.
    Skip,
    /// The service stops.
    Stop,
}

/// What to do where the saved position is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHistoryLost {
    /// The service stops; a person decides.
    Stop,
    /// The stream goes on from the present, with a gap on record.
    FromNow,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token_save_interval: 10,
            token_save_max_delay: Duration::from_millis(200),
            save_spacing: Duration::from_millis(10),
            idle_save_interval: Duration::from_secs(10),
            max_replay_events: 10_000,
            max_in_flight_bytes: 32 * 1024 * 1024,
            max_pull_events: 1_000,
            max_pull_bytes: 4 * 1024 * 1024,
            retries: Retries::default(),
            lease_ttl: Duration::from_secs(15),
            lease_renew_every: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
            token_store: Dependency::Redis,
            on_too_large: OnTooLarge::DeadLetter,
            on_history_lost: OnHistoryLost::Stop,
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { mongodb: Retry::times(5), kafka: Retry::times(5), token_store: Retry::times(3) }
    }
}
