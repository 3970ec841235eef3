use std::time::SystemTime;

use bytes::BytesMut;
use cdc_event::TraceContext;
use cdc_ports::{KafkaRecord, RecordTrace};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use crate::dead_letter::FALLS;
use crate::headers;
use crate::marker::TRACE_PARENT;

/// The size of one piece, in bytes. A record that is kept for long keeps its whole piece, so it is no larger
/// than the records of a moment.
const CHUNK_BYTES: usize = 256 * 1024;

/// Copies records out of librdkafka, many into one allocation: a record that stayed in librdkafka's buffer
/// would keep a whole fetch response alive.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    chunk: BytesMut,
}

impl Arena {
    /// Copies one message's key, value, headers and time stamp.
    pub(crate) fn copy(&mut self, message: &BorrowedMessage<'_>) -> KafkaRecord {
        let (key, value) = (message.key().unwrap_or_default(), message.payload());
        let header_bytes = message.headers().map_or(0, |headers| {
            headers.iter().map(|header| headers::encoded_len(header.key, header.value)).sum()
        });
        self.reserve(key.len() + value.map_or(0, <[u8]>::len) + header_bytes);
        self.chunk.extend_from_slice(key);
        self.chunk.extend_from_slice(value.unwrap_or_default());
        let trace = self.put_headers(message);
        let timestamp_ms = message.timestamp().to_millis().unwrap_or(0);
        let content = self.chunk.split().freeze();
        let mut record = KafkaRecord::of_content(content, key.len(), value.map(<[u8]>::len), timestamp_ms);
        record.trace = trace;
        record
    }

    fn reserve(&mut self, bytes: usize) {
        if self.chunk.capacity() < bytes {
            self.chunk = BytesMut::with_capacity(bytes.max(CHUNK_BYTES));
        }
    }

    /// Copies the headers. Returns the trace where one of them names it.
    fn put_headers(&mut self, message: &BorrowedMessage<'_>) -> Option<Box<RecordTrace>> {
        let all = message.headers()?;
        let mut trace = None;
        for header in all.iter() {
            headers::put(&mut self.chunk, header.key, header.value);
            if header.key == TRACE_PARENT {
                let is_replayed = all.iter().any(|other| other.key == FALLS);
                trace = header.value.and_then(|value| trace_of(value, is_replayed));
            }
        }
        trace
    }
}

/// A sampled event is fetched now. What is no `traceparent` is a header like others.
fn trace_of(value: &[u8], is_replayed: bool) -> Option<Box<RecordTrace>> {
    let context = TraceContext::parse(value)?;
    Some(Box::new(RecordTrace { context, fetched: SystemTime::now(), is_replayed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_a_chunk_and_do_not_overlap() {
        let mut arena = Arena::default();
        arena.reserve(6);
        let [a, b] = [b"abc", b"def"].map(|content| {
            arena.chunk.extend_from_slice(content);
            arena.chunk.split().freeze()
        });
        assert_eq!((&a[..], &b[..]), (&b"abc"[..], &b"def"[..]));
        assert_eq!(a.as_ptr().wrapping_add(3), b.as_ptr());
        arena.reserve(CHUNK_BYTES + 1);
        assert!(arena.chunk.capacity() > CHUNK_BYTES);
        assert_eq!((&a[..], &b[..]), (&b"abc"[..], &b"def"[..]));
    }
}
