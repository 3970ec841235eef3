//! `tables` of the Syncer: what is said of single collections' tables.

use std::collections::BTreeMap;

use cdc_machine::{Key, Visitor as _, options};
use cdc_postgres::{ColumnMapping, Deletes, FieldPath, Namespace, Settings, TableMapping};

use super::described::{Described, Preset, Shape};
use super::namespaces::Namespaces;
use super::section::{Section, read_tree};
use super::tree::{Content, Node, Origin};

/// What is said of some topics' tables.
pub(super) type Tables = BTreeMap<String, TableMapping>;

options! {
    /// One entry of `tables`.
    #[derive(Debug)]
    struct TableOptions for Section<'_> {
        /// The collection that the entry is about: its name, or `database.collection` where several databases have one.
        collection: Option<String> = None => text("collection", Preset::Required),
        /// The table, or `schema.table`.
        table: Option<String> = None => text("table", Preset::Said("the collection's name")),
        /// What each column takes: `{column: path}`. A path is a field, keys with dots down to one (`stats.level`; a number
        /// counts an array's values), `_id`, a field of a composed `_id` (`_id.tenant`), or `$` for the whole document. Columns
        /// that are not named are left alone, but for the pipeline's own. See docs/tables.md.
        columns: Option<Vec<(String, String)>> = None => columns("columns"),
        /// Columns that are left alone: others fill them.
        leave: Vec<String> = Vec::new() => names("leave"),
        /// Columns that take a value by its spelling, too: a UUID's or a time stamp's text, 0 and 1. See docs/tables.md.
        coerce: Vec<String> = Vec::new() => names("coerce"),
        /// What a deleted document does to its row.
        deletes: Deletes = Deletes::default() => word("deletes"),
    }
}

/// What the entries of `tables` are, for whoever describes the configuration.
pub(super) fn described() -> Vec<Described> {
    let empty = Node::section(Origin::Flag("tables".into()));
    read_tree(&empty, |entry| TableOptions::default().visit(entry)).options
}

/// Reads `tables`, for the collections that these topics carry.
pub(super) fn read(syncer: &mut Section<'_>, bound: &Namespaces) -> Tables {
    const TABLES: Key = Key {
        path: "tables",
        text: "Tables that are not to be found by their collection's name, or whose columns not by their fields' names; in a \
               file only.",
    };
    syncer.tell(TABLES.path, TABLES.text, Shape::Sections(described()), Preset::Nothing, "");
    let mut tables = Tables::new();
    let Some(node) = syncer.node(TABLES.path) else { return tables };
    let Content::List(entries) = &node.content else {
        syncer.refuse(TABLES.path, node, "legal: a list of sections with keys of their own, in a file");
        return tables;
    };
    for entry in entries {
        let Content::Map(_) = &entry.content else {
            syncer.refuse(TABLES.path, entry, "legal: a list of sections with keys of their own, in a file");
            continue;
        };
        let mut options = TableOptions::default();
        let problems = read_tree(entry, |section| options.visit(section)).value.err();
        for problem in problems.iter().flat_map(|error| error.problems()) {
            syncer.adopt(problem.clone());
        }
        if problems.is_some() {
            continue;
        }
        match options.mapping(bound) {
            Ok((topic, mapping)) => {
                if tables.insert(topic, mapping).is_some() {
                    syncer.refuse(TABLES.path, entry, "the collection has an entry already");
                }
            }
            Err(text) => syncer.refuse(TABLES.path, entry, &text),
        }
    }
    tables
}

impl TableOptions {
    /// The topic that the entry is about, and what it says; or what is wrong with it.
    fn mapping(self, bound: &Namespaces) -> Result<(String, TableMapping), String> {
        let collection = self.collection.ok_or("collection is missing")?;
        let whole: Option<Namespace> = collection.parse().ok();
        let is_meant =
            |namespace: &Namespace| namespace.collection() == collection || whole.as_ref() == Some(namespace);
        let topics: Vec<&String> =
            bound.iter().filter(|(_, namespace)| is_meant(namespace)).map(|(topic, _)| topic).collect();
        let topic = match &*topics {
            [topic] => (*topic).clone(),
            [] => return Err(format!("collection {collection} is in no topic of kafka.topic")),
            _ => {
                return Err(format!(
                    "several databases have a collection {collection}; legal: database.collection"
                ));
            }
        };
        let (schema, table) = match self.table.as_deref().map(|text| text.split_once('.').ok_or(text)) {
            None => (None, None),
            Some(Err(table)) => (None, Some(table.to_owned())),
            Some(Ok((schema, table))) => (Some(schema.to_owned()), Some(table.to_owned())),
        };
        let columns = self.columns.map(columns_of).transpose()?;
        let mapping = TableMapping {
            schema,
            table,
            columns,
            leave: self.leave,
            coerce: self.coerce,
            deletes: self.deletes,
        };
        check(&mapping)?;
        Ok((topic, mapping))
    }
}

fn columns_of(written: Vec<(String, String)>) -> Result<Vec<ColumnMapping>, String> {
    let of = |(column, text): (String, String)| match text.parse::<FieldPath>() {
        Ok(path) => Ok(ColumnMapping { column, path }),
        Err(_) => {
            Err(format!("columns.{column}: {text:?} is not legal; legal: keys with dots between, or $"))
        }
    };
    written.into_iter().map(of).collect()
}

fn check(mapping: &TableMapping) -> Result<(), String> {
    let names = [&mapping.schema, &mapping.table];
    if names.into_iter().flatten().any(String::is_empty) {
        return Err("table: legal: a table, or schema.table".to_owned());
    }
    let Some(columns) = &mapping.columns else { return Ok(()) };
    if mapping.ids().is_empty() {
        return Err("columns: none takes _id; write one, such as id: _id".to_owned());
    }
    if let Some(both) = columns.iter().find(|it| mapping.leave.contains(&it.column)) {
        return Err(format!("leave: {} stands under columns, too", both.column));
    }
    if columns.iter().filter(|it| it.path.is_id()).count() > 1 {
        return Err("columns: _id goes into one column".to_owned());
    }
    let parts = mapping.id_parts();
    if parts.iter().enumerate().any(|(at, part)| parts[..at].contains(part)) {
        return Err("columns: each field of a composed _id goes into one column".to_owned());
    }
    if columns.iter().any(|it| it.column == "cdc_position" || it.column == "cdc_deleted_at") {
        return Err("columns: cdc_position and cdc_deleted_at are the pipeline's own".to_owned());
    }
    Ok(())
}

/// Refuses two topics with one table: their positions would fence each other off.
pub(super) fn check_tables(syncer: &Section<'_>, bound: &Namespaces, settings: &Settings) {
    let mut homes: BTreeMap<(String, String), &Namespace> = BTreeMap::new();
    for (topic, namespace) in bound {
        let (schema, table) = settings.table_of(topic, namespace);
        let label = format!("{schema}.{table}");
        // Two topics of one collection are told of by themselves.
        match homes.insert((schema, table), namespace) {
            Some(other) if other != namespace => {
                let text = format!(
                    "{other} and {namespace} would share the table {label}; name another for one of them under tables:, or have \
                     postgres.schema hold {{database}}"
                );
                syncer.contradiction(&["kafka.namespaces", "kafka.topic"], &text);
            }
            Some(_) | None => {}
        }
    }
}

impl Section<'_> {
    fn columns(&mut self, key: Key, value: &mut Option<Vec<(String, String)>>) {
        let is_written = self.node(key.path).is_some();
        let pairs = self.free_pairs(key, Preset::Said("each takes the field of its name"));
        *value = is_written.then_some(pairs);
    }

    fn names(&mut self, key: Key, value: &mut Vec<String>) {
        self.tell(key.path, key.text, Shape::List, Preset::Nothing, "");
        *value = self.list(key.path).unwrap_or_default();
    }
}
