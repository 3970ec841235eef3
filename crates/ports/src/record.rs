use std::time::SystemTime;

use bytes::Bytes;
use cdc_event::TraceContext;

/// One polled record.
///
/// It passes the machine by value, through its queues, so it is kept small: key, value and headers are one slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KafkaRecord {
    /// The key, the value and the headers.
    content: Bytes,
    key_len: u32,
    /// `None` for a Kafka tombstone.
    value_len: Option<u32>,
    /// The broker's or the producer's time stamp, Unix milliseconds; 0 where there is none.
    pub timestamp_ms: i64,
    /// Where the event is sampled: where the record has a `traceparent`.
    pub trace: Option<Box<RecordTrace>>,
}

impl KafkaRecord {
    /// A record that nobody follows, with a buffer of its own.
    #[must_use]
    pub fn new(key: &[u8], value: Option<&[u8]>, headers: &[u8], timestamp_ms: i64) -> Self {
        let content = Bytes::from([key, value.unwrap_or_default(), headers].concat());
        Self::of_content(content, key.len(), value.map(<[u8]>::len), timestamp_ms)
    }

    /// A record that nobody follows. `content` is its key, its value and its headers; the lengths say where one ends and
    /// the next begins.
    #[must_use]
    pub fn of_content(content: Bytes, key_len: usize, value_len: Option<usize>, timestamp_ms: i64) -> Self {
        // Kafka's own lengths have 32 bits; one beyond is cut where it ends the content.
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let (key_len, value_len) = (length(key_len), value_len.map(length));
        Self { content, key_len, value_len, timestamp_ms, trace: None }
    }

    /// The message key; empty where there is none.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.cut(0, self.key_len)
    }

    /// The message value; `None` for a Kafka tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        Some(self.cut(self.key_len, self.value_len?))
    }

    /// The headers for a dead letter, encoded one after the other.
    #[must_use]
    pub fn headers(&self) -> &[u8] {
        let start = self.key_len.saturating_add(self.value_len.unwrap_or(0));
        self.cut(start, u32::MAX)
    }

    /// So many bytes from `start` on, as far as there are any.
    fn cut(&self, start: u32, len: u32) -> &[u8] {
        let rest = self.content.get(start as usize..).unwrap_or_default();
        rest.get(..len as usize).unwrap_or(rest)
    }
}

/// What is remembered of a sampled event's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordTrace {
    /// The event's trace, and the span that has sent it.
    pub context: TraceContext,
    /// When the client gave the record out.
    pub fetched: SystemTime,
    /// It was in the dead letters before.
    pub is_replayed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_cut_where_its_parts_end_whatever_the_lengths_say() {
        let record = KafkaRecord::new(b"key", Some(b"value"), b"headers", 7);
        let parts = (record.key(), record.value(), record.headers());
        assert_eq!(parts, (&b"key"[..], Some(&b"value"[..]), &b"headers"[..]));
        let tombstone = KafkaRecord::new(b"key", None, b"headers", 7);
        assert_eq!((tombstone.value(), tombstone.headers()), (None, &b"headers"[..]));
        let empty = KafkaRecord::new(b"", Some(b""), b"", 7);
        assert_eq!((empty.key(), empty.value(), empty.headers()), (&b""[..], Some(&b""[..]), &b""[..]));
        let short = KafkaRecord::of_content(Bytes::from_static(b"key"), 4, Some(usize::MAX), 7);
        assert_eq!((short.key(), short.value(), short.headers()), (&b"key"[..], Some(&b""[..]), &b""[..]));
    }

    /// What is larger is moved by a call of `memcpy`, several times on its way through a machine.
    #[test]
    fn what_passes_a_machine_by_value_is_copied_inline() {
        const INLINE_MAX: usize = 128;
        let sizes = [
            size_of::<cdc_watcher::Payload<cdc_event::Message>>(),
            size_of::<cdc_event::ResumeToken>(),
            size_of::<cdc_syncer::Record<KafkaRecord>>(),
            size_of::<cdc_syncer::Row<KafkaRecord>>(),
        ];
        assert!(sizes.iter().all(|size| *size <= INLINE_MAX), "{sizes:?}");
    }
}
