use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;

use crate::config::TraceExport;
use crate::version;

/// Whose spans they are.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// `watcher` or `syncer`.
    pub name: &'static str,
    /// The configured instance.
    pub instance: &'a str,
    /// The topics that it fills or reads.
    pub topics: &'a [String],
}

/// What goes with every span. What the configuration says comes before what is known anyway.
pub(super) fn of(export: &TraceExport, service: &Service<'_>) -> Resource {
    let topics = service.topics.iter().cloned().map(StringValue::from).collect();
    let known = [
        KeyValue::new("service.name", format!("cdc-{}", service.name)),
        KeyValue::new("service.instance.id", service.instance.to_owned()),
        KeyValue::new("service.version", version::PACKAGE_VERSION),
        KeyValue::new("cdc.topics", Value::Array(Array::String(topics))),
    ];
    let given = export.resource_attributes.iter().cloned().map(|(key, value)| KeyValue::new(key, value));
    let name = export.service_name.clone().map(|name| KeyValue::new("service.name", name));
    Resource::builder_empty().with_attributes(known).with_attributes(given).with_attributes(name).build()
}
