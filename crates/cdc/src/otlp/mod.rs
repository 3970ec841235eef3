//! Finished spans on their way to a collector, by OpenTelemetry's protocol (OTLP).
//!
//! A service hands its spans to a bounded queue; one task takes them out in batches and sends them. Whatever becomes of
//! the collector, the service does not wait for it: what finds no place, and what is not taken in time, is lost, counted,
//! and told of once a minute.
//!
//! The protocol's messages and its gRPC client are OpenTelemetry's own (`opentelemetry-proto`). Its exporter is not used: it
//! hides which answer it got and which spans were rejected, and it reads the environment past the configuration.

mod batches;
mod grpc;
mod http;
mod losses;
mod queue;
mod resource;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;

use std::time::Duration;

use cdc_traces::Traces;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::batches::Batches;
use self::grpc::Grpc;
use self::http::Http;
use self::losses::Losses;
use self::queue::Queue;
pub use self::resource::Service;
use self::trouble::Trouble;
use crate::config::{TraceExport, TraceProtocol};

/// How long what is left may take to leave once the service has stopped.
pub const FLUSHES_WITHIN: Duration = Duration::from_secs(2);

/// The same after a second signal, which is to end the process within a second.
pub const FLUSHES_WITHIN_ABORTED: Duration = Duration::from_millis(300);

/// A client of a collector.
enum Collector {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
}

impl Collector {
    /// Must be called in the runtime: the gRPC channel has a task of its own.
    fn new(export: &TraceExport) -> Result<Self, String> {
        match export.protocol {
            TraceProtocol::Grpc => Grpc::new(export).map(Box::new).map(Self::Grpc),
            TraceProtocol::Http => Http::new(export).map(Box::new).map(Self::Http),
        }
    }

    /// Sends one request and says how many of its spans were rejected.
    async fn send(&self, request: ExportTraceServiceRequest) -> Result<u64, Trouble> {
        match self {
            Self::Grpc(grpc) => grpc.send(request).await,
            Self::Http(http) => http.send(&request).await,
        }
    }
}

/// The export of one service's spans.
pub struct Export(Option<Running>);

struct Running {
    close_by: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

/// Begins to export a service's spans; where they are not wanted nothing begins, and none are made.
///
/// # Errors
/// In words, when the collector cannot be spoken to as the configuration says.
pub fn export(wanted: Option<&TraceExport>, service: &Service<'_>) -> Result<(Traces, Export), String> {
    let Some(wanted) = wanted else { return Ok((Traces::off(), Export(None))) };
    let collector = Collector::new(wanted)?;
    let losses = Losses::new(service.name);
    let (spans, inbox) = mpsc::channel(queue::SPANS_MAX);
    let (close_by, closes) = watch::channel(None);
    let resource = resource::of(wanted, service);
    let batches = Batches::new(service.name, (collector, wanted), resource, losses.clone(), closes);
    let task = tokio::spawn(batches.send_all(inbox));
    Ok((Traces::to(Queue::new(spans, losses)), Export(Some(Running { close_by, task }))))
}

impl Export {
    /// Sends what is left, for no longer than this. The service makes no more spans.
    pub async fn close(self, within: Duration) {
        let Some(Running { close_by, task }) = self.0 else { return };
        let _ = close_by.send(Some(Instant::now() + within));
        // The task keeps to the time itself; one that panicked has nothing left to send.
        let _ = task.await;
    }
}

/// The spans of a request that the collector took, and did not take.
fn rejected(answer: &ExportTraceServiceResponse) -> u64 {
    let rejected = answer.partial_success.as_ref().map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}
