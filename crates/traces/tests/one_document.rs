//! One document's trace, from the change stream to the commit: names, kinds, relations and attributes of its spans.
#![allow(clippy::unwrap_used)]

mod left;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cdc_event::{EventTrace, Position, TraceContext};
use cdc_traces::{
    BatchTimes, EVENTS_PER_BATCH_MAX, Publication, Published, Traces, WrittenBatch, WrittenEvent,
};
use opentelemetry::trace::{SpanId, Status};

use left::Left;

const TOPIC: &str = "cdc.game_db.players";

fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

fn published(parent: Option<TraceContext>) -> Published {
    let position = Position::from_hex("000000076553f100000000012c0100296e").unwrap();
    let context = match parent {
        Some(parent) => parent.with_event(&position, 7, true),
        None => TraceContext::of_event(&position, 7, true),
    };
    let trace = EventTrace {
        context,
        parent,
        state: None,
        database: "game_db".into(),
        collection: "players".into(),
        operation: "insert",
        committed: at(100),
        read: at(103),
        encoded: at(104),
    };
    let (trace, topic) = (Box::new(trace), Arc::from(TOPIC));
    Published { trace, topic, position, handed_over: at(105), is_read_again: false }
}

fn written(context: TraceContext, offset: i64) -> WrittenEvent<'static> {
    WrittenEvent {
        context,
        topic: TOPIC,
        partition: 3,
        offset,
        sent: at(105),
        fetched: at(109),
        outcome: "written",
        is_replayed: false,
    }
}

fn batch(tables: &[String]) -> WrittenBatch<'_> {
    let times = BatchTimes { handed: at(110), begun: Some(at(112)), ended: at(116) };
    WrittenBatch { topic: Some(TOPIC), tables, records: 40, worker: 2, times, failure: None }
}

/// Each span as `name (kind) from..to ms, where it hangs, what it links to`, and its attributes, in the order of time.
fn told(left: &Left) -> String {
    let mut spans = std::mem::take(&mut *left.0.lock().unwrap());
    spans.sort_by_key(|span| (span.start_time, std::cmp::Reverse(span.end_time), span.name.clone()));
    let ms = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let names: BTreeMap<String, String> = spans
        .iter()
        .map(|span| {
            (span.span_context.span_id().to_string(), format!("{}@{}", span.name, ms(span.start_time)))
        })
        .collect();
    let name = |id: SpanId| names.get(&id.to_string()).cloned().unwrap_or_else(|| "elsewhere".to_owned());
    let mut text = String::new();
    for span in &spans {
        let (from, to) = (ms(span.start_time), ms(span.end_time));
        text.push_str(&format!("{} ({:?}) {from}..{to}", span.name, span.span_kind));
        if span.parent_span_id != SpanId::INVALID {
            text.push_str(&format!(" in {}", name(span.parent_span_id)));
        }
        for link in &span.links.links {
            text.push_str(&format!(" ~ {}", name(link.span_context.span_id())));
        }
        if let Status::Error { description } = &span.status {
            text.push_str(&format!(" failed: {description}"));
        }
        text.push('\n');
        for attribute in &span.attributes {
            text.push_str(&format!("  {}={}\n", attribute.key, attribute.value));
        }
    }
    text
}

#[test]
fn a_document_is_followed_from_its_commit_to_its_row_s() {
    let left = Left::default();
    let traces = Traces::to(left.clone());
    let event = published(None);
    traces.published(&event, Publication::Acknowledged { partition: 3, offset: 41 }, at(108));
    let tables = ["public.players".to_owned()];
    traces.wrote(&batch(&tables), std::iter::once(written(event.trace.context, 41)));

    let traces_of = |name: &str| {
        let spans = left.0.lock().unwrap();
        let found = spans.iter().filter(|span| span.name == name).map(|span| span.span_context.trace_id());
        found.collect::<Vec<_>>()
    };
    let own = opentelemetry::trace::TraceId::from_bytes(event.trace.context.trace_id());
    for part in ["change", "read", "encode", "hand_over", "fetch", "queue", "prepare", "write"] {
        assert_eq!(traces_of(part), [own], "{part}");
    }
    insta::assert_snapshot!(told(&left));
}

#[test]
fn an_application_s_span_is_the_parent_and_a_failure_is_a_failure() {
    let left = Left::default();
    let traces = Traces::to(left.clone());
    let theirs = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let event = Published { is_read_again: true, ..published(Some(theirs)) };
    traces.published(&event, Publication::Failed("transient"), at(108));
    let spans = left.0.lock().unwrap().clone();
    let change = spans.iter().find(|span| span.name == "change").unwrap();
    assert_eq!(change.parent_span_id, SpanId::from_bytes(theirs.span_id()));
    assert!(change.parent_span_is_remote);
    assert!(spans.iter().all(|span| span.span_context.trace_id() == change.span_context.trace_id()));
    insta::assert_snapshot!(told(&left));
}

#[test]
fn a_batch_links_to_so_many_events_and_says_how_many_more_there_were() {
    let left = Left::default();
    let traces = Traces::to(left.clone());
    let contexts = (0..EVENTS_PER_BATCH_MAX as u64 + 5)
        .map(|number| TraceContext::of_event(&Position::from_bytes(&number.to_be_bytes()).unwrap(), 1, true));
    let events: Vec<_> = contexts.zip(0..).map(|(context, offset)| written(context, offset)).collect();
    traces.wrote(&batch(&[]), events.clone().into_iter());
    let spans = std::mem::take(&mut *left.0.lock().unwrap());
    let of_batch = spans.iter().find(|span| span.parent_span_id == SpanId::INVALID).unwrap();
    assert_eq!(of_batch.links.links.len(), EVENTS_PER_BATCH_MAX);
    let left_out = of_batch.attributes.iter().find(|it| it.key.as_str() == "cdc.sampled_events_left_out");
    assert_eq!(left_out.unwrap().value, 5.into());
    let is_made = |id| spans.iter().any(|span| span.span_context.span_id() == id);
    assert!(of_batch.links.links.iter().all(|link| is_made(link.span_context.span_id())));

    // One that was not written leads to what was sent, and leaves the events' own spans to the next try.
    let failure = Some(("transient", Some("40001")));
    let failed =
        WrittenBatch { failure, times: BatchTimes { begun: None, ..batch(&[]).times }, ..batch(&[]) };
    traces.wrote(&failed, events.into_iter().take(1));
    insta::assert_snapshot!(told(&left));
}

#[test]
fn what_is_not_recorded_or_not_exported_makes_no_span() {
    let left = Left::default();
    let unrecorded = TraceContext::of_event(&published(None).position, 7, false);
    let mut event = published(None);
    event.trace.context = unrecorded;
    let traces = Traces::to(left.clone());
    traces.published(&event, Publication::TooLarge, at(108));
    traces.wrote(&batch(&[]), std::iter::once(written(unrecorded, 1)));
    traces.put_aside(&unrecorded, (TOPIC, 3, 41), "malformed", (at(1), at(2)));
    assert!(left.0.lock().unwrap().is_empty());
    Traces::off().published(&published(None), Publication::TooLarge, at(108));

    traces.put_aside(&published(None).trace.context, (TOPIC, 3, 41), "malformed", (at(1), at(2)));
    insta::assert_snapshot!(told(&left));
}
