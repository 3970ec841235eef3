//! `tracing`, and OpenTelemetry's own variables below it.

use std::time::Duration;

use super::*;

/// The Watcher's configuration with this `tracing`, below these variables.
fn watcher(section: &str, variables: &[(&str, &str)]) -> Result<WatcherConfig, Vec<String>> {
    let (folder, mut sources) = files(&[("watcher.yaml", &format!("{WATCHER}{section}"))]);
    sources.environment = variables.iter().map(|(name, value)| text_pair(name, value)).collect();
    WatcherConfig::load(&sources).map_err(|error| problems(&error, &folder))
}

fn export(section: &str, variables: &[(&str, &str)]) -> Option<TraceExport> {
    watcher(section, variables).unwrap().tracing
}

#[test]
fn without_a_collector_no_spans_are_made() {
    assert!(export("", &[]).is_none());
    assert!(export("tracing: {protocol: http/protobuf, timeout: 3s}", &[]).is_none());
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
    for off in ["true", "TRUE"] {
        assert!(export("", &[collector, ("OTEL_SDK_DISABLED", off)]).is_none());
    }
    assert!(export("", &[collector, ("OTEL_SDK_DISABLED", "1")]).is_some(), "only true is true");
    assert!(export("tracing: {disabled: true}", &[collector]).is_none());
    assert!(export("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).is_none());
}

#[test]
fn the_standard_variables_say_what_the_configuration_leaves_open() {
    let read = export(
        "",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318/tenant/"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc, x-scope=a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_SERVICE_NAME", "orders-watcher"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,team=a%20b"),
        ],
    )
    .unwrap();
    assert_eq!(read.endpoint, "https://collector:4318/tenant/v1/traces");
    assert_eq!((read.protocol, read.timeout), (TraceProtocol::Http, millis(2_500)));
    assert_eq!(read.headers["authorization"], "Bearer abc");
    assert_eq!(read.headers["x-scope"], "a");
    assert!(!format!("{read:?}").contains("abc"), "{read:?}");
    assert_eq!(read.service_name.as_deref(), Some("orders-watcher"));
    let known = [text_pair("deployment.environment.name", "prod"), text_pair("team", "a b")];
    assert_eq!(read.resource_attributes, known);

    let read = export(
        "tracing: {endpoint: 'http://near:4317', protocol: grpc, resource_attributes: {team.name: b}}",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://far:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
        ],
    )
    .unwrap();
    assert_eq!(read.endpoint, "http://near:4317", "over gRPC nothing is put behind it");
    assert_eq!((read.protocol, read.timeout), (TraceProtocol::Grpc, Duration::from_secs(2)));
    assert_eq!(read.resource_attributes, [text_pair("team.name", "b")]);
}

#[test]
fn an_endpoint_of_traces_is_taken_to_the_letter() {
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let read = export(
        "",
        &[
            http,
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:1/x"),
        ],
    );
    assert_eq!(read.unwrap().endpoint, "http://b:1/x");
    for base in ["http://a:4318", "http://a:4318/", "http://a:4318/v1/traces"] {
        let read = export("", &[http, ("OTEL_EXPORTER_OTLP_ENDPOINT", base)]).unwrap();
        assert_eq!(read.endpoint, "http://a:4318/v1/traces", "{base}");
    }
}

#[test]
fn a_file_of_headers_comes_before_the_standard_variable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("headers");
    std::fs::write(&path, "x-key=from-file\n").unwrap();
    let section = format!("tracing: {{endpoint: 'http://a:1', headers_file: {}}}", path.display());
    let read = export(&section, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-key=from-variable")]).unwrap();
    assert_eq!(read.headers["x-key"], "from-file");
}

#[test]
fn both_services_of_a_pipeline_hear_of_a_variable() {
    let indented = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let text = format!(
        "watcher:\n{}syncer:\n{}  tracing: {{endpoint: 'http://own:4317'}}\n",
        indented(WATCHER),
        indented(SYNCER)
    );
    let (_folder, mut sources) = files(&[("pipeline.yaml", &text)]);
    sources.environment = [text_pair("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4317")].into();
    let read = PipelineConfig::load(&sources).unwrap();
    let endpoints = [read.watcher.tracing, read.syncer.tracing].map(|it| it.unwrap().endpoint.to_string());
    assert_eq!(endpoints, ["http://all:4317/", "http://own:4317/"]);
    let printed = print(&sources, false).unwrap();
    assert!(printed.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{printed}");
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    let variable = |name: &str, value: &str| watcher("", &[(name, value)]).unwrap_err();
    assert_eq!(
        variable("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        [
            "environment variable OTEL_EXPORTER_OTLP_ENDPOINT: tracing.endpoint: not the address of a collector; legal: \
          http://host:port or https://host:port, with credentials in tracing.headers"
        ]
    );
    assert_eq!(
        variable("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        [
            "environment variable OTEL_EXPORTER_OTLP_PROTOCOL: tracing.protocol: this value is not available yet; legal: \
          grpc, http/protobuf"
        ]
    );
    assert_eq!(
        variable("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        [
            "environment variable OTEL_EXPORTER_OTLP_COMPRESSION: tracing.compression: this value is not available yet; \
          legal: none"
        ]
    );
    assert_eq!(
        variable("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
        [
            "environment variable OTEL_EXPORTER_OTLP_CLIENT_KEY: tracing.client_key: not available yet; take this key out"
        ]
    );
    assert_eq!(
        variable("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        [
            "environment variable OTEL_EXPORTER_OTLP_TIMEOUT: tracing.timeout: \"soonms\" is not legal; legal: a duration \
          with its unit, such as \"10s\", from 100ms to 1m"
        ]
    );
    let secret = watcher("tracing: {endpoint: 'http://u:secret@a:1', headers: 'secret'}", &[]).unwrap_err();
    assert_eq!(secret.len(), 2);
    assert!(secret.iter().all(|problem| !problem.contains("secret")), "{secret:?}");
    let missing = watcher("tracing: {certificate: /no/such/file}", &[]).unwrap_err();
    assert!(missing[0].contains("tracing.certificate: /no/such/file cannot be read: "), "{missing:?}");
}
