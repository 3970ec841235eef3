//! Sampled events in the Syncer, from the record's time stamp to the commit, and the batch that wrote them:
//!
//! ```text
//! process TOPIC  (CONSUMER, below the Watcher's `send`)          process TOPIC  (CONSUMER, a trace of its own)
//! ├─ fetch                                            ◀─ links ─ └─ write TABLE  (CLIENT)
//! ├─ queue                                                ─────▶
//! ├─ prepare
//! └─ write
//! ```

use std::time::SystemTime;

use cdc_event::TraceContext;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status};

use crate::context::span_context;
use crate::traces::{Span, Traces};

/// Sampled events of one batch that have spans of their own and links. OpenTelemetry keeps at most so many links.
pub const EVENTS_PER_BATCH_MAX: usize = 128;

/// When a batch was where.
#[derive(Clone, Copy, Debug)]
pub struct BatchTimes {
    /// A worker got it.
    pub handed: SystemTime,
    /// Its transaction began; `None` where there was nothing to write, or it did not come so far.
    pub begun: Option<SystemTime>,
    /// Its commit was verified, or it failed.
    pub ended: SystemTime,
}

/// A batch that holds sampled events.
#[derive(Clone, Debug)]
pub struct WrittenBatch<'a> {
    /// Its topic; `None` where there are several.
    pub topic: Option<&'a str>,
    /// The tables that it went to.
    pub tables: &'a [String],
    /// Its records.
    pub records: usize,
    /// Which worker wrote it.
    pub worker: u32,
    /// When it was where.
    pub times: BatchTimes,
    /// Why nothing of it was written: the fault, and PostgreSQL's code.
    pub failure: Option<(&'static str, Option<&'a str>)>,
}

/// A sampled event of a batch.
#[derive(Clone, Debug)]
pub struct WrittenEvent<'a> {
    /// What its message's `traceparent` says.
    pub context: TraceContext,
    /// Where it was read.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's time stamp.
    pub sent: SystemTime,
    /// When the client gave it out.
    pub fetched: SystemTime,
    /// What became of it: one of few words.
    pub outcome: &'static str,
    /// It was in the dead letters before.
    pub is_replayed: bool,
}

impl Traces {
    /// A batch with sampled events was answered. Of one that was not written it is known that it was tried.
    pub fn wrote<'a>(&self, batch: &WrittenBatch<'_>, events: impl Iterator<Item = WrittenEvent<'a>>) {
        if !self.are_on() {
            return;
        }
        let context = self.new_root();
        let mut links = Vec::new();
        let mut left_out = 0;
        for event in events.filter(|event| event.context.is_recorded()) {
            if links.len() >= EVENTS_PER_BATCH_MAX {
                left_out += 1;
                continue;
            }
            let sender = span_context(&event.context, None, true);
            let linked = match batch.failure {
                None => self.wrote_event(&event, &sender, (&context, batch.times)),
                // It is tried again; its own span is that of the batch that succeeds.
                Some(_) => sender,
            };
            links.push(Link::with_context(linked));
        }
        if !links.is_empty() {
            self.wrote_batch(batch, context, links, left_out);
        }
    }

    /// A sampled record was put into the dead letters.
    pub fn put_aside(
        &self,
        context: &TraceContext,
        (topic, partition, offset): (&str, i32, i64),
        reason: &'static str,
        (start, end): (SystemTime, SystemTime),
    ) {
        if !self.are_on() || !context.is_recorded() {
            return;
        }
        let sender = span_context(context, None, true);
        let own = self.new_child(&sender);
        let mut span = Span::new(own, Some(sender), "dead_letter", (start, end));
        span.kind = SpanKind::Producer;
        span.attributes = place(topic, partition, offset);
        span.attributes.push(KeyValue::new("messaging.operation.type", "send"));
        span.attributes.push(KeyValue::new("cdc.reason", reason));
        self.finish(span);
    }

    /// The event's own spans; returns what the batch links to.
    fn wrote_event(
        &self,
        event: &WrittenEvent<'_>,
        sender: &SpanContext,
        (batch, times): (&SpanContext, BatchTimes),
    ) -> SpanContext {
        let own = self.new_child(sender);
        let begun = times.begun.unwrap_or(times.ended);
        let parts = [
            ("fetch", event.sent, event.fetched),
            ("queue", event.fetched, times.handed),
            ("prepare", times.handed, begun),
            ("write", begun, times.ended),
        ];
        for (name, start, end) in parts {
            self.finish(Span::new(self.new_child(&own), Some(own.clone()), name, (start, end)));
        }
        let name = format!("process {}", event.topic);
        let mut span = Span::new(own.clone(), Some(sender.clone()), name, (event.sent, times.ended));
        span.kind = SpanKind::Consumer;
        span.attributes = place(event.topic, event.partition, event.offset);
        span.attributes.push(KeyValue::new("messaging.operation.type", "process"));
        span.attributes.push(KeyValue::new("messaging.operation.name", "process"));
        span.attributes.push(KeyValue::new("cdc.outcome", event.outcome));
        if event.is_replayed {
            span.attributes.push(KeyValue::new("cdc.replayed", true));
        }
        span.links = vec![Link::with_context(batch.clone())];
        self.finish(span);
        own
    }

    fn wrote_batch(&self, batch: &WrittenBatch<'_>, own: SpanContext, links: Vec<Link>, left_out: i64) {
        let WrittenBatch { topic, tables, records, worker, times, failure } = batch;
        let records = i64::try_from(*records).unwrap_or(i64::MAX);
        if let Some(begun) = times.begun {
            self.finish(self.statement(tables, records, &own, (begun, times.ended)));
        }
        let name = topic.map_or_else(|| "process".to_owned(), |topic| format!("process {topic}"));
        let mut span = Span::new(own, None, name, (times.handed, times.ended));
        span.kind = SpanKind::Consumer;
        span.attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.batch.message_count", records),
            KeyValue::new("cdc.worker", i64::from(*worker)),
        ];
        if let Some(topic) = topic {
            span.attributes.push(KeyValue::new("messaging.destination.name", (*topic).to_owned()));
        }
        if left_out > 0 {
            span.attributes.push(KeyValue::new("cdc.sampled_events_left_out", left_out));
        }
        if let Some((fault, code)) = failure {
            span.attributes.push(KeyValue::new("error.type", *fault));
            if let Some(code) = code {
                span.attributes.push(KeyValue::new("db.response.status_code", (*code).to_owned()));
            }
            span.status = Status::error(*fault);
        }
        span.links = links;
        self.finish(span);
    }

    fn statement(
        &self,
        tables: &[String],
        records: i64,
        parent: &SpanContext,
        times: (SystemTime, SystemTime),
    ) -> Span {
        let name = match tables {
            [table] => format!("write {table}"),
            _ => "write".to_owned(),
        };
        let mut span = Span::new(self.new_child(parent), Some(parent.clone()), name, times);
        span.kind = SpanKind::Client;
        span.attributes = vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.operation.name", "write"),
            KeyValue::new("db.operation.batch.size", records),
        ];
        if let [table] = tables {
            span.attributes.push(KeyValue::new("db.collection.name", table.clone()));
        }
        span
    }
}

fn place(topic: &str, partition: i32, offset: i64) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", topic.to_owned()),
        KeyValue::new("messaging.destination.partition.id", partition.to_string()),
        KeyValue::new("messaging.kafka.offset", offset),
    ]
}
