use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks, SpanProcessor,
};

/// The name of what makes the spans.
const SCOPE: &str = "cdc";

/// Where a service's spans go. A handle: clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<On>>);

#[derive(Debug)]
struct On {
    processor: Box<dyn SpanProcessor>,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
    current: Mutex<Option<Current>>,
}

/// The span that is under way, and the one that stands for it while it is so short that it may never leave.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) span: SpanContext,
    pub(crate) whole: SpanContext,
    /// From when on `span` is one that leaves.
    pub(crate) lasts_from: SystemTime,
}

/// A finished span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its identifiers.
    pub context: SpanContext,
    /// The span that it is a part of.
    pub parent: Option<SpanContext>,
    /// Its name: one of few.
    pub name: Cow<'static, str>,
    /// Which side of a message or a call it is.
    pub kind: SpanKind,
    /// When it began.
    pub start: SystemTime,
    /// When it ended. No earlier than its start: clocks are set back.
    pub end: SystemTime,
    /// What else is known of it.
    pub attributes: Vec<KeyValue>,
    /// Moments in it.
    pub events: Vec<Event>,
    /// Spans of other traces that it goes on from or gathers.
    pub links: Vec<Link>,
    /// Whether it failed.
    pub status: Status,
}

impl Span {
    /// A span without attributes, inside the service.
    #[must_use]
    pub fn new(
        context: SpanContext,
        parent: Option<SpanContext>,
        name: impl Into<Cow<'static, str>>,
        (start, end): (SystemTime, SystemTime),
    ) -> Self {
        Self {
            context,
            parent,
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            end: end.max(start),
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
        }
    }
}

impl Traces {
    /// Nothing is exported: nothing is made either.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Finished spans go to this processor.
    #[must_use]
    pub fn to(processor: impl SpanProcessor + 'static) -> Self {
        Self(Some(Arc::new(On {
            processor: Box::new(processor),
            ids: RandomIdGenerator::default(),
            scope: InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).build(),
            current: Mutex::new(None),
        })))
    }

    /// True where spans leave.
    #[must_use]
    pub const fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// The identifiers of a span that begins a trace of its own. Invalid where nothing is exported.
    #[must_use]
    pub fn new_root(&self) -> SpanContext {
        match &self.0 {
            Some(on) => context(on.ids.new_trace_id(), on.ids.new_span_id()),
            None => SpanContext::NONE,
        }
    }

    /// The identifiers of a span that is part of another one's trace. Invalid where nothing is exported.
    #[must_use]
    pub fn new_child(&self, parent: &SpanContext) -> SpanContext {
        match &self.0 {
            Some(on) => SpanContext::new(
                parent.trace_id(),
                on.ids.new_span_id(),
                parent.trace_flags(),
                false,
                parent.trace_state().clone(),
            ),
            None => SpanContext::NONE,
        }
    }

    /// A span is over.
    pub fn finish(&self, span: Span) {
        let Some(on) = &self.0 else { return };
        let Span { context, parent, name, kind, start, end, attributes, events, links, status } = span;
        on.processor.on_end(SpanData {
            parent_span_id: parent.as_ref().map_or(SpanId::INVALID, SpanContext::span_id),
            parent_span_is_remote: parent.is_some_and(|parent| parent.is_remote()),
            span_context: context,
            span_kind: kind,
            name,
            start_time: start,
            end_time: end,
            attributes,
            dropped_attributes_count: 0,
            events: all_events(events),
            links: all_links(links),
            status,
            instrumentation_scope: on.scope.clone(),
        });
    }

    /// The span of the state that the service is in, for lines of the log that are written now. While the state is so
    /// young that it may never have a span of its own it is the span around it.
    #[must_use]
    pub fn current(&self, now: SystemTime) -> Option<SpanContext> {
        let current = self.0.as_ref()?.current.lock().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref()?;
        Some(if now >= current.lasts_from { current.span.clone() } else { current.whole.clone() })
    }

    pub(crate) fn set_current(&self, current: Option<Current>) {
        if let Some(on) = &self.0 {
            *on.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
        }
    }
}

fn context(trace: TraceId, span: SpanId) -> SpanContext {
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

fn all_events(events: Vec<Event>) -> SpanEvents {
    let mut all = SpanEvents::default();
    all.events = events;
    all
}

fn all_links(links: Vec<Link>) -> SpanLinks {
    let mut all = SpanLinks::default();
    all.links = links;
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_export_there_are_no_identifiers_and_no_current_span() {
        let traces = Traces::off();
        assert!(!traces.are_on() && !traces.new_root().is_valid());
        assert!(!traces.new_child(&SpanContext::NONE).is_valid());
        assert_eq!(traces.current(SystemTime::UNIX_EPOCH), None);
    }
}
