mod losses;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{MethodRouter, post};
use cdc_traces::Span;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::losses::TRACE_SPANS;
use super::*;

/// What came: requests, each with its headers.
type Came = Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>;

/// A collector that takes all but this many spans of each request.
struct Taking {
    came: Came,
    rejects: i64,
}

fn answer(rejects: i64) -> ExportTraceServiceResponse {
    let partial = ExportTracePartialSuccess { rejected_spans: rejects, error_message: String::new() };
    ExportTraceServiceResponse { partial_success: (rejects > 0).then_some(partial) }
}

#[tonic::async_trait]
impl TraceService for Taking {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        self.came.lock().unwrap().push((headers, request.into_inner()));
        Ok(Response::new(answer(self.rejects)))
    }
}

fn grpc(rejects: i64) -> (SocketAddr, Came) {
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let (address, came) = (incoming.local_addr().unwrap(), Came::default());
    let service = TraceServiceServer::new(Taking { came: Arc::clone(&came), rejects });
    tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
    (address, came)
}

/// Takes requests over HTTP, and answers so.
fn over_http(came: Came, status: StatusCode) -> MethodRouter {
    post(async move |headers: HeaderMap, body: Bytes| {
        came.lock().unwrap().push((headers, ExportTraceServiceRequest::decode(body).unwrap()));
        (status, answer(0).encode_to_vec())
    })
}

async fn http(status: StatusCode) -> (SocketAddr, Came) {
    let came = Came::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/v1/traces", over_http(Arc::clone(&came), status));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, came)
}

fn wanted(address: &str, protocol: TraceProtocol) -> TraceExport {
    let mut headers = HeaderMap::new();
    headers.insert("x-key", "secret".parse().unwrap());
    TraceExport {
        endpoint: address.parse().unwrap(),
        protocol,
        headers,
        certificates: None,
        timeout: Duration::from_secs(10),
        service_name: None,
        resource_attributes: vec![("team".to_owned(), "a".to_owned())],
    }
}

/// An export under a recorder of its own.
fn begin(wanted: &TraceExport) -> (Traces, Export, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let topics = ["cdc.a.b".to_owned()];
    let service = Service { name: "watcher", instance: "w1", topics: &topics };
    let begun = ::metrics::with_local_recorder(&recorder, || export(Some(wanted), &service));
    let (traces, export) = begun.unwrap();
    (traces, export, recorder.handle())
}

fn finish(traces: &Traces, spans: usize) {
    for _ in 0..spans {
        let now = SystemTime::now();
        traces.finish(Span::new(traces.new_root(), None, "Streaming", (now, now)));
    }
}

fn counted(handle: &PrometheusHandle, outcome: &str) -> u64 {
    let text = handle.render();
    let line = format!("{TRACE_SPANS}{{service=\"watcher\",outcome=\"{outcome}\"}} ");
    text.lines().find_map(|it| it.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

fn spans(came: &Came) -> usize {
    let came = came.lock().unwrap();
    let scopes = came.iter().flat_map(|(_, request)| &request.resource_spans).flat_map(|it| &it.scope_spans);
    scopes.map(|it| it.spans.len()).sum()
}

#[tokio::test]
async fn what_is_left_at_the_end_is_sent_over_grpc_with_headers_and_resource() {
    let (address, came) = grpc(0);
    let (traces, export, handle) = begin(&wanted(&format!("http://{address}"), TraceProtocol::Grpc));
    finish(&traces, 700);
    export.close(Duration::from_secs(30)).await;
    assert_eq!((spans(&came), counted(&handle, "sent")), (700, 700));
    let came = came.lock().unwrap();
    assert!(came.len() >= 2, "a request has its bound");
    let (headers, request) = &came[0];
    assert_eq!(headers["x-key"], "secret");
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let keys: Vec<&str> = resource.attributes.iter().map(|it| it.key.as_str()).collect();
    for key in ["service.name", "service.instance.id", "service.version", "cdc.topics", "team"] {
        assert!(keys.contains(&key), "{keys:?}");
    }
}

#[tokio::test]
async fn spans_are_sent_over_http_while_the_service_runs() {
    let (address, came) = http(StatusCode::OK).await;
    let endpoint = format!("http://{address}/v1/traces");
    let (traces, export, handle) = begin(&wanted(&endpoint, TraceProtocol::Http));
    finish(&traces, 3);
    while spans(&came) < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    export.close(Duration::from_secs(30)).await;
    assert_eq!(counted(&handle, "sent"), 3);
    let came = came.lock().unwrap();
    assert_eq!(came[0].0["content-type"], "application/x-protobuf");
    assert_eq!(came[0].0["x-key"], "secret");
}

#[tokio::test]
async fn what_a_collector_refuses_or_rejects_is_counted_and_not_sent_again() {
    let (address, came) = http(StatusCode::UNAUTHORIZED).await;
    let endpoint = format!("http://{address}/v1/traces");
    let (traces, export, handle) = begin(&wanted(&endpoint, TraceProtocol::Http));
    finish(&traces, 5);
    export.close(Duration::from_secs(30)).await;
    assert_eq!((spans(&came), counted(&handle, "unsent"), counted(&handle, "sent")), (5, 5, 0));

    let (address, came) = grpc(2);
    let (traces, export, handle) = begin(&wanted(&format!("http://{address}"), TraceProtocol::Grpc));
    finish(&traces, 5);
    export.close(Duration::from_secs(30)).await;
    assert_eq!((spans(&came), counted(&handle, "rejected"), counted(&handle, "sent")), (5, 2, 3));
}

/// Whoever finishes spans never waits, and the end comes in its time.
#[tokio::test]
async fn of_a_collector_that_is_frozen_or_away_only_spans_suffer() {
    let frozen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let away = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    for address in [frozen.local_addr().unwrap(), away] {
        for protocol in [TraceProtocol::Grpc, TraceProtocol::Http] {
            let (traces, export, handle) = begin(&wanted(&format!("http://{address}"), protocol));
            finish(&traces, queue::SPANS_MAX + 40);
            assert_eq!(counted(&handle, "queue_full"), 40, "nothing was taken out meanwhile");
            export.close(Duration::from_millis(50)).await;
            assert_eq!(counted(&handle, "unsent"), queue::SPANS_MAX as u64);
        }
    }
}

#[tokio::test]
async fn certificates_that_are_none_are_told_of_at_the_start() {
    for protocol in [TraceProtocol::Grpc, TraceProtocol::Http] {
        let certificates = Some(b"no certificate".to_vec());
        let wanted = TraceExport { certificates, ..wanted("https://localhost:1", protocol) };
        let service = Service { name: "watcher", instance: "w1", topics: &[] };
        let text = export(Some(&wanted), &service).err().unwrap();
        assert!(text.starts_with("tracing.certificate holds no certificate"), "{text}");
    }
}
