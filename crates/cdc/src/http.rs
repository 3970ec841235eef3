//! Probes, metrics and status of one service, over HTTP. Nothing here changes anything.

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cdc_executor::{Health, HeldTopic, TopicLag};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::exit::{Exit, Failed};
use crate::version;

/// What the endpoints of one service tell.
#[derive(Clone)]
pub struct Probes {
    health: watch::Receiver<Health>,
    metrics: PrometheusHandle,
    instance: String,
    started: Instant,
}

impl Probes {
    /// The probes of a service that starts now.
    #[must_use]
    pub fn new(health: watch::Receiver<Health>, metrics: PrometheusHandle, instance: String) -> Self {
        Self { health, metrics, instance, started: Instant::now() }
    }

    /// The routes.
    ///
    /// | path | answers |
    /// |---|---|
    /// | `/health` | 200 while the stream is active or partitions are served, idle included; else, or while a topic is held, 503 and why |
    /// | `/livez` | 200 while the service's loop exists, whatever its dependencies do |
    /// | `/readyz` | 200 once it works, and while it does, for other topics where some are held |
    /// | `/metrics` | the metrics, in Prometheus' text format |
    /// | `/status` | who, what and how long, as JSON |
    pub fn router(self) -> Router {
        Router::new()
            .route("/health", get(health))
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/status", get(status))
            .with_state(self)
    }
}

/// Takes the address, so that a port in use is told before anything else begins.
///
/// # Errors
/// Exit 74 with the address.
pub async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Failed> {
    TcpListener::bind(address).await.map_err(|error| {
        Failed::new(
            Exit::LocalIo,
            format!("{key}: {address} cannot be listened on: {error}; free it or choose another"),
        )
    })
}

/// Serves the probes until `stop` comes to an end. Connections that are open then are served out.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    probes: Probes,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, probes.router()).with_graceful_shutdown(stop).await
}

#[derive(Serialize)]
struct HealthBody {
    service: &'static str,
    state: &'static str,
    healthy: bool,
    reason: String,
}

#[derive(Serialize)]
struct StatusBody {
    service: &'static str,
    state: &'static str,
    healthy: bool,
    ready: bool,
    reason: String,
    instance: String,
    version: &'static str,
    commit: &'static str,
    uptime_seconds: u64,
    /// Rows and deletes that wait for other rows; the Syncer's only.
    #[serde(skip_serializing_if = "Option::is_none")]
    parked_rows: Option<u64>,
    /// Partitions that get no documents, since the topics have grown; the Watcher's only.
    #[serde(skip_serializing_if = "Option::is_none")]
    unused_partitions: Option<u64>,
    /// What the source has under each watched name; the Watcher's only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    collections: BTreeMap<String, &'static str>,
    /// Documents that were there before the stream began, and are not copied, by collection; the Watcher's only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    uncopied_documents: BTreeMap<String, u64>,
    /// Topics that are not read because their table cannot be written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_topics: Vec<HeldBody>,
    /// How far behind each topic is: the Syncer's only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    topics: BTreeMap<String, TopicBody>,
    /// Tables that are written without the fence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unfenced_tables: Vec<String>,
    /// Tables that a crash of the server empties.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unlogged_tables: Vec<String>,
}

/// How far behind a topic is.
#[derive(Serialize)]
struct TopicBody {
    /// The age of the oldest record that is not written.
    lag_seconds: u64,
    /// Records that are not written.
    lag_records: u64,
    /// Rows inserted, updated and deleted of late.
    rows_per_second: u64,
}

#[derive(Serialize)]
struct HeldBody {
    topic: String,
    reason: &'static str,
    detail: String,
}

impl From<HeldTopic> for HeldBody {
    fn from(HeldTopic { topic, reason, detail }: HeldTopic) -> Self {
        Self { topic, reason, detail }
    }
}

fn topic_body(lag: TopicLag) -> (String, TopicBody) {
    let TopicLag { topic, seconds, records, rows_per_second } = lag;
    (topic, TopicBody { lag_seconds: seconds, lag_records: records, rows_per_second })
}

fn health(State(probes): State<Probes>) -> Ready<Response> {
    let it = probes.health.borrow().clone();
    let status = ok_if(it.healthy);
    let body =
        HealthBody { service: it.service, state: it.state.as_str(), healthy: it.healthy, reason: it.reason };
    ready(json(status, &body))
}

/// The loop's end of the channel is gone with the loop; a supervisor then restarts the process.
fn livez(State(probes): State<Probes>) -> Ready<Response> {
    ready(plain(ok_if(probes.health.has_changed().is_ok())))
}

fn readyz(State(probes): State<Probes>) -> Ready<Response> {
    let is_ready = probes.health.borrow().ready;
    ready(plain(ok_if(is_ready)))
}

fn metrics(State(probes): State<Probes>) -> Ready<Response> {
    // The version is part of the format's name.
    let headers = [
        (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    ready((headers, probes.metrics.render()).into_response())
}

fn status(State(probes): State<Probes>) -> Ready<Response> {
    let it = probes.health.borrow().clone();
    let body = StatusBody {
        service: it.service,
        state: it.state.as_str(),
        healthy: it.healthy,
        ready: it.ready,
        reason: it.reason,
        instance: probes.instance,
        version: version::PACKAGE_VERSION,
        commit: version::COMMIT,
        uptime_seconds: probes.started.elapsed().as_secs(),
        parked_rows: it.parked_rows,
        unused_partitions: it.unused_partitions,
        collections: it.watched.into_iter().map(|watched| (watched.name, watched.serves)).collect(),
        uncopied_documents: it.uncopied.into_iter().collect(),
        topics: it.lag.into_iter().map(topic_body).collect(),
        held_topics: it.held.into_iter().map(HeldBody::from).collect(),
        unfenced_tables: it.at_risk.unfenced,
        unlogged_tables: it.at_risk.unlogged,
    };
    ready(json(StatusCode::OK, &body))
}

fn ok_if(well: bool) -> StatusCode {
    if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn plain(status: StatusCode) -> Response {
    let word = if status == StatusCode::OK { "ok\n" } else { "unavailable\n" };
    (status, [(header::CACHE_CONTROL, "no-store")], word).into_response()
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, headers, bytes).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
