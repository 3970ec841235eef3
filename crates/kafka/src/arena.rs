use bytes::{Bytes, BytesMut};
use cdc_ports::{Headers, KafkaRecord};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use crate::headers;

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
        KafkaRecord {
            key: self.take(key),
            value: value.map(|value| self.take(value)),
            headers: self.take_headers(message),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        }
    }

    fn reserve(&mut self, bytes: usize) {
        if self.chunk.capacity() < bytes {
            self.chunk = BytesMut::with_capacity(bytes.max(CHUNK_BYTES));
        }
    }

    fn take(&mut self, slice: &[u8]) -> Bytes {
        if slice.is_empty() {
            return Bytes::new();
        }
        self.chunk.extend_from_slice(slice);
        self.chunk.split().freeze()
    }

    fn take_headers(&mut self, message: &BorrowedMessage<'_>) -> Headers {
        let Some(all) = message.headers() else { return Headers::default() };
        for header in all.iter() {
            headers::put(&mut self.chunk, header.key, header.value);
        }
        Headers(self.chunk.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_a_chunk_and_do_not_overlap() {
        let mut arena = Arena::default();
        arena.reserve(6);
        let (a, b) = (arena.take(b"abc"), arena.take(b"def"));
        assert_eq!((&a[..], &b[..]), (&b"abc"[..], &b"def"[..]));
        assert_eq!(a.as_ptr().wrapping_add(3), b.as_ptr());
        arena.reserve(CHUNK_BYTES + 1);
        assert!(arena.chunk.capacity() > CHUNK_BYTES);
        assert_eq!((&a[..], &b[..]), (&b"abc"[..], &b"def"[..]));
    }
}
