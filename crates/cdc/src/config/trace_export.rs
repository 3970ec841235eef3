//! Where the spans go: `tracing`.

use std::time::Duration;

use cdc_machine::{Key, Visitor as _, options, words};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};

use super::described::Preset;
use super::section::Section;

words! {
    /// How spans are sent.
    pub enum TraceProtocol, later ["http/json"] {
        /// OTLP over gRPC; port 4317 where nobody changed it.
        Grpc: "grpc",
        /// OTLP over HTTP, in protobuf; port 4318.
        Http: "http/protobuf",
    }
}

words! {
    /// How what is sent is compressed.
    pub enum TraceCompression, later ["gzip", "zstd"] {
        /// Not at all.
        None: "none",
    }
}

options! {
    /// `tracing`. What is not written here OpenTelemetry's own variables may say, such as OTEL_EXPORTER_OTLP_ENDPOINT.
    #[derive(Debug)]
    pub(super) struct TraceOptions for pub(super) Section<'_> {
        /// Whether no spans are made, whatever else is written. See docs/tracing.md.
        disabled: bool = false => switch("tracing.disabled"),
        /// The collector that spans are sent to, such as `http://collector:4317`; over HTTP `/v1/traces` is put behind it.
        /// None: no spans are made. OTEL_EXPORTER_OTLP_ENDPOINT.
        endpoint: Option<String> = None => text("tracing.endpoint", Preset::Nothing),
        /// The same to the letter, with the whole path. It comes before `tracing.endpoint`.
        /// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.
        traces_endpoint: Option<String> = None => text("tracing.traces_endpoint", Preset::Nothing),
        /// How spans are sent. OTEL_EXPORTER_OTLP_PROTOCOL.
        protocol: TraceProtocol = TraceProtocol::Grpc => word("tracing.protocol"),
        /// What goes with each request, `name=value,name=value`, values percent-encoded where need be. It may hold
        /// credentials. OTEL_EXPORTER_OTLP_HEADERS.
        headers: Option<SecretString> = None => secret("tracing.headers"),
        /// A file of certificates to trust in the system's place, in PEM. OTEL_EXPORTER_OTLP_CERTIFICATE.
        certificate: Option<String> = None => text("tracing.certificate", Preset::Nothing),
        /// How what is sent is compressed. OTEL_EXPORTER_OTLP_COMPRESSION.
        compression: TraceCompression = TraceCompression::None => word("tracing.compression"),
        /// How long the collector may take for one request. OTEL_EXPORTER_OTLP_TIMEOUT, in milliseconds.
        timeout: Duration = Duration::from_secs(10)
            => duration("tracing.timeout", Duration::from_millis(100)..=Duration::from_secs(60)),
        /// The name of the service in the traces. OTEL_SERVICE_NAME.
        service_name: Option<String> = None
            => text("tracing.service_name", Preset::Said("`cdc-watcher` or `cdc-syncer`")),
        /// What else is known of the process, such as `deployment.environment.name: production`; values percent-encoded
        /// where need be. OTEL_RESOURCE_ATTRIBUTES.
        resource_attributes: Vec<(String, String)> = Vec::new()
            => free_pairs_into("tracing.resource_attributes", Preset::Nothing),
    }
}

/// Where the spans of a service go.
#[derive(Clone, Debug)]
pub struct TraceExport {
    /// The collector.
    pub endpoint: Uri,
    /// How they are sent.
    pub protocol: TraceProtocol,
    /// What goes with each request. Values are marked as sensitive, and do not print.
    pub headers: HeaderMap,
    /// The certificates that are trusted in the system's place, in PEM.
    pub certificates: Option<Vec<u8>>,
    /// How long one request may take.
    pub timeout: Duration,
    /// The name of the service, where it is given.
    pub service_name: Option<String>,
    /// What else is known of the process.
    pub resource_attributes: Vec<(String, String)>,
}

/// The path of spans below a collector's address.
const TRACES_PATH: &str = "/v1/traces";

impl TraceOptions {
    /// Keys that stand for what does not exist yet, and OpenTelemetry's variables with them.
    pub(super) fn refuse_missing(service: &mut Section<'_>) {
        service.not_available(&["tracing.client_certificate", "tracing.client_key", "tracing.insecure"]);
    }

    /// Where the spans go; `None` where they are not wanted, or where something is wrong, which is told.
    pub(super) fn export(self, service: &Section<'_>) -> Option<TraceExport> {
        let endpoint = self.collector(service);
        let headers = self.headers(service);
        let certificates = self.certificates(service);
        let decoded = |(name, value): (String, String)| {
            let value = percent_decode_str(&value).decode_utf8_lossy().into_owned();
            (name, value)
        };
        let read = TraceExport {
            endpoint: endpoint?,
            protocol: self.protocol,
            headers,
            certificates,
            timeout: self.timeout,
            service_name: self.service_name,
            resource_attributes: self.resource_attributes.into_iter().map(decoded).collect(),
        };
        (!self.disabled).then_some(read)
    }

    fn collector(&self, service: &Section<'_>) -> Option<Uri> {
        let (key, text) = match (&self.traces_endpoint, &self.endpoint, self.protocol) {
            (Some(exact), _, _) => ("tracing.traces_endpoint", exact.clone()),
            (None, Some(base), TraceProtocol::Grpc) => ("tracing.endpoint", base.clone()),
            (None, Some(base), TraceProtocol::Http) => {
                let base = base.trim_end_matches('/');
                ("tracing.endpoint", format!("{}{TRACES_PATH}", base.trim_end_matches(TRACES_PATH)))
            }
            (None, None, _) => return None,
        };
        let uri: Option<Uri> = text.parse().ok();
        let is_whole = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        let uri =
            uri.filter(is_whole).filter(|uri| uri.authority().is_some_and(|it| !it.as_str().contains('@')));
        if uri.is_none() {
            let text = "not the address of a collector; legal: http://host:port or https://host:port, with \
                        credentials in tracing.headers";
            service.contradiction(&[key], text);
        }
        uri
    }

    fn headers(&self, service: &Section<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(text) = &self.headers else { return headers };
        for pair in text.expose_secret().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = header(pair) else {
                let text = "legal: name=value,name=value, with names of HTTP headers and values percent-encoded where \
                            need be";
                service.contradiction(&["tracing.headers", "tracing.headers_file"], text);
                break;
            };
            headers.append(name, value);
        }
        headers
    }

    fn certificates(&self, service: &Section<'_>) -> Option<Vec<u8>> {
        let path = self.certificate.as_ref()?;
        match std::fs::read(path) {
            Ok(pem) => Some(pem),
            Err(error) => {
                service.contradiction(&["tracing.certificate"], &format!("{path} cannot be read: {error}"));
                None
            }
        }
    }
}

fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

impl Section<'_> {
    fn free_pairs_into(&mut self, key: Key, value: &mut Vec<(String, String)>, preset: Preset) {
        *value = self.free_pairs(key, preset);
    }
}
