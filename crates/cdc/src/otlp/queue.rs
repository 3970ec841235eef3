use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

use super::losses::Losses;

/// Spans that may wait for their turn: a megabyte or two.
pub(super) const SPANS_MAX: usize = 2_048;

/// Where a service leaves its spans. It never waits.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    losses: Losses,
}

impl Queue {
    pub(super) const fn new(spans: mpsc::Sender<SpanData>, losses: Losses) -> Self {
        Self { spans, losses }
    }
}

impl SpanProcessor for Queue {
    /// Spans come when they are over.
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.losses.no_place(1);
        }
    }

    /// [`Export::close`](super::Export::close) sends what is left.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
