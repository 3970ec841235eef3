use crate::{Config, Effect, TimerKind};

/// What every handler is handed beside its own part and what it needs of others'.
pub(crate) type Context<'a, R> = cdc_machine::Context<'a, Config, TimerKind, Effect<R>>;

pub(crate) type Timers = cdc_machine::Timers<TimerKind>;
