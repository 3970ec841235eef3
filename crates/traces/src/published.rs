//! A sampled event in the Watcher, from the commit at its source to Kafka's acknowledgement:
//!
//! ```text
//! change                        committed ──────────────────────────▶ acknowledged
//! ├─ read                       committed ─▶ its reply has arrived
//! ├─ encode                                  ─▶ its message is there
//! ├─ hand_over                                  ─▶ the Kafka client has it
//! └─ send TOPIC  (PRODUCER)                        ─▶ acknowledged
//! ```
//!
//! The message's `traceparent` names the last one, so the Syncer's part hangs below it.

use std::sync::Arc;
use std::time::SystemTime;

use cdc_event::{EventTrace, Position};
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanContext, SpanKind, Status};

use crate::context::span_context;
use crate::traces::{Span, Traces};

/// A sampled event that the Kafka client has, or had.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its trace and its times.
    pub trace: Box<EventTrace>,
    /// Where its message goes.
    pub topic: Arc<str>,
    /// Its place in the source's history.
    pub position: Position,
    /// When the client took it.
    pub handed_over: SystemTime,
    /// A later event was handed over before: the history is read anew.
    pub is_read_again: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub enum Publication {
    /// It stands in this partition at this offset.
    Acknowledged {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// It was not delivered, and is read again; the fault that tells why.
    Failed(&'static str),
    /// It is too large; a marker takes its place in the dead letters.
    TooLarge,
}

impl Traces {
    /// A sampled event has come as far as the Watcher sees.
    pub fn published(&self, event: &Published, became: Publication, at: SystemTime) {
        let EventTrace { context, parent, state, committed, read, encoded, .. } = &*event.trace;
        if !self.are_on() || !context.is_recorded() {
            return;
        }
        let send = span_context(context, state.as_deref(), false);
        let change = self.new_child(&send);
        let theirs = parent.as_ref().map(|parent| span_context(parent, state.as_deref(), true));
        let parts = [
            ("read", *committed, *read),
            ("encode", *read, *encoded),
            ("hand_over", *encoded, event.handed_over),
        ];
        for (name, start, end) in parts {
            self.finish(Span::new(self.new_child(&change), Some(change.clone()), name, (start, end)));
        }
        self.finish(event.send_span((send, change.clone()), became, at));
        let mut whole = Span::new(change, theirs, "change", (*committed, at));
        whole.attributes = event.of_the_change();
        if let Some(error) = became.error() {
            whole.status = Status::error(error);
        }
        self.finish(whole);
    }
}

impl Published {
    fn of_the_change(&self) -> Vec<KeyValue> {
        let EventTrace { database, collection, operation, .. } = &*self.trace;
        let mut attributes = vec![
            KeyValue::new("db.system.name", "mongodb"),
            KeyValue::new("db.namespace", database.to_string()),
            KeyValue::new("db.collection.name", collection.to_string()),
            KeyValue::new("db.operation.name", *operation),
            KeyValue::new("cdc.position", self.position.to_string()),
        ];
        if self.is_read_again {
            attributes.push(KeyValue::new("cdc.read_again", true));
        }
        attributes
    }

    fn send_span(
        &self,
        (context, parent): (SpanContext, SpanContext),
        became: Publication,
        at: SystemTime,
    ) -> Span {
        let name = format!("send {}", self.topic);
        let mut span = Span::new(context, Some(parent), name, (self.handed_over, at));
        span.kind = SpanKind::Producer;
        span.attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.operation.name", "send"),
            KeyValue::new("messaging.destination.name", self.topic.to_string()),
        ];
        if let Publication::Acknowledged { partition, offset } = became {
            span.attributes.push(KeyValue::new("messaging.destination.partition.id", partition.to_string()));
            span.attributes.push(KeyValue::new("messaging.kafka.offset", offset));
        }
        if let Some(error) = became.error() {
            span.attributes.push(KeyValue::new("error.type", error));
            span.status = Status::error(error);
        }
        span
    }
}

impl Publication {
    const fn error(self) -> Option<&'static str> {
        match self {
            Self::Acknowledged { .. } => None,
            Self::Failed(fault) => Some(fault),
            Self::TooLarge => Some("too_large"),
        }
    }
}
