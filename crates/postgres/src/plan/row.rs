//! Writes one record's row into the columns' buffers, all of it or nothing.

use cdc_event::{BsonType, Envelope, FullDocument, TypeIndex, Value};
use cdc_syncer::Reject;

use crate::decode::Candidate;
use crate::decode::no_row::NoRow;
use crate::plan::document::DocumentValues;
use crate::plan::rows::{Deletes, Upserts};
use crate::statements::source::Content;
use crate::table::Table;
use crate::table::column::{Column, ColumnDefault, Origin};
use crate::table::column_type::ColumnType;
use crate::tables::inspections::Names;
use crate::tables::target::Target;
use crate::values::buffer::ColumnBuffer;
use crate::values::pointers::mirrored_types;
use crate::values::row_id::{self, IdParts, NoPlace, RowId};
use crate::values::value_to_column::{self, Mismatch, write_document, write_instant};
use crate::values::{array, coerce};

impl NoRow {
    fn of(mismatch: Mismatch, table: &Table, column: &Column, value: &str) -> Self {
        Self::new(
            mismatch.reason,
            format!(
                "{}, column {} ({}), value of type {value}: {}",
                table.label(),
                column.name,
                column.column_type.name(),
                mismatch.what
            ),
        )
    }
}

/// Writes the rows of one table. What it remembers of one record is reused for the next.
#[derive(Debug)]
pub(crate) struct RowWriter<'t, 'a> {
    target: &'t Target,
    written_at: i64,
    /// The document's values.
    found: DocumentValues<'t, 'a>,
    /// The fields of a composed `_id`.
    id_parts: IdParts,
    /// Those of all documents whose rows were appended, without repetition.
    fed: Vec<usize>,
    /// Columns that no document has fed before, and that allow no row without a value.
    wanted: Vec<usize>,
    sidecar: TypeIndex,
}

impl<'t, 'a> RowWriter<'t, 'a> {
    /// `absent` are the fields that were looked for in the table in vain.
    pub(crate) fn new(target: &'t Target, written_at: i64, absent: Option<&'t Names>) -> Self {
        let columns = target.table.columns.len();
        let is_wanted =
            |column: &Column| !column.fed && column.not_null && column.default == ColumnDefault::None;
        let wanted = (0..columns).filter(|index| is_wanted(&target.table.columns[*index])).collect();
        Self {
            target,
            written_at,
            found: DocumentValues::new(&target.table, absent),
            id_parts: IdParts::of(&target.table),
            fed: Vec::new(),
            wanted,
            sidecar: TypeIndex::default(),
        }
    }

    /// The fields that have no column, as far as is known, and were not looked for yet; and those that another field of their
    /// document kept from the column that their name comes to, with that column.
    pub(crate) fn into_unknown(self) -> (Vec<String>, Vec<(String, String)>) {
        let columns = &self.target.table.columns;
        let shadowed =
            self.found.shadowed.into_iter().map(|(field, index)| (field, columns[index].name.clone()));
        (self.found.unknown.into_iter().collect(), shadowed.collect())
    }

    /// Appends a row to insert or update.
    pub(crate) fn upsert(&mut self, candidate: &Candidate<'a>, upserts: &mut Upserts) -> Result<(), NoRow> {
        self.load_types(&candidate.envelope)?;
        if !self.target.table.mirror {
            self.found.load(&candidate.envelope, &self.sidecar)?;
        }
        let rows = upserts.len();
        let appended = self.try_feeding().and_then(|()| self.append(candidate, &mut upserts.buffers));
        match appended {
            Ok(()) => {
                for index in &self.found.feeding {
                    if !self.fed.contains(index) {
                        self.fed.push(*index);
                    }
                }
            }
            Err(_) => upserts.buffers.iter_mut().for_each(|buffer| buffer.truncate(rows)),
        }
        appended
    }

    /// The columns that the appended rows' documents have fields for and that no document has fed before: these
    /// rows lack them.
    pub(crate) fn newly_fed(&self) -> Vec<String> {
        self.fed.iter().map(|index| self.target.table.columns[*index].name.clone()).collect()
    }

    /// Fields of columns that no document has fed before must fit them, too: a document that cannot be written
    /// feeds nothing.
    fn try_feeding(&self) -> Result<(), NoRow> {
        for index in &self.found.feeding {
            let column = &self.target.table.columns[*index];
            self.push_field(*index, column, &mut ColumnBuffer::new(column.column_type.wire()))?;
        }
        let lacking = self.wanted.iter().find(|index| !self.found.feeding.contains(index));
        match lacking.map(|index| &self.target.table.columns[*index]) {
            Some(column) => Err(self.missing(column, "the field is absent and the column has no default")),
            None => Ok(()),
        }
    }

    /// Appends a row to delete.
    pub(crate) fn delete(&mut self, candidate: &Candidate<'a>, deletes: &mut Deletes) -> Result<(), NoRow> {
        self.load_types(&candidate.envelope)?;
        let rows = deletes.len();
        for (id, buffer) in self.target.table.ids().iter().enumerate().zip(&mut deletes.ids) {
            if let Err(no_row) = self.push_id(candidate, id, buffer) {
                deletes.ids.iter_mut().for_each(|buffer| buffer.truncate(rows));
                return Err(no_row);
            }
        }
        if let Some(times) = &mut deletes.times {
            push(times, |out| write_instant(i64::from(candidate.envelope.cluster_time.t) * 1_000_000, out));
        }
        deletes.row_ids.push_bytes(candidate.row_id.as_bytes());
        deletes.positions.push_bytes(candidate.envelope.position.as_bytes());
        Ok(())
    }

    fn load_types(&mut self, envelope: &Envelope<'a>) -> Result<(), NoRow> {
        self.sidecar
            .load(envelope.bson_types)
            .map_err(|error| NoRow::new(Reject::Malformed, error.to_string()))
    }

    fn append(&self, candidate: &Candidate<'a>, buffers: &mut [ColumnBuffer]) -> Result<(), NoRow> {
        for (source, buffer) in self.target.statements.source.iter().zip(buffers) {
            match source.content {
                Content::RowId => buffer.push_bytes(candidate.row_id.as_bytes()),
                Content::Value(index) => self.push_value(candidate, index, buffer)?,
            }
        }
        Ok(())
    }

    fn push_value(
        &self,
        candidate: &Candidate<'a>,
        index: usize,
        buffer: &mut ColumnBuffer,
    ) -> Result<(), NoRow> {
        let column = &self.target.table.columns[index];
        let envelope = &candidate.envelope;
        match column.origin {
            Origin::Id => self.push_id(candidate, (index, column), buffer),
            Origin::Field => self.push_field(index, column, buffer),
            Origin::Document => {
                if let FullDocument::Present(json) = envelope.full_document {
                    push(buffer, |out| {
                        write_document(json, out);
                    });
                }
                Ok(())
            }
            Origin::BsonTypes => {
                match mirrored_types(envelope, &self.sidecar) {
                    Some(sidecar) => push(buffer, |out| {
                        write_document(&sidecar, out);
                    }),
                    None => buffer.push_null(),
                }
                Ok(())
            }
            Origin::UpdatedAt => {
                push(buffer, |out| write_instant(i64::from(envelope.cluster_time.t) * 1_000_000, out));
                Ok(())
            }
            Origin::Operation => {
                buffer.push_bytes(envelope.operation.name().as_bytes());
                Ok(())
            }
            Origin::WrittenAt => {
                push(buffer, |out| write_instant(self.written_at, out));
                Ok(())
            }
            Origin::DeletedAt => {
                buffer.push_null();
                Ok(())
            }
            Origin::Position => {
                buffer.push_bytes(envelope.position.as_bytes());
                Ok(())
            }
        }
    }

    fn push_id(
        &self,
        candidate: &Candidate<'a>,
        (place, column): (usize, &Column),
        buffer: &mut ColumnBuffer,
    ) -> Result<(), NoRow> {
        let (text, envelope) = (&*candidate.row_id, Some(&candidate.envelope));
        let id = RowId { text, envelope, types: &self.sidecar };
        row_id::push(id, place, column, &self.id_parts, buffer).map_err(|NoPlace { reason, what }| {
            let (label, name, of) = (self.target.table.label(), &column.name, column.column_type.name());
            NoRow::new(
                reason,
                format!("{label}, column {name} ({of}), which takes the document's {}: {what}", column.path),
            )
        })
    }

    fn push_field(&self, index: usize, column: &Column, buffer: &mut ColumnBuffer) -> Result<(), NoRow> {
        let bson_type = self.found.types[index];
        let what = match (self.found.json[index], &column.default) {
            (None, ColumnDefault::Constant(value)) => {
                buffer.push_bytes(value);
                return Ok(());
            }
            (None, ColumnDefault::None | ColumnDefault::Changing) if !column.not_null => {
                buffer.push_null();
                return Ok(());
            }
            (None, ColumnDefault::None) => "the field is absent and the column has no default",
            (None, ColumnDefault::Changing) => {
                "the field is absent, other documents have it, and the column's default is not constant"
            }
            (Some("null"), _) if bson_type.is_none() && !column.not_null => {
                buffer.push_null();
                return Ok(());
            }
            (Some("null"), _) if bson_type.is_none() => "the field is null",
            (Some(json), _) => {
                return self.push_converted((index, column), (json, bson_type), buffer);
            }
        };
        Err(self.missing(column, what))
    }

    fn push_converted(
        &self,
        (index, column): (usize, &Column),
        (json, bson_type): (&str, Option<BsonType>),
        buffer: &mut ColumnBuffer,
    ) -> Result<(), NoRow> {
        let read = Value::read(json, bson_type).map_err(|_| {
            NoRow::new(
                Reject::Malformed,
                format!(
                    "the value for column {} and its entry in bson_types do not go together",
                    column.name
                ),
            )
        })?;
        let spelled = column.coerced.then(|| coerce::read(&read, &column.column_type)).flatten();
        let value = spelled.as_ref().unwrap_or(&read);
        buffer
            .push_with(|out| {
                if let ColumnType::Array(array) = &column.column_type {
                    let types = (index, self.found.element_types.as_slice());
                    return array::write(value, array, column.coerced, types, out);
                }
                value_to_column::write(value, json, &column.column_type, out)
            })
            .map_err(|mismatch| NoRow::of(mismatch, &self.target.table, column, value.type_name()))
    }

    fn missing(&self, column: &Column, what: &str) -> NoRow {
        NoRow::new(
            Reject::MissingValue,
            format!("{}, column {}, which is NOT NULL: {what}", self.target.table.label(), column.name),
        )
    }
}

/// Appends a value whose writing cannot fail.
fn push(buffer: &mut ColumnBuffer, write: impl FnOnce(&mut Vec<u8>)) {
    let written: Result<(), std::convert::Infallible> = buffer.push_with(|out| {
        write(out);
        Ok(())
    });
    match written {
        Ok(()) => {}
        Err(never) => match never {},
    }
}
