//! The body-less message that stands in the dead letters for one that does not fit.

use std::sync::Arc;

use cdc_event::{EventTrace, Message, Position};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use xxhash_rust::xxh3::xxh3_64;

/// The header that carries a message's position, in hex.
pub(crate) const POSITION: &str = "cdc-position";
/// The header that carries the format's version.
pub(crate) const VERSION: &str = "cdc-version";
/// The only version there is.
pub(crate) const VERSION_1: &str = "1";
/// The header that carries a sampled event's trace context, as W3C has it.
pub(crate) const TRACE_PARENT: &str = "traceparent";
/// The header that carries what the application's own tracing system has added to it.
pub(crate) const TRACE_STATE: &str = "tracestate";
/// The header that says why a record is in the dead letters.
pub(crate) const ERROR_REASON: &str = "cdc-error-reason";
/// The header that says where a dead letter was read or meant to go.
pub(crate) const SOURCE_TOPIC: &str = "cdc-source-topic";
/// The header that says what the body was.
pub(crate) const BODY_OMITTED: &str = "cdc-body-omitted";

/// What is said of a body that is left out: its length in bytes, and XXH3-64 in 16 hex digits.
pub(crate) fn describe_body(body: &[u8]) -> String {
    format!("size={}, xxh3={:016x}", body.len(), xxh3_64(body))
}

/// The marker of a message. Its topic is the message's own and its value is [`describe_body`]'s text:
/// [`headers`] and the producer make a dead letter of it.
pub(crate) fn of(topic: Arc<str>, key: &[u8], body: &[u8], position: Position) -> Message {
    Message::new(topic, key, describe_body(body).as_bytes(), position)
}

/// A marker's headers.
pub(crate) fn headers(marker: &Message, position: &str) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(7)
        .insert(Header { key: POSITION, value: Some(position) })
        .insert(Header { key: VERSION, value: Some(VERSION_1) })
        .insert(Header { key: ERROR_REASON, value: Some("too_large") })
        .insert(Header { key: SOURCE_TOPIC, value: Some(&*marker.topic) })
        .insert(Header { key: BODY_OMITTED, value: Some(marker.value()) });
    with_trace(headers, marker.trace.as_deref())
}

/// Adds a sampled event's context.
pub(crate) fn with_trace(headers: OwnedHeaders, trace: Option<&EventTrace>) -> OwnedHeaders {
    let Some(trace) = trace else { return headers };
    let headers = headers.insert(Header { key: TRACE_PARENT, value: Some(trace.context.text().as_str()) });
    match &trace.state {
        Some(state) => headers.insert(Header { key: TRACE_STATE, value: Some(&**state) }),
        None => headers,
    }
}

/// A position as header text, without an allocation.
pub(crate) struct PositionText {
    digits: [u8; 2 * Position::MAX],
    len: usize,
}

impl PositionText {
    pub(crate) fn new(position: &Position) -> Self {
        const HEX: [u8; 16] = *b"0123456789abcdef";
        let mut text = Self { digits: [0; 2 * Position::MAX], len: 2 * position.as_bytes().len() };
        for (pair, byte) in text.digits.chunks_exact_mut(2).zip(position.as_bytes()) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        text
    }

    pub(crate) fn as_str(&self) -> &str {
        // Hex digits are ASCII, so the fall-back is never taken.
        std::str::from_utf8(&self.digits[..self.len]).unwrap_or_default()
    }
}

/// The position in a message's header; `None` where there is none.
pub(crate) fn position_of(message: &BorrowedMessage<'_>) -> Option<Position> {
    let header = message.headers()?.iter().find(|header| header.key == POSITION)?;
    Position::from_hex(std::str::from_utf8(header.value?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_header() {
        for bytes in [&[][..], &[0, 1, 0x7f, 0x80, 0xff], &[0xab; Position::MAX]] {
            let position = Position::from_bytes(bytes).unwrap();
            let text = PositionText::new(&position);
            assert_eq!(text.as_str(), position.to_string());
            assert_eq!(Position::from_hex(text.as_str()), Some(position));
        }
        for broken in ["a", "zz", &"aa".repeat(Position::MAX + 1)] {
            assert_eq!(Position::from_hex(broken), None);
        }
    }

    #[test]
    fn a_body_is_described_by_length_and_hash() {
        assert_eq!(describe_body(b""), "size=0, xxh3=2d06800538d394c2");
    }
}
