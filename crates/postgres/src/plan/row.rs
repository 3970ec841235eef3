//! Writes one record's row into the columns' buffers, all of it or nothing.

use std::collections::BTreeSet;

use cdc_event::{BsonType, Envelope, Fields, FullDocument, Member, TypeIndex, Value, lookup};
use cdc_syncer::Reject;

use crate::decode::Candidate;
use crate::decode::no_row::NoRow;
use crate::plan::rows::{Deletes, Upserts};
use crate::statements::source::Content;
use crate::table::{Closed, ClosedBecause, Column, ColumnDefault, ColumnType, FieldTarget, Origin, Table};
use crate::tables::inspections::Names;
use crate::tables::target::Target;
use crate::values::buffer::ColumnBuffer;
use crate::values::id_to_column;
use crate::values::pointers::{document_field, mirrored_types};
use crate::values::value_to_column::{self, Mismatch, write_document, write_instant, write_text};

/// Unknown fields of one batch that are looked for at once.
const UNKNOWN_MAX: usize = 1_000;

impl NoRow {
    fn closed(table: &Table, closed: &Closed) -> Self {
        let (label, name) = (table.label(), &closed.name);
        let detail = match &closed.because {
            ClosedBecause::Generated => format!(
                "{label}, column {name}: the column is generated, so that the document's field of its name cannot \
                 be written to it"
            ),
            ClosedBecause::AlwaysIdentity => format!(
                "{label}, column {name}: the column is GENERATED ALWAYS AS IDENTITY, so that the document's field \
                 of its name cannot be written to it; BY DEFAULT would let it"
            ),
            ClosedBecause::Type { name: column_type, shows_null: true } => format!(
                "{label}, column {name}: nothing but NULL can be written to a column of type {column_type}"
            ),
            ClosedBecause::Type { name: column_type, shows_null: false } => {
                format!("{label}, column {name}: nothing can be written to a column of type {column_type}")
            }
        };
        Self::new(Reject::TypeConflict, detail)
    }

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
    /// The document's fields, by the column that takes them.
    fields: Vec<Option<&'a str>>,
    /// Their types, where the spelling does not show them.
    types: Vec<Option<BsonType>>,
    /// Columns that no document has fed before and that the document at hand has fields for.
    feeding: Vec<usize>,
    /// Those of all documents whose rows were appended, without repetition.
    fed: Vec<usize>,
    /// Columns that no document has fed before, and that allow no row without a value.
    wanted: Vec<usize>,
    sidecar: TypeIndex,
    /// Fields that are known to have no column.
    absent: Option<&'t Names>,
    /// Fields without a column that are not known yet.
    unknown: BTreeSet<String>,
}

impl<'t, 'a> RowWriter<'t, 'a> {
    pub(crate) fn new(target: &'t Target, written_at: i64) -> Self {
        let columns = target.table.columns.len();
        let is_wanted =
            |column: &Column| !column.fed && column.not_null && column.default == ColumnDefault::None;
        let wanted = (0..columns).filter(|index| is_wanted(&target.table.columns[*index])).collect();
        Self {
            target,
            written_at,
            fields: vec![None; columns],
            types: vec![None; columns],
            feeding: Vec::new(),
            fed: Vec::new(),
            wanted,
            sidecar: TypeIndex::default(),
            absent: None,
            unknown: BTreeSet::new(),
        }
    }

    /// The same, of a table in which these fields were looked for in vain.
    pub(crate) fn knowing(self, absent: &'t Names) -> Self {
        Self { absent: Some(absent), ..self }
    }

    /// The fields that have no column, as far as is known, and were not looked for yet.
    pub(crate) fn into_unknown(self) -> Vec<String> {
        self.unknown.into_iter().collect()
    }

    /// Appends a row to insert or update.
    pub(crate) fn upsert(&mut self, candidate: &Candidate<'a>, upserts: &mut Upserts) -> Result<(), NoRow> {
        self.load_types(&candidate.envelope)?;
        if !self.target.table.mirror {
            self.find_fields(&candidate.envelope)?;
        }
        let rows = upserts.len();
        let appended = self.try_feeding().and_then(|()| self.append(candidate, &mut upserts.buffers));
        match appended {
            Ok(()) => {
                for index in &self.feeding {
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
        for index in &self.feeding {
            let column = &self.target.table.columns[*index];
            self.push_field(*index, column, &mut ColumnBuffer::new(column.column_type.wire()))?;
        }
        let lacking = self.wanted.iter().find(|index| !self.feeding.contains(index));
        match lacking.map(|index| &self.target.table.columns[*index]) {
            Some(column) => Err(self.missing(column, "the field is absent and the column has no default")),
            None => Ok(()),
        }
    }

    /// Appends a row to delete.
    pub(crate) fn delete(&mut self, candidate: &Candidate<'a>, deletes: &mut Deletes) -> Result<(), NoRow> {
        self.load_types(&candidate.envelope)?;
        let Some(id) = self.target.table.columns.first() else { return Ok(()) };
        self.push_id(candidate, id, &mut deletes.ids)?;
        deletes.row_ids.push_bytes(candidate.row_id.as_bytes());
        deletes.positions.push_bytes(candidate.envelope.position.as_bytes());
        Ok(())
    }

    /// True where the field is not known to have no column, so that it has to be looked for.
    fn is_news(&self, name: &str) -> bool {
        self.absent.is_some_and(|absent| !absent.contains(name))
            && name != "_id"
            && self.unknown.len() < UNKNOWN_MAX
            && !self.unknown.contains(name)
    }

    fn load_types(&mut self, envelope: &Envelope<'a>) -> Result<(), NoRow> {
        self.sidecar
            .load(envelope.bson_types)
            .map_err(|error| NoRow::new(Reject::Malformed, error.to_string()))
    }

    /// Sorts the document's fields to their columns.
    fn find_fields(&mut self, envelope: &Envelope<'a>) -> Result<(), NoRow> {
        self.fields.fill(None);
        self.types.fill(None);
        self.feeding.clear();
        let table = &self.target.table;
        if envelope.raw_bson_of(Member::FullDocument).is_some() {
            return Err(NoRow::new(
                Reject::TypeConflict,
                format!(
                    "{}: the document has duplicate fields, invalid UTF-8 or irregular arrays, which only a \
                     mirror table can hold",
                    table.label()
                ),
            ));
        }
        let FullDocument::Present(document) = envelope.full_document else {
            return Err(NoRow::new(Reject::Malformed, "the message has no full_document"));
        };
        for (name, json) in Fields::of(document) {
            match table.field(&name) {
                Some(FieldTarget::Column(index)) => self.find_field(index, json)?,
                Some(FieldTarget::Unfed(index)) => {
                    self.find_field(index, json)?;
                    self.feeding.push(index);
                }
                Some(FieldTarget::Closed(index)) => {
                    let closed = &table.closed[index];
                    let shows_null = matches!(closed.because, ClosedBecause::Type { shows_null: true, .. });
                    if json != "null" || !shows_null {
                        return Err(NoRow::closed(table, closed));
                    }
                }
                None if self.is_news(&name) => {
                    self.unknown.insert(name.into_owned());
                }
                None => {}
            }
        }
        for (pointer, bson_type) in self.sidecar.iter() {
            if let Some(FieldTarget::Column(index) | FieldTarget::Unfed(index)) =
                document_field(pointer).and_then(|field| table.field(&field))
            {
                self.types[index] = Some(bson_type);
            }
        }
        Ok(())
    }

    fn find_field(&mut self, index: usize, json: &'a str) -> Result<(), NoRow> {
        match self.fields[index].replace(json) {
            None => Ok(()),
            Some(_) => Err(NoRow::new(Reject::Malformed, "the document names a field twice")),
        }
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
            Origin::Id => self.push_id(candidate, column, buffer),
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
            Origin::Position => {
                buffer.push_bytes(envelope.position.as_bytes());
                Ok(())
            }
        }
    }

    fn push_id(
        &self,
        candidate: &Candidate<'a>,
        column: &Column,
        buffer: &mut ColumnBuffer,
    ) -> Result<(), NoRow> {
        let table = &self.target.table;
        if let ColumnType::Text { max_chars, .. } = column.column_type {
            return buffer
                .push_with(|out| write_text(&candidate.row_id, max_chars, out))
                .map_err(|mismatch| NoRow::of(mismatch, table, column, "_id"));
        }
        let json = candidate
            .envelope
            .document_key
            .and_then(|key| lookup(key, &["_id"]))
            .ok_or_else(|| NoRow::new(Reject::Malformed, "the message has no document_key._id"))?;
        if candidate.envelope.raw_bson_of(Member::DocumentKey).is_some() {
            return Err(NoRow::new(
                Reject::TypeConflict,
                format!(
                    "{}: the document key has values that its JSON does not show, and which only an id column of \
                     type text tells apart",
                    table.label()
                ),
            ));
        }
        let bson_type = self.sidecar.get(Member::DocumentKey, &["_id"]);
        push_converted(table, column, (json, bson_type), buffer, id_to_column::write)
    }

    fn push_field(&self, index: usize, column: &Column, buffer: &mut ColumnBuffer) -> Result<(), NoRow> {
        let bson_type = self.types[index];
        let what = match (self.fields[index], &column.default) {
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
                return push_converted(
                    &self.target.table,
                    column,
                    (json, bson_type),
                    buffer,
                    value_to_column::write,
                );
            }
        };
        Err(self.missing(column, what))
    }

    fn missing(&self, column: &Column, what: &str) -> NoRow {
        NoRow::new(
            Reject::MissingValue,
            format!("{}, column {}, which is NOT NULL: {what}", self.target.table.label(), column.name),
        )
    }
}

/// Appends a value in a column's binary form.
type Write = fn(&Value<'_>, &str, &ColumnType, &mut Vec<u8>) -> Result<(), Mismatch>;

fn push_converted(
    table: &Table,
    column: &Column,
    (json, bson_type): (&str, Option<BsonType>),
    buffer: &mut ColumnBuffer,
    write: Write,
) -> Result<(), NoRow> {
    let value = Value::read(json, bson_type).map_err(|_| {
        NoRow::new(
            Reject::Malformed,
            format!("the value for column {} and its entry in bson_types do not go together", column.name),
        )
    })?;
    buffer
        .push_with(|out| write(&value, json, &column.column_type, out))
        .map_err(|mismatch| NoRow::of(mismatch, table, column, value.type_name()))
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
