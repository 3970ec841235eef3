use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::{ClusterTime, Position, TraceContext};

/// A resume token together with the position that it stands for. Ordered by position.
#[derive(Clone, Debug)]
pub struct ResumeToken {
    /// The token as MongoDB gave it: one BSON document, copied out of the server's reply.
    pub bson: Bytes,
    /// Its place in the order of events.
    pub position: Position,
    /// When the newest event happened that was read up to here; `None` where none was read yet. A history in
    /// which nothing happened then is another one.
    pub rests_on: Option<ClusterTime>,
}

impl PartialEq for ResumeToken {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}
impl Eq for ResumeToken {}
impl PartialOrd for ResumeToken {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ResumeToken {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.position.cmp(&other.position)
    }
}
impl std::hash::Hash for ResumeToken {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.position.hash(state);
    }
}

/// One message on its way to Kafka. The bytes are slices of one buffer per source batch.
#[derive(Clone, Debug)]
pub struct Message {
    /// The topic of the event's collection.
    pub topic: Arc<str>,
    /// Canonical `_id`; decides the partition.
    pub key: Bytes,
    /// The envelope.
    pub value: Bytes,
    /// For the header `cdc-position`.
    pub position: Position,
    /// Where the event is sampled.
    pub trace: Option<Box<EventTrace>>,
}

/// What is remembered of a sampled event on its way to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTrace {
    /// The event's trace, and the span that sends it: for the header `traceparent`.
    pub context: TraceContext,
    /// The span of the application that wrote the document, where the document says so.
    pub parent: Option<TraceContext>,
    /// For the header `tracestate`: the application's own.
    pub state: Option<Box<str>>,
    /// The database.
    pub database: Box<str>,
    /// The collection.
    pub collection: Box<str>,
    /// What the change stream calls the operation.
    pub operation: &'static str,
    /// When it was committed, by the source's clock.
    pub committed: SystemTime,
    /// When the reply arrived that held it.
    pub read: SystemTime,
    /// When its message was there.
    pub encoded: SystemTime,
}
