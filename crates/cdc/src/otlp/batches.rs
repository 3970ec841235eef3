use std::future::Future;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Collector;
use super::losses::Losses;
use super::trouble::Trouble;
use crate::config::TraceExport;

/// The most spans of one request.
const SPANS_A_BATCH: usize = 512;

/// How long the first span of a batch waits for others.
const GATHERS_FOR: Duration = Duration::from_secs(1);

/// How often a request is tried again that may be taken later, and how long before the first time; each wait is twice the
/// one before.
const RETRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How often losses are told of.
pub(super) const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The task that sends.
pub(super) struct Batches {
    service: &'static str,
    collector: Collector,
    /// For the log. It holds no credentials.
    endpoint: String,
    resource: ResourceAttributesWithSchema,
    losses: Losses,
    closes: watch::Receiver<Option<Instant>>,
    told: Option<Instant>,
    /// What went wrong last, as long as nothing has gone right since.
    trouble: Option<String>,
}

impl Batches {
    pub(super) fn new(
        service: &'static str,
        (collector, export): (Collector, &TraceExport),
        resource: Resource,
        losses: Losses,
        closes: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let (endpoint, resource) = (export.endpoint.to_string(), (&resource).into());
        Self { service, collector, endpoint, resource, losses, closes, told: None, trouble: None }
    }

    /// Sends until the service has stopped and nothing is left, or there is no more time.
    pub(super) async fn send_all(mut self, mut inbox: mpsc::Receiver<SpanData>) {
        while let Some(batch) = self.gather(&mut inbox).await {
            self.send(batch).await;
            self.tell(TOLD_EVERY);
        }
        self.tell(Duration::ZERO);
    }

    /// The next batch: full, or as old as it may get, or the rest. `None` once there is nothing more.
    async fn gather(&self, inbox: &mut mpsc::Receiver<SpanData>) -> Option<Vec<SpanData>> {
        let mut closes = self.closes.clone();
        let mut batch = Vec::with_capacity(SPANS_A_BATCH);
        let fill = async {
            if inbox.recv_many(&mut batch, SPANS_A_BATCH).await == 0 {
                return;
            }
            let until = Instant::now() + GATHERS_FOR;
            while batch.len() < SPANS_A_BATCH {
                let left = SPANS_A_BATCH - batch.len();
                let more = tokio::time::timeout_at(until, inbox.recv_many(&mut batch, left)).await;
                if more.is_err() || more.is_ok_and(|more| more == 0) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = fill => {}
            _ = closes.wait_for(Option::is_some) => {
                // What is in the queue by now is the rest.
                inbox.close();
                while batch.len() < SPANS_A_BATCH && let Ok(span) = inbox.try_recv() {
                    batch.push(span);
                }
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let request = ExportTraceServiceRequest { resource_spans };
        let mut heard = None;
        let sent = before(closing(self.closes.clone()), self.send_with_retries(request, &mut heard)).await;
        match sent {
            Some(Ok(rejected)) => {
                let rejected = rejected.min(spans);
                self.losses.sent(spans - rejected);
                if rejected > 0 {
                    self.losses.rejected(rejected);
                    self.trouble = Some("the collector rejects them; its log says why".to_owned());
                } else if self.trouble.take().is_some() {
                    tracing::info!(
                        service = self.service,
                        operation = "trace_export",
                        "the collector takes spans again"
                    );
                }
            }
            Some(Err(trouble)) => {
                self.losses.unsent(spans);
                self.trouble = Some(trouble.to_string());
            }
            None => {
                self.losses.unsent(spans);
                let heard = heard.map(|trouble| trouble.to_string()).or_else(|| self.trouble.take());
                let ended = || "the service ended before they were taken".to_owned();
                self.trouble = Some(heard.unwrap_or_else(ended));
            }
        }
    }

    /// `heard`: what the last try came to, for whoever ends this in between.
    async fn send_with_retries(
        &self,
        request: ExportTraceServiceRequest,
        heard: &mut Option<Trouble>,
    ) -> Result<u64, Trouble> {
        let mut wait = FIRST_WAIT;
        for _ in 0..RETRIES {
            match self.collector.send(request.clone()).await {
                Err(trouble) if trouble.kind.is_retryable() => *heard = Some(trouble),
                answer => return answer,
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.collector.send(request).await
    }

    /// Tells what was lost since the last time, unless that was a moment ago.
    pub(super) fn tell(&mut self, every: Duration) {
        if self.told.is_some_and(|told| told.elapsed() < every) {
            return;
        }
        let spans = self.losses.take_untold();
        if spans > 0 {
            self.told = Some(Instant::now());
            tracing::warn!(
                service = self.service,
                operation = "trace_export",
                spans,
                endpoint = self.endpoint,
                error = self.trouble.as_deref().unwrap_or("more spans than it takes in the time"),
                "spans are lost; nothing else is"
            );
        }
    }
}

/// Waits for the moment by which everything is to be over; for ever while nobody has named one.
async fn closing(mut closes: watch::Receiver<Option<Instant>>) {
    let by = closes.wait_for(Option::is_some).await.ok().and_then(|by| *by);
    match by {
        Some(by) => tokio::time::sleep_until(by).await,
        None => std::future::pending().await,
    }
}

/// What comes of `work`, if it does before the end.
async fn before<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = end => None,
    }
}
