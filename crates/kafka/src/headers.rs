use bytes::{Buf, BufMut};

/// Stands for a header without a value.
const NO_VALUE: u32 = u32::MAX;

/// Writes one header: the name's length (two bytes), the name, the value's length (four bytes), the value.
/// A name longer than 65,535 bytes is cut there; Kafka's clients do not make such names.
pub(crate) fn put(buffer: &mut impl BufMut, name: &str, value: Option<&[u8]>) {
    let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
    #[expect(clippy::cast_possible_truncation, reason = "cut to this length on the line above")]
    buffer.put_u16(name.len() as u16);
    buffer.put_slice(name);
    match value.and_then(|value| Some((u32::try_from(value.len()).ok()?, value))) {
        Some((length, value)) => {
            buffer.put_u32(length);
            buffer.put_slice(value);
        }
        None => buffer.put_u32(NO_VALUE),
    }
}

/// How many bytes [`put`] writes.
pub(crate) fn encoded_len(name: &str, value: Option<&[u8]>) -> usize {
    6 + name.len() + value.map_or(0, <[u8]>::len)
}

/// A record's headers, in their order; a value is `None` where the header has none.
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    rest: &'a [u8],
}

impl<'a> HeadersIter<'a> {
    /// Reads what this crate's consumer wrote.
    #[must_use]
    pub const fn new(headers: &'a [u8]) -> Self {
        Self { rest: headers }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(length)?;
        self.rest = tail;
        Some(head)
    }
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let name_len = usize::from(self.rest.try_get_u16().ok()?);
        let name = std::str::from_utf8(self.take(name_len)?).ok()?;
        match self.rest.try_get_u32().ok()? {
            NO_VALUE => Some((name, None)),
            length => Some((name, Some(self.take(usize::try_from(length).ok()?)?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    #[test]
    fn what_is_written_is_read() {
        let headers = [
            ("cdc-version", Some(&b"1"[..])),
            ("empty", Some(&b""[..])),
            ("none", None),
            ("", Some(&b"\xff\0"[..])),
        ];
        let mut buffer = BytesMut::new();
        for (name, value) in headers {
            let before = buffer.len();
            put(&mut buffer, name, value);
            assert_eq!(buffer.len() - before, encoded_len(name, value));
        }
        assert_eq!(HeadersIter::new(&buffer).collect::<Vec<_>>(), headers);
        assert_eq!(HeadersIter::new(&[]).next(), None);
    }

    #[test]
    fn a_cut_buffer_ends_the_list() {
        let mut buffer = BytesMut::new();
        put(&mut buffer, "a", Some(b"1"));
        put(&mut buffer, "b", Some(b"22"));
        for length in 0..buffer.len() {
            assert!(HeadersIter::new(&buffer[..length]).count() < 2);
        }
    }
}
