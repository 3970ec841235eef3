//! OpenTelemetry's own environment variables, as the lowest layer: what they say holds for every service that is
//! configured, unless `tracing` says otherwise. <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::collections::BTreeMap;

use super::tree::Node;

/// How a value of a variable is spelled as a key's.
type Spell = fn(&str) -> String;

/// A variable, the key that it stands for, and how its value is spelled there. Of two for one key the first counts.
const VARIABLES: [(&str, &str, Spell); 21] = [
    ("OTEL_SDK_DISABLED", "disabled", truth),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "traces_endpoint", verbatim),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "endpoint", verbatim),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "protocol", verbatim),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "protocol", verbatim),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "headers", verbatim),
    ("OTEL_EXPORTER_OTLP_HEADERS", "headers", verbatim),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "timeout", milliseconds),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "timeout", milliseconds),
    ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "certificate", verbatim),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "certificate", verbatim),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "client_certificate", verbatim),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "client_certificate", verbatim),
    ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "client_key", verbatim),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "client_key", verbatim),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "compression", verbatim),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "compression", verbatim),
    ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "insecure", verbatim),
    ("OTEL_EXPORTER_OTLP_INSECURE", "insecure", verbatim),
    ("OTEL_SERVICE_NAME", "service_name", verbatim),
    ("OTEL_RESOURCE_ATTRIBUTES", "resource_attributes", verbatim),
];

/// The section of the keys.
const SECTION: &str = "tracing";

/// A key that a variable gives a value.
pub(super) struct Given {
    /// The key and the sections around it.
    pub(super) path: Vec<String>,
    /// Its value.
    pub(super) value: String,
    /// The variable.
    pub(super) variable: &'static str,
}

/// What the other layers have left open and a variable says. An empty one says nothing.
pub(super) fn given(root: &Node, environment: &BTreeMap<String, String>) -> Vec<Given> {
    let services: Vec<&str> =
        ["watcher", "syncer"].into_iter().filter(|service| root.get(service).is_some()).collect();
    let sections: Vec<Vec<&str>> = match services.as_slice() {
        [] => vec![vec![SECTION]],
        _ => ["watcher", "syncer"].map(|service| vec![service, SECTION]).into(),
    };
    let mut all: Vec<Given> = Vec::new();
    for (variable, key, spell) in VARIABLES {
        let Some(value) = environment.get(variable).filter(|value| !value.trim().is_empty()) else {
            continue;
        };
        for section in &sections {
            let path: Vec<String> = section.iter().chain([&key]).map(|part| (*part).to_owned()).collect();
            let is_open = !is_written(root, &path) && !is_written(root, &beside(&path));
            if is_open && all.iter().all(|earlier| earlier.path != path) {
                all.push(Given { path, value: spell(value), variable });
            }
        }
    }
    all
}

/// The key of the file that a secret may stand in.
fn beside(path: &[String]) -> Vec<String> {
    let mut path = path.to_vec();
    if let Some(last) = path.last_mut() {
        last.push_str("_file");
    }
    path
}

fn is_written(root: &Node, path: &[String]) -> bool {
    path.iter().try_fold(root, |node, name| Some(&node.get(name)?.node)).is_some()
}

fn verbatim(value: &str) -> String {
    value.trim().to_owned()
}

/// Only `true` is true, in whatever case.
fn truth(value: &str) -> String {
    value.trim().eq_ignore_ascii_case("true").to_string()
}

/// Whole milliseconds, without their unit.
fn milliseconds(value: &str) -> String {
    format!("{}ms", value.trim())
}
