//! The trace context of a message as OpenTelemetry's.

use cdc_event::TraceContext;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The same ids. A state that OpenTelemetry does not read is left out.
pub(crate) fn span_context(context: &TraceContext, state: Option<&str>, is_remote: bool) -> SpanContext {
    let flags = if context.is_recorded() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(
        TraceId::from_bytes(context.trace_id()),
        SpanId::from_bytes(context.span_id()),
        flags,
        is_remote,
        state.and_then(|state| state.parse().ok()).unwrap_or(TraceState::NONE),
    )
}
