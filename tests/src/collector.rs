//! A collector of spans, as OpenTelemetry's protocol has it over gRPC and over HTTP, with TLS or without: it keeps what it is
//! sent, and may freeze.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode as HttpStatus;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::Failure;
use crate::authority::Certified;

/// Where a client of gRPC sends spans to.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Between two looks at what has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The collector. Dropping it closes the port.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    came: Came,
    frozen: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

type Came = Arc<Mutex<Vec<Seen>>>;

/// A span that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What is known of the process that sent it.
    pub resource: BTreeMap<String, String>,
    /// The span itself.
    pub span: Span,
    /// What is known of it.
    pub attributes: BTreeMap<String, String>,
}

impl Seen {
    /// `cdc-watcher`, `cdc-syncer`
    #[must_use]
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// An attribute's value.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    /// Why it failed, where it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        let status = self.span.status.as_ref()?;
        (status.code == StatusCode::Error as i32).then_some(status.message.as_str())
    }

    /// How long it took.
    #[must_use]
    pub const fn took(&self) -> Duration {
        Duration::from_nanos(self.span.end_time_unix_nano.saturating_sub(self.span.start_time_unix_nano))
    }
}

/// What the service hands over.
#[derive(Clone)]
struct Inbox {
    came: Came,
    frozen: watch::Receiver<bool>,
}

impl Inbox {
    /// Keeps what a request brings, once the collector is not frozen. `None` where it goes meanwhile.
    async fn take(&self, request: ExportTraceServiceRequest) -> Option<ExportTraceServiceResponse> {
        let mut frozen = self.frozen.clone();
        frozen.wait_for(|frozen| !frozen).await.ok()?;
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        for of_process in request.resource_spans {
            let resource = attributes(&of_process.resource.map(|it| it.attributes).unwrap_or_default());
            for span in of_process.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
                came.push(Seen {
                    resource: resource.clone(),
                    attributes: attributes(&span.attributes),
                    span,
                });
            }
        }
        Some(ExportTraceServiceResponse::default())
    }

    async fn take_over_http(self, body: Bytes) -> (HttpStatus, Vec<u8>) {
        let Ok(request) = ExportTraceServiceRequest::decode(body) else {
            return (HttpStatus::BAD_REQUEST, Vec::new());
        };
        match self.take(request).await {
            Some(answer) => (HttpStatus::OK, answer.encode_to_vec()),
            None => (HttpStatus::SERVICE_UNAVAILABLE, Vec::new()),
        }
    }
}

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        // A collector that goes leaves its callers without an answer.
        let answer = self.take(request.into_inner()).await;
        answer.map(Response::new).ok_or_else(|| Status::unavailable("the collector goes"))
    }
}

impl Collector {
    /// Listens at a port of its own.
    ///
    /// # Errors
    /// If there is none.
    pub fn start() -> Result<Self, Failure> {
        Self::serve("http://127.0.0.1", Server::builder())
    }

    /// The same with TLS, by the name of `localhost`.
    ///
    /// # Errors
    /// If there is no port, or TLS does not take the certificate.
    pub fn start_with_tls(own: &Certified) -> Result<Self, Failure> {
        let identity = Identity::from_pem(&own.certificate, &own.key);
        let tls = ServerTlsConfig::new().identity(identity);
        Self::serve("https://localhost", Server::builder().tls_config(tls)?)
    }

    fn serve(address: &str, server: Server) -> Result<Self, Failure> {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
        let endpoint = format!("{address}:{}", incoming.local_addr()?.port());
        let (frozen, is_frozen) = watch::channel(false);
        let came = Came::default();
        let inbox = Inbox { came: Arc::clone(&came), frozen: is_frozen };
        let over_http = inbox.clone();
        let router = Router::new()
            .route_service(GRPC_PATH, TraceServiceServer::new(inbox))
            .route("/v1/traces", post(move |body: Bytes| over_http.clone().take_over_http(body)));
        let serving = tokio::spawn(async move {
            // What it has not taken is missed by the test.
            let _ = server.accept_http1(true).serve_with_incoming(router, incoming).await;
        });
        Ok(Self { endpoint, came, frozen, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// From now on it takes requests and answers none.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// It answers again, what it has taken meanwhile included.
    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// What has come so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until what has come is as wanted, and gives it back.
    ///
    /// # Errors
    /// If it is not so in time, with what did come.
    pub async fn until(
        &self,
        within: Duration,
        wanted: impl Fn(&[Seen]) -> bool,
    ) -> Result<Vec<Seen>, Failure> {
        let begun = Instant::now();
        loop {
            let seen = self.seen();
            if wanted(&seen) {
                return Ok(seen);
            }
            if begun.elapsed() > within {
                let names: BTreeSet<_> =
                    seen.iter().map(|it| (it.service(), it.span.name.as_str())).collect();
                return Err(
                    format!("the spans that were waited for did not come; these did: {names:?}").into()
                );
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    list.iter().map(|it| (it.key.clone(), text(it.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(is_so)) => is_so.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::ArrayValue(list)) => {
            list.values.iter().map(|value| text(Some(value))).collect::<Vec<_>>().join(",")
        }
        // The services send none of these.
        None | Some(Value::KvlistValue(_) | Value::BytesValue(_) | Value::StringValueStrindex(_)) => {
            String::new()
        }
    }
}
