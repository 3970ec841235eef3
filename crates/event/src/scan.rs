//! Reading JSON text in place. The text comes out of a parser that has checked it; here too every answer to
//! other text is `None`, never a panic.

use std::borrow::Cow;

/// The string that this JSON text is, borrowed where it has no escapes.
pub(crate) fn string(text: &str) -> Option<Cow<'_, str>> {
    let contents = text.strip_prefix('"')?.strip_suffix('"')?;
    if !contents.contains(['\\', '"']) {
        return Some(Cow::Borrowed(contents));
    }
    serde_json::from_str(text).ok().map(Cow::Owned)
}

/// Lowercase hexadecimal digits into exactly as many bytes as they make.
pub(crate) fn hex(digits: &[u8], bytes: &mut [u8]) -> Option<()> {
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() || pairs.len() != bytes.len() {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(())
}

/// The end of the JSON string that starts with the quote at `start`: the offset behind its closing quote.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The offset behind the value that starts at `start`.
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    match bytes.get(start)? {
        b'"' => string_end(bytes, start),
        b'{' | b'[' => {
            let mut open = 0_usize;
            let mut at = start;
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string_end(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => open += 1,
                    b'}' | b']' => open -= 1,
                    _ => {}
                }
                at += 1;
                if open == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let rest = bytes.get(start..)?;
            let length = rest
                .iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
                .unwrap_or(rest.len());
            (length > 0).then_some(start + length)
        }
    }
}

/// Walks the members of a JSON object or array, in order.
#[derive(Clone, Debug)]
pub(crate) struct Members<'a> {
    text: &'a str,
    at: usize,
    close: u8,
}

impl<'a> Members<'a> {
    /// `None` unless the text begins as an object.
    pub(crate) fn object(text: &'a str) -> Option<Self> {
        text.starts_with('{').then_some(Self { text, at: 1, close: b'}' })
    }

    /// `None` unless the text begins as an array.
    pub(crate) fn array(text: &'a str) -> Option<Self> {
        text.starts_with('[').then_some(Self { text, at: 1, close: b']' })
    }

    /// The next value of an array.
    pub(crate) fn next_value(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let mut start = skip_space(bytes, self.at);
        if bytes.get(start) == Some(&b',') {
            start = skip_space(bytes, start + 1);
        }
        if bytes.get(start)? == &self.close {
            return None;
        }
        let end = value_end(bytes, start)?;
        self.at = end;
        self.text.get(start..end)
    }

    /// The next key, as it stands with its quotes, and value of an object.
    pub(crate) fn next_pair(&mut self) -> Option<(&'a str, &'a str)> {
        let key = self.next_value()?;
        let bytes = self.text.as_bytes();
        let colon = skip_space(bytes, self.at);
        if bytes.get(colon)? != &b':' {
            return None;
        }
        self.at = colon + 1;
        let start = skip_space(bytes, self.at);
        let end = value_end(bytes, start)?;
        self.at = end;
        Some((key, self.text.get(start..end)?))
    }
}
