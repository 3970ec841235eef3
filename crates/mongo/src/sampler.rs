//! Which events are followed to their rows. Of an event that is not, nothing is kept and nothing allocated; its fields
//! are looked into only where the configuration names one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bson::{RawBsonRef, RawDocument};
use cdc_event::{ClusterTime, Encoded, EventTrace, Kind, TraceContext, trace_state};

use crate::settings::EventTracing;

/// Events of one second of the source's clock that are followed because the application's own context asks for it.
/// Beyond it they are sampled like others.
const ASKED_PER_SECOND_MAX: u32 = 100;

/// Chooses events, each by its own bytes.
pub(crate) struct Sampler {
    config: EventTracing,
    asked: Asked,
}

/// How many events of a second were followed because they asked for it.
#[derive(Default)]
struct Asked {
    second: u32,
    events: u32,
}

/// The context that a document carries.
struct Carried<'e> {
    context: TraceContext,
    state: Option<&'e str>,
}

impl Sampler {
    pub(crate) fn new(config: EventTracing) -> Self {
        Self { config, asked: Asked::default() }
    }

    /// What is remembered of the event where it is followed. `read` is when its reply arrived.
    pub(crate) fn trace(
        &mut self,
        event: &RawDocument,
        encoded: &Encoded<'_>,
        read: SystemTime,
    ) -> Option<Box<EventTrace>> {
        let field = self.config.context_field.as_deref();
        let carried = field.and_then(|field| carried_context(event, encoded.kind, field));
        // What the application has not recorded is no trace to join.
        let carried = carried.filter(|carried| carried.context.is_recorded());
        let is_asked = carried.is_some() && self.asked.takes(encoded.cluster_time);
        if !is_asked && !self.config.sampling.takes(&encoded.position) {
            return None;
        }
        let attempt = read.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let (position, is_recorded) = (&encoded.position, self.config.is_recorded);
        let context = match &carried {
            Some(carried) => carried.context.with_event(position, attempt, is_recorded),
            None => TraceContext::of_event(position, attempt, is_recorded),
        };
        Some(Box::new(EventTrace {
            context,
            parent: carried.as_ref().map(|carried| carried.context),
            state: carried.and_then(|carried| carried.state).map(Box::from),
            database: encoded.database.into(),
            collection: encoded.collection.into(),
            operation: encoded.kind.name(),
            committed: committed(event, encoded.cluster_time),
            read,
            encoded: SystemTime::now(),
        }))
    }
}

impl Asked {
    /// True while this second may have more. A replay of the second finds the same events in the same order.
    fn takes(&mut self, time: ClusterTime) -> bool {
        if self.second != time.t {
            *self = Self { second: time.t, events: 0 };
        }
        self.events = self.events.saturating_add(1);
        self.events <= ASKED_PER_SECOND_MAX
    }
}

/// The context that the write itself has put into the document: an update that leaves the field alone is no part of the
/// trace of the one that wrote it.
fn carried_context<'e>(event: &'e RawDocument, kind: Kind, field: &str) -> Option<Carried<'e>> {
    let written = match kind {
        Kind::Insert | Kind::Replace => event.get_document("fullDocument").ok()?,
        Kind::Update => event.get_document("updateDescription").ok()?.get_document("updatedFields").ok()?,
        Kind::Delete | Kind::Other(_) => return None,
    };
    match written.get(field).ok()?? {
        RawBsonRef::String(parent) => {
            Some(Carried { context: TraceContext::parse(parent.as_bytes())?, state: None })
        }
        RawBsonRef::Document(both) => {
            let context = TraceContext::parse(both.get_str("traceparent").ok()?.as_bytes())?;
            Some(Carried { context, state: both.get_str("tracestate").ok().and_then(trace_state) })
        }
        _ => None,
    }
}

/// When the event was committed: by its wall time, which MongoDB 6.0 and newer tell to the millisecond, or by its
/// cluster time, which counts seconds.
fn committed(event: &RawDocument, cluster_time: ClusterTime) -> SystemTime {
    match event.get_datetime("wallTime") {
        Ok(wall) => wall.to_system_time(),
        Err(_) => UNIX_EPOCH + Duration::from_secs(u64::from(cluster_time.t)),
    }
}

#[cfg(test)]
mod tests {
    use bson::{DateTime, RawDocumentBuf, Timestamp, doc};
    use cdc_event::{Encoder, Sampling};

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn insert(document: bson::Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(&event("insert", doc! { "fullDocument": document })).unwrap()
    }

    fn event(operation: &str, rest: bson::Document) -> bson::Document {
        let mut event = doc! {
            "_id": { "_data": "826B045F8E000000082B022C0100296E5A1004B7A61B0EF2B94D6CA0F6A1B2C3D4E5F646645F69640064507F1F77BCF86CD7994390110004" },
            "operationType": operation,
            "clusterTime": Timestamp { time: 5, increment: 1 },
            "wallTime": DateTime::from_millis(5_250),
            "ns": { "db": "game_db", "coll": "players" },
            "documentKey": { "_id": 1 },
        };
        event.extend(rest);
        event
    }

    fn sampler(ratio: f64, field: Option<&str>) -> Sampler {
        let context_field = field.map(Box::from);
        Sampler::new(EventTracing { sampling: Sampling::of(ratio), is_recorded: true, context_field })
    }

    fn traced(sampler: &mut Sampler, event: &RawDocument) -> Option<Box<EventTrace>> {
        let (mut out, mut tokens) = (Vec::new(), Vec::new());
        let mut encoder = Encoder::new(1);
        let encoded = encoder.encode(event, &mut out, &mut tokens).unwrap();
        sampler.trace(event, &encoded, UNIX_EPOCH + Duration::from_secs(6))
    }

    #[test]
    fn an_event_that_is_not_sampled_leaves_nothing() {
        let event = insert(doc! { "_id": 1 });
        let (mut out, mut tokens) = (Vec::new(), Vec::new());
        let mut encoder = Encoder::new(1);
        let encoded = encoder.encode(&event, &mut out, &mut tokens).unwrap();
        for field in [None, Some("trace")] {
            let mut sampler = sampler(0.0, field);
            let cost = allocation_counter::measure(|| {
                assert_eq!(sampler.trace(&event, &encoded, UNIX_EPOCH), None);
            });
            assert_eq!(cost.count_total, 0, "{field:?}");
        }
        let trace = traced(&mut sampler(1.0, None), &event).unwrap();
        assert_eq!(trace.committed, UNIX_EPOCH + Duration::from_millis(5_250));
        assert_eq!((trace.parent, &trace.state), (None, &None));
        assert!(trace.context.is_recorded());
        let again = traced(&mut sampler(1.0, None), &event).unwrap();
        assert_eq!(trace.context, again.context);
    }

    #[test]
    fn without_a_wall_time_the_cluster_time_tells() {
        let mut event = event("insert", doc! { "fullDocument": { "_id": 1 } });
        event.remove("wallTime");
        let trace = traced(&mut sampler(1.0, None), &RawDocumentBuf::try_from(&event).unwrap()).unwrap();
        assert_eq!(trace.committed, UNIX_EPOCH + Duration::from_secs(5));
    }

    #[test]
    fn a_document_with_a_recorded_context_is_followed_in_its_trace() {
        let theirs = TraceContext::parse(PARENT.as_bytes()).unwrap();
        let as_text = insert(doc! { "_id": 1, "trace": PARENT });
        let trace = traced(&mut sampler(0.0, Some("trace")), &as_text).unwrap();
        assert_eq!((trace.parent, trace.context.trace_id()), (Some(theirs), theirs.trace_id()));
        assert_ne!(trace.context.span_id(), theirs.span_id());
        // Nobody has named the field.
        assert_eq!(traced(&mut sampler(0.0, None), &as_text), None);

        let both = insert(doc! { "_id": 1, "trace": { "traceparent": PARENT, "tracestate": "a=1" } });
        let trace = traced(&mut sampler(0.0, Some("trace")), &both).unwrap();
        assert_eq!((trace.parent, trace.state.as_deref()), (Some(theirs), Some("a=1")));
    }

    #[test]
    fn what_the_application_has_not_recorded_or_spelled_is_no_context() {
        for text in [&PARENT.replace("-01", "-00"), "none"] {
            let event = insert(doc! { "_id": 1, "trace": text });
            assert_eq!(traced(&mut sampler(0.0, Some("trace")), &event), None, "{text}");
            let trace = traced(&mut sampler(1.0, Some("trace")), &event).unwrap();
            assert_eq!(trace.parent, None, "{text}");
        }
    }

    #[test]
    fn an_update_joins_the_trace_that_it_writes_and_no_older_one() {
        let update = |updated: bson::Document| {
            let rest = doc! {
                "fullDocument": { "_id": 1, "trace": PARENT, "n": 1 },
                "updateDescription": { "updatedFields": updated, "removedFields": [] },
            };
            RawDocumentBuf::try_from(&event("update", rest)).unwrap()
        };
        let mut sampler = sampler(0.0, Some("trace"));
        assert_eq!(traced(&mut sampler, &update(doc! { "n": 1 })), None);
        assert!(traced(&mut sampler, &update(doc! { "n": 1, "trace": PARENT })).is_some());
    }

    #[test]
    fn an_application_that_asks_for_all_gets_so_many_a_second() {
        let event = insert(doc! { "_id": 1, "trace": PARENT });
        let mut sampler = sampler(0.0, Some("trace"));
        let followed = (0..500).filter(|_| traced(&mut sampler, &event).is_some()).count();
        assert_eq!(followed, ASKED_PER_SECOND_MAX as usize);
        assert!(sampler.asked.takes(ClusterTime { t: 6, i: 1 }));
    }
}
