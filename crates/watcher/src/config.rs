//! What a Watcher can be told, each option with its default, its legal values and its text; and what is constant.

use core::time::Duration;

use cdc_machine::units::{GIB, HOUR, KIB, MIB, MILLISECOND, MINUTE};
use cdc_machine::{Dependency, Retry, Visitor, options, words};

/// How long a lease lives without a renewal. The token store's records say the same. The machine renews it every five
/// seconds, so two renewals may fail before another process can take it.
pub const LEASE_TTL: Duration = Duration::from_secs(15);

options! {
    /// Limits and policies of a Watcher, constant over its life. A limit below 1 counts as 1.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Config for pub impl Visitor {
        /// Acknowledged events until a save.
        pub token_save_interval: u64 = 10 => number("performance.token_save_interval", 1..=1_000_000),
        /// How long an acknowledged event stays unsaved at most, while traffic is slow.
        pub token_save_max_delay: Duration = Duration::from_millis(200)
            => duration("performance.token_save_max_delay", MILLISECOND..=MINUTE),
        /// The shortest time between the starts of two saves, where there is still credit: a store must not be
        /// hammered.
        pub save_spacing: Duration = Duration::from_millis(10),
        /// The longest time that an idle position stays unsaved.
        pub idle_save_interval: Duration = Duration::from_secs(10),
        /// The most events that a crash can replay: read, and not yet covered by a saved token.
        pub max_replay_events: u64 = 10_000 => number("performance.max_replay_events", 1..=1_000_000),
        /// The most bytes that are read and not yet acknowledged. One event that is larger passes alone.
        pub max_in_flight_bytes: u64 = 32 * MIB
            => bytes("performance.max_in_flight_bytes", 64 * KIB..=16 * GIB),
        /// The most events of one fetch.
        pub max_fetch_events: u32 = 1_000,
        /// The most bytes of one fetch: until the Kafka client has taken its copies, the whole batch is held beside
        /// what is in flight.
        pub max_fetch_bytes: u64 = 4 * MIB,
        /// How often each dependency is tried again.
        pub retries: Retries = Retries::default() => nested(),
        /// How long the lease lives without a renewal.
        pub lease_ttl: Duration = LEASE_TTL,
        /// The time between two renewals.
        pub lease_renew_every: Duration = Duration::from_secs(5),
        /// How long a drain may take. Supervisors should wait 4 s longer before SIGKILL.
        pub drain_timeout: Duration = Duration::from_secs(25)
            => duration("shutdown.timeout", Duration::from_secs(1)..=HOUR),
        /// Which token store this is, for the cause of a stop: `Redis` or `TokenFile`.
        pub token_store: Dependency = Dependency::Redis,
        /// What becomes of a message that is too large for its topic, and of an event that is too large for a reply of
        /// MongoDB (16 MiB). A batch that was refused for its size is read again, one message at a time, so that only
        /// what is too large alone counts.
        pub on_too_large: OnTooLarge = OnTooLarge::DeadLetter => word("on_too_large"),
        /// What to do where the saved position is lost, or is no longer in the source's history. `stop` is the default
        /// because nothing heals a gap yet.
        pub on_history_lost: OnHistoryLost = OnHistoryLost::Stop => word("on_history_lost"),
    }
}

options! {
    /// Retries per dependency; a first try is not a retry, and progress starts the count over.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Retries for pub impl Visitor {
        /// Retries of asking the source who it is, and of opening and reading the change stream.
        pub mongodb: Retry = Retry::times(5) => retries("mongodb.max_retries"),
        /// Retries of making the producer and delivering messages.
        pub kafka: Retry = Retry::times(5) => retries("kafka.max_retries"),
        /// Retries of taking the lease and saving the token.
        pub token_store: Retry = Retry::times(3) => retries("token_storage.max_retries"),
    }
}

words! {
    /// What becomes of a message that does not fit the broker's limits.
    pub enum OnTooLarge {
        /// A marker without the body goes to the dead letters, and the stream goes on once it is durable there.
        DeadLetter: "dead_letter",
        /// The stream goes on without it.
        Skip: "skip",
        /// The service stops with exit code 65.
        Stop: "stop",
    }
}

words! {
    /// What to do where the saved position is of no use any more.
    pub enum OnHistoryLost, later ["snapshot"] {
        /// The service stops with exit code 65, and a person decides.
        Stop: "stop",
        /// The stream goes on from the present, with a gap on record.
        FromNow: "from_now",
    }
}
