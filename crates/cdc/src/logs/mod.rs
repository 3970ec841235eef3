//! The log of a running service: one JSON object a line, or lines for people.
//!
//! Every line has `timestamp`, `level`, `service`, `operation` and `message`, whoever wrote it; every error
//! has `error_type` and `stack_trace` besides. Repeated warnings and errors are cut short with a count.

mod console;
mod fields;
mod repeats;
#[cfg(test)]
mod tests;
mod voice;

use std::io::IsTerminal as _;
use std::time::Duration;

use cdc_executor::Health;
use cdc_ports::StackTrace;
use cdc_traces::Traces;
use json_subscriber::JsonLayer;
use tokio::sync::watch;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt as _, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{LogFormat, LogLevel, Logging};
use console::Console;
use repeats::Repeats;

use voice::States;
pub use voice::Voice;

/// How often what was cut short is told.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// The installed log.
#[derive(Clone, Debug)]
pub struct Logs {
    repeats: Repeats,
    states: States,
}

impl Logs {
    /// Makes stdout the log of this process, panics included.
    ///
    /// # Errors
    /// When a log is installed already.
    pub fn install(voice: Voice, logging: Logging) -> Result<Self, TryInitError> {
        let logs = Self { repeats: Repeats::default(), states: States::default() };
        let registry = Registry::default();
        match logging.format {
            LogFormat::Json => registry.with(logs.json(voice, logging.level, std::io::stdout)).try_init()?,
            LogFormat::Console => {
                registry.with(logs.console(voice, logging.level, std::io::stdout)).try_init()?;
            }
        }
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let stack_trace = StackTrace::capture();
            tracing::error!(operation = "panic", error_type = "bug", place, %stack_trace, "{panic}");
        }));
        Ok(logs)
    }

    /// Lines that name no state get that of their service from here.
    pub fn follow(&self, health: watch::Receiver<Health>) {
        self.states.follow(health);
    }

    /// Lines of this service carry the identifiers of the span that it is in, where it has any.
    pub fn name_spans(&self, service: &'static str, traces: Traces) {
        if traces.are_on() {
            self.states.name_spans(service, traces);
        }
    }

    /// Tells from time to time what was cut short, for as long as the task is not aborted.
    pub async fn tell_repeats(self) {
        let mut tick = tokio::time::interval(SUMMARY_INTERVAL);
        loop {
            tick.tick().await;
            self.repeats.tell();
        }
    }

    fn json<S, W>(&self, voice: Voice, level: LogLevel, writer: W) -> impl Layer<S> + use<S, W>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let mut layer = JsonLayer::new(writer);
        layer.with_timer("timestamp", SystemTime).with_level("level");
        let states = self.states.clone();
        layer.add_multiple_dynamic_fields(move |event, _, writer| {
            let fields = fields::complete(event, voice, &states);
            for (name, value) in fields {
                // The layer itself reports a line that it cannot write.
                let _ = writer.write_field(&name, value);
            }
        });
        layer.with_filter(targets(level).and(self.repeats.clone()))
    }

    fn console<S, W>(&self, voice: Voice, level: LogLevel, writer: W) -> impl Layer<S> + use<S, W>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        // https://no-color.org: any value that is not empty says no.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        tracing_subscriber::fmt::layer()
            .with_ansi(!plain && std::io::stdout().is_terminal())
            .with_writer(writer)
            .event_format(Console { voice, states: self.states.clone() })
            .with_filter(targets(level).and(self.repeats.clone()))
    }
}

/// Our own crates at the configured level; libraries at `info` at most, since below it drivers write
/// statements and keys.
fn targets(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    Targets::new().with_default(own.min(LevelFilter::INFO)).with_target("cdc", own)
}
