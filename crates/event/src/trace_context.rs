//! The W3C trace context of an event: <https://www.w3.org/TR/trace-context/>. Read and written without an allocation.

use std::fmt;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::Position;

/// Tells the first half of an event's trace id from the second, which [`crate::Sampling`] chooses by.
const TRACE_SEED: u64 = 1;
/// The longest `tracestate` that is carried, in bytes: what the standard asks of everybody to pass on.
const STATE_BYTES_MAX: usize = 512;
/// The most members of a `tracestate`.
const STATE_MEMBERS_MAX: usize = 32;

/// Which trace an event belongs to, and which span it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace. Not all zero.
    trace_id: [u8; 16],
    /// The span. Not all zero.
    span_id: [u8; 8],
    flags: u8,
}

/// Where the parts of a `traceparent` of version 00 stand: `00-` trace `-` span `-` flags.
const VERSION_END: usize = 2;
const TRACE: usize = 3;
const SPAN: usize = 36;
const FLAGS: usize = 53;

impl TraceContext {
    /// The length of a `traceparent` of version 00, in bytes.
    pub const TEXT_BYTES: usize = 55;

    /// Bit of the flags: whoever made the span has recorded it.
    const RECORDED: u8 = 1;

    /// A context; `None` where one of the ids is all zero, which stands for no context.
    #[must_use]
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], is_recorded: bool) -> Option<Self> {
        let is_valid = trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self { trace_id, span_id, flags: u8::from(is_recorded) })
    }

    /// Reads a `traceparent`; `None` where it is none. Of a version later than 00 it reads what 00 knows.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(Self::TEXT_BYTES)?;
        let [version] = hex(known.get(..VERSION_END)?)?;
        let is_of_its_length = if version == 0 { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
        let has_dashes = [VERSION_END, SPAN - 1, FLAGS - 1].iter().all(|at| known[*at] == b'-');
        if version == 0xff || !is_of_its_length || !has_dashes {
            return None;
        }
        let [flags] = hex(known.get(FLAGS..)?)?;
        let (trace_id, span_id) = (hex(known.get(TRACE..SPAN - 1)?)?, hex(known.get(SPAN..FLAGS - 1)?)?);
        Self::new(trace_id, span_id, flags & Self::RECORDED != 0)
    }

    /// The context of the event at this position: the same trace however often it is read. `attempt` tells its span
    /// from that of another reading.
    #[must_use]
    pub fn of_event(position: &Position, attempt: u64, is_recorded: bool) -> Self {
        let bytes = position.as_bytes();
        let halves = [xxh3_64_with_seed(bytes, TRACE_SEED).max(1), xxh3_64(bytes)].map(u64::to_be_bytes);
        let mut trace_id = [0; 16];
        trace_id.copy_from_slice(halves.as_flattened());
        let trace = Self { trace_id, span_id: [0; 8], flags: 0 };
        trace.with_event(position, attempt, is_recorded)
    }

    /// The event's context in a trace that somebody else has begun.
    #[must_use]
    pub fn with_event(self, position: &Position, attempt: u64, is_recorded: bool) -> Self {
        // An id of zeroes stands for none.
        let span_id = xxh3_64_with_seed(position.as_bytes(), attempt).max(1).to_be_bytes();
        Self { span_id, flags: u8::from(is_recorded), ..self }
    }

    /// The `traceparent`, on the stack.
    #[must_use]
    pub fn text(&self) -> TraceParent {
        let mut text = [b'-'; Self::TEXT_BYTES];
        put_hex(&mut text[..VERSION_END], &[0]);
        put_hex(&mut text[TRACE..SPAN - 1], &self.trace_id);
        put_hex(&mut text[SPAN..FLAGS - 1], &self.span_id);
        put_hex(&mut text[FLAGS..], &[self.flags]);
        TraceParent(text)
    }

    /// The trace.
    #[must_use]
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The span.
    #[must_use]
    pub const fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// True where whoever made the span has recorded it.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.flags & Self::RECORDED != 0
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// The text of a [`TraceContext`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent([u8; TraceContext::TEXT_BYTES]);

impl TraceParent {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Hex digits and dashes are ASCII, so the fall-back is never taken.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A `tracestate` that may be passed on as it is; `None` where it is none, or longer than has to be carried.
#[must_use]
pub fn trace_state(text: &str) -> Option<&str> {
    let is_carried = text.len() <= STATE_BYTES_MAX && text.split(',').count() <= STATE_MEMBERS_MAX;
    let is_member = |member: &str| {
        let pair = member.trim_matches([' ', '\t']).split_once('=');
        pair.is_some_and(|(key, value)| {
            let is_printable =
                |text: &str| !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            is_printable(key) && is_printable(value) && !value.contains('=')
        })
    };
    (is_carried && text.split(',').all(is_member)).then_some(text)
}

/// Bytes from exactly twice as many lowercase digits.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    const fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        }
    }
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn put_hex(text: &mut [u8], bytes: &[u8]) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standards_example_is_read_and_written() {
        let context = TraceContext::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(context.trace_id()[..2], [0x4b, 0xf9]);
        assert_eq!(context.span_id(), [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert!(context.is_recorded());
        assert_eq!(context.text().as_str(), TEXT);
        let unrecorded = TraceContext::parse(TEXT.replace("-01", "-00").as_bytes()).unwrap();
        assert!(!unrecorded.is_recorded());
    }

    #[test]
    fn what_the_standard_calls_invalid_is_none() {
        let zeroes = "0".repeat(32);
        for text in [
            String::new(),
            TEXT[..54].to_owned(),
            format!("{TEXT}-00"),
            format!("ff{}", &TEXT[2..]),
            TEXT.to_uppercase(),
            TEXT.replace('-', "_"),
            TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeroes),
            TEXT.replace("00f067aa0ba902b7", &zeroes[..16]),
            TEXT.replace("-01", "-0x"),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn of_a_later_version_what_is_known_is_read() {
        let later = format!("01{}", &TEXT[2..]);
        assert!(TraceContext::parse(later.as_bytes()).is_some());
        assert!(TraceContext::parse(format!("{later}-more").as_bytes()).is_some());
        assert_eq!(TraceContext::parse(format!("{later}more").as_bytes()), None);
    }

    #[test]
    fn a_state_is_passed_on_whole_or_not_at_all() {
        for good in ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "a@b=c", "a=1, b=2"] {
            assert_eq!(trace_state(good), Some(good));
        }
        for bad in [
            "",
            "a",
            "=1",
            "a=",
            "a=b=c",
            "a=1,,b=2",
            "a=\u{e9}",
            "a=\n",
            &"a=1,".repeat(33),
            &format!("a={}", "b".repeat(511)),
        ] {
            assert_eq!(trace_state(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_event_has_one_trace_and_a_span_for_each_reading() {
        let position = Position::from_bytes(b"somewhere").unwrap();
        let [first, again] = [1, 2].map(|attempt| TraceContext::of_event(&position, attempt, true));
        assert_eq!(first.trace_id(), again.trace_id());
        assert_ne!(first.span_id(), again.span_id());
        let theirs = TraceContext::parse(TEXT.as_bytes()).unwrap();
        let within = theirs.with_event(&position, 1, false);
        assert_eq!((within.trace_id(), within.span_id()), (theirs.trace_id(), first.span_id()));
        assert!(!within.is_recorded());
    }

    proptest! {
        #[test]
        fn any_context_survives_its_text(trace: [u8; 16], span: [u8; 8], recorded: bool) {
            if let Some(context) = TraceContext::new(trace, span, recorded) {
                prop_assert_eq!(TraceContext::parse(context.text().as_str().as_bytes()), Some(context));
            }
        }

        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceContext::parse(&bytes);
        }
    }
}
