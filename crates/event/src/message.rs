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

/// One message on its way to Kafka.
///
/// It passes the machine by value, once in and once out, so it is kept small: key and value are one slice of the
/// buffer that a source batch has.
#[derive(Clone, Debug)]
pub struct Message {
    /// The topic of the event's collection.
    pub topic: Arc<str>,
    /// The value, then the key.
    content: Bytes,
    value_len: usize,
    /// For the header `cdc-position`.
    pub position: Position,
    /// Where the event is sampled.
    pub trace: Option<Box<EventTrace>>,
}

impl Message {
    /// A message that nobody follows, with a buffer of its own.
    #[must_use]
    pub fn new(topic: Arc<str>, key: &[u8], value: &[u8], position: Position) -> Self {
        Self::of_content(topic, Bytes::from([value, key].concat()), value.len(), position)
    }

    /// A message that nobody follows. The first `value_len` bytes of `content` are its value, the rest is its key.
    #[must_use]
    pub fn of_content(topic: Arc<str>, content: Bytes, value_len: usize, position: Position) -> Self {
        let value_len = value_len.min(content.len());
        Self { topic, content, value_len, position, trace: None }
    }

    /// Canonical `_id`; decides the partition.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.content[self.value_len..]
    }

    /// The envelope; of a marker, what is said of the body that is left out.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.content[..self.value_len]
    }

    /// The size of key and value, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        u32::try_from(self.content.len()).unwrap_or(u32::MAX)
    }
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
