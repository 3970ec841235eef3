//! The credit that is left to read more. Between the saved position and the newest event stands a window of slots: what
//! was read, what Kafka has of it, and what the store has of that.

use cdc_machine::Watermark;

use crate::Config;

/// Events that may still be read before a crash could replay more than allowed.
pub(crate) fn credit<T: Clone>(window: &Watermark<T>, config: &Config) -> u64 {
    config.max_replay_events.max(1).saturating_sub(window.unsaved_weight())
}

/// Bytes that may still be handed to Kafka.
pub(crate) fn credit_bytes<T: Clone>(window: &Watermark<T>, config: &Config) -> u64 {
    config.max_in_flight_bytes.max(1).saturating_sub(window.unsettled_bytes())
}

/// How many events the next fetch may bring; 0 where there is no credit for any.
pub(crate) fn fetch_credit<T: Clone>(window: &Watermark<T>, config: &Config) -> u32 {
    if credit_bytes(window, config) == 0 {
        return 0;
    }
    let events = u32::try_from(credit(window, config)).unwrap_or(u32::MAX);
    events.min(config.max_fetch_events.max(1))
}
