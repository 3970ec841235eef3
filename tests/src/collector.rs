//! A collector of spans, as OpenTelemetry's protocol has it over gRPC: it keeps what it is sent, and may freeze.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::Failure;

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
struct Inbox {
    came: Came,
    frozen: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut frozen = self.frozen.clone();
        // A collector that goes leaves its callers without an answer.
        frozen.wait_for(|frozen| !frozen).await.map_err(|gone| Status::unavailable(gone.to_string()))?;
        let mut came = self.came.lock().unwrap_or_else(PoisonError::into_inner);
        for of_process in request.into_inner().resource_spans {
            let resource = attributes(&of_process.resource.map(|it| it.attributes).unwrap_or_default());
            for span in of_process.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
                came.push(Seen {
                    resource: resource.clone(),
                    attributes: attributes(&span.attributes),
                    span,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens at a port of its own.
    ///
    /// # Errors
    /// If there is none.
    pub fn start() -> Result<Self, Failure> {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into())?;
        let endpoint = format!("http://{}", incoming.local_addr()?);
        let (frozen, is_frozen) = watch::channel(false);
        let came = Came::default();
        let inbox = Inbox { came: Arc::clone(&came), frozen: is_frozen };
        let serving = tokio::spawn(async move {
            // What it has not taken is missed by the test.
            let _ = Server::builder().serve_with_incoming(TraceServiceServer::new(inbox), incoming).await;
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
