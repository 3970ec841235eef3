//! Rows laid out in columns, ready for a statement.

use postgres_types::Type;

use crate::decode::Candidate;
use crate::mapping::Deletes as DeletePolicy;
use crate::statements::source::id_types;
use crate::table::Table;
use crate::values::buffer::ColumnBuffer;

/// Rows to insert or update, a buffer for each column of the statements' source.
#[derive(Debug)]
pub(crate) struct Upserts {
    pub(crate) buffers: Vec<ColumnBuffer>,
    /// What parking has to know of each row; nothing where nothing is parked.
    pub(crate) keys: Option<Keys>,
}

/// What parking has to know of the rows.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The index in the batch of the record that each row comes from.
    pub(crate) origins: Vec<usize>,
    /// The rows' ids as text.
    pub(crate) row_ids: ColumnBuffer,
    pub(crate) positions: ColumnBuffer,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            origins: Vec::new(),
            row_ids: ColumnBuffer::new(Type::TEXT),
            positions: ColumnBuffer::new(Type::BYTEA),
        }
    }

    pub(crate) fn push(&mut self, candidate: &Candidate<'_>) {
        self.origins.push(candidate.index);
        self.row_ids.push_bytes(candidate.row_id.as_bytes());
        self.positions.push_bytes(candidate.envelope.position.as_bytes());
    }

    fn select(&self, rows: &[usize]) -> Self {
        Self {
            origins: rows.iter().map(|row| self.origins[*row]).collect(),
            row_ids: self.row_ids.select(rows),
            positions: self.positions.select(rows),
        }
    }
}

impl Upserts {
    /// These rows, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self {
            buffers: self.buffers.iter().map(|buffer| buffer.select(rows)).collect(),
            keys: self.keys.as_ref().map(|keys| keys.select(rows)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.buffers.first().map_or(0, ColumnBuffer::len)
    }
}

/// Rows to delete.
#[derive(Debug)]
pub(crate) struct Deletes {
    /// The index in the batch of the record that each row comes from.
    pub(crate) origins: Vec<usize>,
    /// A buffer for each of the id's columns.
    pub(crate) ids: Vec<ColumnBuffer>,
    pub(crate) row_ids: ColumnBuffer,
    pub(crate) positions: ColumnBuffer,
    /// When the documents were deleted, where the rows are to say so.
    pub(crate) times: Option<ColumnBuffer>,
}

impl Deletes {
    pub(crate) fn new(table: &Table) -> Self {
        let times = table.deletes == DeletePolicy::Soft;
        Self {
            origins: Vec::new(),
            ids: id_types(table).into_iter().map(ColumnBuffer::new).collect(),
            row_ids: ColumnBuffer::new(Type::TEXT),
            positions: ColumnBuffer::new(Type::BYTEA),
            times: times.then(|| ColumnBuffer::new(Type::TIMESTAMPTZ)),
        }
    }

    /// The statement's parameters.
    pub(crate) fn buffers(&self) -> impl Iterator<Item = &ColumnBuffer> {
        self.ids.iter().chain([&self.row_ids, &self.positions]).chain(&self.times)
    }

    /// These rows, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self {
            origins: rows.iter().map(|row| self.origins[*row]).collect(),
            ids: self.ids.iter().map(|ids| ids.select(rows)).collect(),
            row_ids: self.row_ids.select(rows),
            positions: self.positions.select(rows),
            times: self.times.as_ref().map(|times| times.select(rows)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.row_ids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.row_ids.is_empty()
    }
}
