//! Which of a document's values goes to which column of a table.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use cdc_event::{BsonType, Envelope, Fields, FullDocument, Member, TypeIndex, lookup};
use cdc_syncer::Reject;
use foldhash::fast::RandomState;

use crate::decode::no_row::NoRow;
use crate::table::Table;
use crate::table::column::{Closed, ClosedBecause};
use crate::table::column_type::ColumnType;
use crate::table::fields::{Below, FieldTarget};
use crate::tables::inspections::Names;
use crate::values::items::items;
use crate::values::pointers::document_field;

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
}

/// One document's values, by the columns that take them. What it remembers of one document is reused for the next.
#[derive(Debug)]
pub(crate) struct DocumentValues<'t, 'a> {
    table: &'t Table,
    /// The values, as JSON.
    pub(crate) json: Vec<Option<&'a str>>,
    /// Their types, where the spelling does not show them.
    pub(crate) types: Vec<Option<BsonType>>,
    /// The types of the values in arrays, likewise, by column.
    pub(crate) element_types: Vec<(usize, String, BsonType)>,
    /// Columns that no document has fed before and that the document has values for.
    pub(crate) feeding: Vec<usize>,
    /// The document's fields that go to columns of other names.
    folded: Vec<(Cow<'a, str>, &'a str, FieldTarget)>,
    /// What names come to that no column bears, looked up once for all documents.
    folds: HashMap<String, Option<FieldTarget>, RandomState>,
    /// Fields that are known to have no column.
    absent: Option<&'t Names>,
    /// Fields without a column that are not known yet.
    pub(crate) unknown: BTreeSet<String>,
    /// Fields that the column of their folded name did not take, because the document has a field of that very name.
    pub(crate) shadowed: BTreeSet<(String, usize)>,
}

impl<'t, 'a> DocumentValues<'t, 'a> {
    pub(crate) fn new(table: &'t Table, absent: Option<&'t Names>) -> Self {
        let columns = table.columns.len();
        Self {
            table,
            json: vec![None; columns],
            types: vec![None; columns],
            element_types: Vec::new(),
            feeding: Vec::new(),
            folded: Vec::new(),
            folds: HashMap::default(),
            absent,
            unknown: BTreeSet::new(),
            shadowed: BTreeSet::new(),
        }
    }

    /// Sorts the document's values to their columns.
    pub(crate) fn load(&mut self, envelope: &Envelope<'a>, sidecar: &TypeIndex) -> Result<(), NoRow> {
        self.json.fill(None);
        self.types.fill(None);
        self.element_types.clear();
        self.feeding.clear();
        self.folded.clear();
        let table = self.table;
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
            match table.fields().get(&name) {
                Some(target) => self.take(target, json)?,
                None => self.take_unnamed(name, json),
            }
        }
        if !self.folded.is_empty() {
            self.take_folded()?;
        }
        for column in table.fields().whole() {
            self.put(*column, document)?;
        }
        for (pointer, bson_type) in sidecar.iter() {
            self.note_type(pointer, bson_type)?;
        }
        Ok(())
    }

    fn take(&mut self, target: FieldTarget, json: &'a str) -> Result<(), NoRow> {
        match target {
            FieldTarget::Column(index) => self.put_fed(index, json),
            FieldTarget::Unfed(index) => {
                self.put_fed(index, json)?;
                self.feeding.push(index);
                Ok(())
            }
            FieldTarget::Closed(index) => {
                let closed = &self.table.closed[index];
                let shows_null = matches!(closed.because, ClosedBecause::Type { shows_null: true, .. });
                if json == "null" && shows_null { Ok(()) } else { Err(NoRow::closed(self.table, closed)) }
            }
            FieldTarget::Below(place) => {
                for Below { column, keys, .. } in self.table.fields().below(place) {
                    if let Some(found) = descend(json, keys) {
                        self.put(*column, found)?;
                    }
                }
                Ok(())
            }
        }
    }

    fn put_fed(&mut self, index: usize, json: &'a str) -> Result<(), NoRow> {
        match self.json[index].replace(json) {
            None => Ok(()),
            Some(_) => Err(NoRow::new(Reject::Malformed, "the document names a field twice")),
        }
    }

    fn put(&mut self, index: usize, json: &'a str) -> Result<(), NoRow> {
        self.put_fed(index, json)?;
        if !self.table.columns[index].fed {
            self.feeding.push(index);
        }
        Ok(())
    }

    /// A field that no column bears the name of.
    fn take_unnamed(&mut self, name: Cow<'a, str>, json: &'a str) {
        if self.absent.is_some_and(|absent| absent.contains(&*name)) || name == "_id" {
            return;
        }
        let known = self.folds.get(&*name).copied();
        let target = known.unwrap_or_else(|| {
            let found = self.table.fields().folded(&name);
            if self.folds.len() < UNKNOWN_MAX {
                self.folds.insert(name.clone().into_owned(), found);
            }
            found
        });
        match target {
            Some(target) => self.folded.push((name, json, target)),
            None if self.absent.is_some()
                && self.unknown.len() < UNKNOWN_MAX
                && !self.unknown.contains(&*name) =>
            {
                self.unknown.insert(name.into_owned());
            }
            None => {}
        }
    }

    /// A column takes the field of its very name before any other. Of two others it takes neither: nobody could say which.
    fn take_folded(&mut self) -> Result<(), NoRow> {
        let folded = std::mem::take(&mut self.folded);
        for (number, (name, json, target)) in folded.iter().enumerate() {
            let rival = folded[..number].iter().find(|(_, _, of)| of == target && self.is_taken(*of));
            if let (Some((rival, _, _)), FieldTarget::Column(index) | FieldTarget::Unfed(index)) =
                (rival, target)
            {
                let column = &self.table.columns[*index].name;
                return Err(NoRow::new(
                    Reject::TypeConflict,
                    format!(
                        "{}, column {column}: the document has fields {rival:?} and {name:?}, whose names both come to it, and \
                         none of its very name; name the one that is meant under tables:",
                        self.table.label()
                    ),
                ));
            }
            if let FieldTarget::Column(index) | FieldTarget::Unfed(index) = target
                && self.json[*index].is_some()
            {
                if self.shadowed.len() < UNKNOWN_MAX {
                    self.shadowed.insert((name.clone().into_owned(), *index));
                }
                continue;
            }
            self.take(*target, json)?;
            self.folded.push((name.clone(), *json, *target));
        }
        Ok(())
    }

    /// True where a folded field has gone to it already.
    fn is_taken(&self, target: FieldTarget) -> bool {
        self.folded.iter().any(|(_, _, taken)| *taken == target)
    }

    fn note_type(&mut self, pointer: &str, bson_type: BsonType) -> Result<(), NoRow> {
        let Some((field, rest)) = document_field(pointer) else { return Ok(()) };
        // What is deep inside a column of JSON needs no type.
        if !rest.is_empty() && !self.table.fields().goes_deep() {
            return Ok(());
        }
        let target =
            self.table.fields().get(&field).or_else(|| {
                self.folded.iter().find(|(name, _, _)| *name == field).map(|(_, _, target)| *target)
            });
        match target {
            Some(FieldTarget::Column(index) | FieldTarget::Unfed(index)) => self.note(index, rest, bson_type),
            Some(FieldTarget::Below(place)) => {
                for Below { column, pointer, .. } in self.table.fields().below(place) {
                    if let Some(rest) = rest.strip_prefix(pointer.as_str()) {
                        self.note(*column, rest, bson_type);
                    }
                }
            }
            // What has a type of its own is no null, whatever its spelling.
            Some(FieldTarget::Closed(index)) if rest.is_empty() => {
                return Err(NoRow::closed(self.table, &self.table.closed[index]));
            }
            Some(FieldTarget::Closed(_)) | None => {}
        }
        Ok(())
    }

    fn note(&mut self, index: usize, rest: &str, bson_type: BsonType) {
        if rest.is_empty() {
            self.types[index] = Some(bson_type);
        } else if rest.starts_with('/')
            && matches!(self.table.columns[index].column_type, ColumnType::Array(_))
        {
            self.element_types.push((index, rest.to_owned(), bson_type));
        }
    }
}

/// What stands at the end of these keys; a key of digits counts the values of an array.
fn descend<'a>(json: &'a str, keys: &[String]) -> Option<&'a str> {
    let Some((key, rest)) = keys.split_first() else { return Some(json) };
    let found = if json.starts_with('[') {
        let number: usize = key.parse().ok().filter(|number: &usize| number.to_string() == *key)?;
        items(json)?.into_iter().nth(number)?
    } else {
        lookup(json, &[key])?
    };
    descend(found, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_into_documents_and_arrays() {
        let json = "{\"a\":{\"0\":7,\"b\":[1,{\"c\":\"x\"}]},\"n\":null}";
        let at = |path: &str| descend(json, &path.split('.').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(at("a.b.1.c"), Some("\"x\""));
        assert_eq!(at("a.0"), Some("7"));
        assert_eq!(at("n"), Some("null"));
        for missing in ["a.b.2", "a.b.01", "a.b.c", "n.a", "b", "a.0.b"] {
            assert_eq!(at(missing), None, "{missing}");
        }
    }
}
