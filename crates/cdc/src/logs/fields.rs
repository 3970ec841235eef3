//! The fields of one line, and what is added where a line lacks them.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use cdc_ports::StackTrace;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::voice::{States, Voice};

/// The longest field of a line, in bytes; a stack trace is the longest that there is.
const FIELD_BYTES: usize = 16 * 1024;

/// All fields of an event; those that every line has are added where it lacks them.
pub(super) fn complete(event: &Event<'_>, voice: Voice, states: &States) -> BTreeMap<String, Value> {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let mut fields = fields.0;
    let metadata = event.metadata();

    // Events of the `log` facade carry their module in a field.
    let target = match fields.remove("log.target") {
        Some(Value::String(target)) => target,
        _ => metadata.target().to_owned(),
    };
    fields.retain(|name, _| !name.starts_with("log."));

    let service = fields.entry("service".to_owned()).or_insert_with(|| service_of(voice, &target).into());
    let state = service.as_str().and_then(|service| states.of(service));
    let span = service.as_str().and_then(|service| states.span_of(service));
    if let Some(state) = state {
        fields.entry("state".to_owned()).or_insert_with(|| state.into());
    }
    if let Some(span) = span {
        fields.insert("trace_id".to_owned(), span.trace_id().to_string().into());
        fields.insert("span_id".to_owned(), span.span_id().to_string().into());
    }
    fields.entry("operation".to_owned()).or_insert_with(|| operation_of(&target).into());
    fields.entry("message".to_owned()).or_insert_with(|| metadata.name().into());
    if *metadata.level() == Level::ERROR {
        fields.entry("error_type".to_owned()).or_insert_with(|| "unclassified".into());
        fields
            .entry("stack_trace".to_owned())
            .or_insert_with(|| cut(StackTrace::capture().to_string()).into());
    }
    fields
}

/// Whose line it is: in a process with both services, by the neighbour that it speaks of.
fn service_of(voice: Voice, target: &str) -> &'static str {
    const OF_WATCHER: [&str; 5] = ["cdc_watcher", "cdc_mongo", "cdc_tokens", "mongodb", "redis"];
    const OF_SYNCER: [&str; 3] = ["cdc_syncer", "cdc_postgres", "tokio_postgres"];
    let of = |crates: &[&str]| crates.contains(&crate_of(target));
    match voice {
        Voice::Watcher => "watcher",
        Voice::Syncer => "syncer",
        Voice::Pipeline if of(&OF_WATCHER) => "watcher",
        Voice::Pipeline if of(&OF_SYNCER) => "syncer",
        Voice::Pipeline => "pipeline",
    }
}

/// What a line that names no operation is about: the crate that wrote it.
fn operation_of(target: &str) -> &str {
    let name = crate_of(target);
    name.strip_prefix("cdc_").unwrap_or(name)
}

fn crate_of(target: &str) -> &str {
    target.split_once("::").map_or(target, |(name, _)| name)
}

fn cut(mut text: String) -> String {
    if text.len() > FIELD_BYTES {
        text.truncate(text.floor_char_boundary(FIELD_BYTES));
        text.push('…');
    }
    text
}

#[derive(Default)]
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, value.to_string());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, cut(value.to_owned()));
    }

    /// The whole chain of causes, outermost first.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut chain = value.to_string();
        let mut next = value.source();
        while let Some(cause) = next {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            next = cause.source();
        }
        self.put(field, cut(chain));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, cut(format!("{value:?}")));
    }
}
