use crate::{Config, Effect, TimerKind};

/// What every handler is handed beside its own part.
pub(crate) type Context<'a, R, T> = cdc_machine::Context<'a, Config, TimerKind, Effect<R, T>>;
