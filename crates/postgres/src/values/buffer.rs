//! A batch's values of one column, in PostgreSQL's binary form.
//!
//! The same bytes serve both ways into the server: behind one header they are an array's elements, and cut
//! up by row they are a COPY's fields. Either way they are copied once and parsed by nobody.

use bytes::{BufMut, Bytes, BytesMut};
use postgres_types::{IsNull, ToSql, Type, to_sql_checked};

/// Written in place of a length for NULL.
const NULL_LENGTH: i32 = -1;

/// What starts a binary COPY: signature, flags, length of the header's extension.
/// PostgreSQL manual, COPY, "Binary Format".
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What ends it: a field count of -1.
const COPY_TRAILER: i16 = -1;

/// Values are appended one a row: `[length | data]`, or a length of -1 for NULL.
#[derive(Debug)]
pub(crate) struct ColumnBuffer {
    element: Type,
    data: Vec<u8>,
    /// Where each row's value ends in `data`.
    ends: Vec<usize>,
    nulls: usize,
}

impl ColumnBuffer {
    /// An empty column of this element type.
    #[must_use]
    pub(crate) fn new(element: Type) -> Self {
        Self { element, data: Vec::new(), ends: Vec::new(), nulls: 0 }
    }

    /// Rows in it.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// True where there are none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Appends NULL.
    pub(crate) fn push_null(&mut self) {
        self.data.put_i32(NULL_LENGTH);
        self.nulls += 1;
        self.ends.push(self.data.len());
    }

    /// Appends what `write` writes. Where it fails the column is as before.
    ///
    /// # Errors
    /// Those of `write`.
    pub(crate) fn push_with<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.data.len();
        self.data.put_i32(0);
        if let Err(error) = write(&mut self.data) {
            self.data.truncate(start);
            return Err(error);
        }
        // A batch's buffer is bounded far below 2 GiB, so the length fits.
        let length = i32::try_from(self.data.len() - start - 4).unwrap_or(i32::MAX);
        self.data[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.ends.push(self.data.len());
        Ok(())
    }

    /// Appends bytes as they are.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.data.put_i32(length);
        self.data.extend_from_slice(bytes);
        self.ends.push(self.data.len());
    }

    /// Goes back to so many rows; no effect where there are fewer.
    pub(crate) fn truncate(&mut self, rows: usize) {
        while self.ends.len() > rows {
            self.ends.pop();
            let start = self.ends.last().copied().unwrap_or(0);
            if self.data[start..].starts_with(&NULL_LENGTH.to_be_bytes()) {
                self.nulls -= 1;
            }
            self.data.truncate(start);
        }
    }

    /// A column of these rows of this one, in their order.
    #[must_use]
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let mut selected = Self::new(self.element.clone());
        for row in rows {
            let field = self.field(*row);
            selected.nulls += usize::from(field.starts_with(&NULL_LENGTH.to_be_bytes()));
            selected.data.extend_from_slice(field);
            selected.ends.push(selected.data.len());
        }
        selected
    }

    /// One row's value, without its length; `None` for NULL.
    #[must_use]
    pub(crate) fn value(&self, row: usize) -> Option<&[u8]> {
        let field = self.field(row);
        (!field.starts_with(&NULL_LENGTH.to_be_bytes())).then(|| &field[NULL_LENGTH.to_be_bytes().len()..])
    }

    /// One row's value with its length in front.
    fn field(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.data[start..self.ends[row]]
    }
}

/// A one-dimensional array (`array_send` in PostgreSQL's source): dimensions, whether NULLs are in it, the
/// element's type, the length and the lower bound, then the elements.
impl ToSql for ColumnBuffer {
    fn to_sql(
        &self,
        _type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.reserve(20 + self.data.len());
        out.put_i32(i32::from(!self.is_empty()));
        out.put_i32(i32::from(self.nulls > 0));
        out.put_u32(self.element.oid());
        if !self.is_empty() {
            out.put_i32(i32::try_from(self.len())?);
            out.put_i32(1);
            out.put_slice(&self.data);
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // The element's type is the buffer's own, and every statement declares its parameters by it.
        true
    }

    to_sql_checked!();
}

/// All columns together as a binary COPY's data, header and trailer included, in pieces: the whole of it would
/// double what the columns hold. A row that is larger than a piece is a piece of its own.
pub(crate) fn copy_pieces(columns: &[ColumnBuffer], piece_bytes: usize) -> impl Iterator<Item = Bytes> {
    let rows = columns.first().map_or(0, ColumnBuffer::len);
    // PostgreSQL tables have at most 1,600 columns.
    let count = i16::try_from(columns.len()).unwrap_or(i16::MAX);
    let payload: usize = columns.iter().map(|column| column.data.len()).sum();
    let mut left = COPY_HEADER.len() + payload + size_of_val(&count) * (rows + 1);
    let (mut row, mut is_begun, mut is_done) = (0, false, false);
    std::iter::from_fn(move || {
        if is_done {
            return None;
        }
        let mut out = BytesMut::with_capacity(piece_bytes.min(left));
        if !std::mem::replace(&mut is_begun, true) {
            out.put_slice(COPY_HEADER);
        }
        let first = row;
        while row < rows {
            let row_bytes = 2 + columns.iter().map(|column| column.field(row).len()).sum::<usize>();
            if row > first && out.len() + row_bytes > piece_bytes {
                left -= out.len();
                return Some(out.freeze());
            }
            out.put_i16(count);
            for column in columns {
                out.put_slice(column.field(row));
            }
            row += 1;
        }
        out.put_i16(COPY_TRAILER);
        is_done = true;
        Some(out.freeze())
    })
}

#[cfg(test)]
mod tests {
    use postgres_types::FromSql;

    use super::*;

    fn sample() -> ColumnBuffer {
        let mut column = ColumnBuffer::new(Type::TEXT);
        column.push_bytes(b"one");
        column.push_null();
        column.push_bytes(b"");
        column
    }

    #[test]
    fn an_array_reads_back() {
        let mut out = BytesMut::new();
        sample().to_sql(&Type::TEXT_ARRAY, &mut out).unwrap();
        let back = Vec::<Option<String>>::from_sql(&Type::TEXT_ARRAY, &out).unwrap();
        assert_eq!(back, [Some("one".to_owned()), None, Some(String::new())]);
    }

    #[test]
    fn an_empty_array_has_no_dimension() {
        let mut out = BytesMut::new();
        ColumnBuffer::new(Type::INT8).to_sql(&Type::INT8_ARRAY, &mut out).unwrap();
        assert_eq!(&out[..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20]);
    }

    #[test]
    fn a_failed_value_leaves_no_trace() {
        let mut column = sample();
        let before = column.data.clone();
        let failed = column.push_with(|out| {
            out.extend_from_slice(b"half");
            Err::<(), &str>("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(column.data, before);
        assert_eq!(column.len(), 3);
    }

    #[test]
    fn truncating_restores_the_count_of_nulls() {
        let mut column = sample();
        column.truncate(1);
        assert_eq!((column.len(), column.nulls), (1, 0));
        let mut out = BytesMut::new();
        column.to_sql(&Type::TEXT_ARRAY, &mut out).unwrap();
        assert_eq!(Vec::<String>::from_sql(&Type::TEXT_ARRAY, &out).unwrap(), ["one"]);
        column.truncate(0);
        assert!(column.is_empty() && column.data.is_empty());
    }

    #[test]
    fn chosen_rows_keep_their_values() {
        let chosen = sample().select(&[1, 0]);
        assert_eq!((chosen.value(0), chosen.value(1)), (None, Some(&b"one"[..])));
        assert_eq!((chosen.len(), chosen.nulls), (2, 1));
    }

    #[test]
    fn copy_rows_interleave_the_columns() {
        let mut left = ColumnBuffer::new(Type::TEXT);
        left.push_bytes(b"a");
        left.push_null();
        let mut right = ColumnBuffer::new(Type::BOOL);
        right.push_bytes(&[1]);
        right.push_bytes(&[0]);
        let columns = [left, right];
        let data: Vec<u8> = copy_pieces(&columns, 1_024).flatten().collect();
        let body = &data[COPY_HEADER.len()..];
        assert_eq!(&data[..11], b"PGCOPY\n\xff\r\n\0");
        assert_eq!(
            body,
            [
                0, 2, 0, 0, 0, 1, b'a', 0, 0, 0, 1, 1, // first row
                0, 2, 255, 255, 255, 255, 0, 0, 0, 1, 0, // second row
                255, 255, // trailer
            ]
        );
    }

    #[test]
    fn copy_pieces_are_cut_between_rows() {
        let columns = [sample()];
        let whole: Vec<u8> = copy_pieces(&columns, 1_024).flatten().collect();
        for (piece_bytes, count) in [(1, 3), (28, 2), (34, 2), (43, 1)] {
            let pieces: Vec<Bytes> = copy_pieces(&columns, piece_bytes).take(10).collect();
            assert_eq!(pieces.len(), count, "{piece_bytes}");
            assert_eq!(pieces.concat(), whole, "{piece_bytes}");
        }
    }
}
