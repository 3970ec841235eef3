use crate::{Config, Effect, TimerKind};

/// What every handler is handed beside its own part.
pub(crate) type Context<'a, R, T> = cdc_machine::Context<'a, Config, TimerKind, Effect<R, T>>;

/// A number of a situation, cut to a byte: none comes near it in a small machine.
pub(crate) fn byte(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
