//! JSON text straight into a byte buffer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// True for the bytes that a JSON string cannot hold as they are (RFC 8259 §7).
const fn escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Length of the run at the start that needs no escape, eight bytes at a time.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = ONES << 7;
    let mut chunks = bytes.chunks_exact(8);
    let mut run = 0;
    for chunk in &mut chunks {
        let Some(word) = chunk.first_chunk().map(|word| u64::from_le_bytes(*word)) else { break };
        // Each term sets the top bit of a byte that is below 0x20, a quote or a backslash. A borrow may set
        // a later byte too, never an earlier one, and only the first is asked for.
        let control = word.wrapping_sub(ONES * 0x20);
        let quote = (word ^ (ONES * 0x22)).wrapping_sub(ONES);
        let backslash = (word ^ (ONES * 0x5C)).wrapping_sub(ONES);
        let hits = (control | quote | backslash) & !word & HIGH;
        if hits != 0 {
            return run + (hits.trailing_zeros() / 8) as usize;
        }
        run += 8;
    }
    run + chunks.remainder().iter().position(|byte| escaped(*byte)).unwrap_or(chunks.remainder().len())
}

/// A string's contents, escaped, without the quotes.
pub(crate) fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_run(rest));
        out.extend_from_slice(plain);
        let Some((&byte, tail)) = tail.split_first() else { return };
        escape_byte(out, byte);
        rest = tail;
    }
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0C => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            hex(out, &[byte]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// A string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// Lowercase hexadecimal digits, without quotes.
pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xF)]]);
    }
}

/// An integer.
pub(crate) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A finite double: the shortest text that reads back as the same bits, always with `.` or `e`.
pub(crate) fn finite(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
}

/// Standard base64 with padding, without quotes.
pub(crate) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    // Four digits for each three bytes begun.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    #[expect(clippy::expect_used, reason = "the line above made exactly the room that padded base64 takes")]
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).expect("room for base64");
    out.truncate(start + written);
}

/// A UUID's text, without quotes.
pub(crate) fn uuid(out: &mut Vec<u8>, bytes: &[u8; 16]) {
    for (group, dash) in [
        (&bytes[..4], true),
        (&bytes[4..6], true),
        (&bytes[6..8], true),
        (&bytes[8..10], true),
        (&bytes[10..], false),
    ] {
        hex(out, group);
        if dash {
            out.push(b'-');
        }
    }
}
