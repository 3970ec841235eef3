//! Messages as the Watcher writes them, spelled by hand, so that the two sides are not tested against the
//! same mistake.

use std::fmt::Write as _;

use cdc_syncer::Partition;

use crate::stand::PARTITION;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    operation: &'static str,
    database: &'static str,
    collection: String,
    key: String,
    id: String,
    document: Option<String>,
    types: Vec<(String, String)>,
    raw: Option<String>,
    position: u32,
    version: u32,
    partition: Partition,
}

impl Message {
    fn new(operation: &'static str, id: &str, document: Option<String>, position: u32) -> Self {
        Self {
            operation,
            database: "game_db",
            collection: "players".to_owned(),
            key: format!("\"{id}\""),
            id: format!("\"{id}\""),
            document,
            types: Vec::new(),
            raw: None,
            position,
            version: 1,
            partition: PARTITION,
        }
    }

    /// `fields` are the document's members after `_id`.
    pub(crate) fn upsert(operation: &'static str, id: &str, fields: &str, position: u32) -> Self {
        let comma = if fields.is_empty() { "" } else { "," };
        Self::new(operation, id, Some(format!("{{\"_id\":\"{id}\"{comma}{fields}}}")), position)
    }

    pub(crate) fn delete(id: &str, position: u32) -> Self {
        Self::new("delete", id, None, position)
    }

    /// An update whose document was gone at look-up.
    pub(crate) fn null_lookup(id: &str, position: u32) -> Self {
        Self::new("update", id, Some("null".to_owned()), position)
    }

    pub(crate) fn control(operation: &'static str, position: u32) -> Self {
        let mut message = Self::new(operation, "", None, position);
        message.key = "cdc.control".to_owned();
        message
    }

    /// A player as the specification's sample has one.
    pub(crate) fn player(operation: &'static str, id: &str, level: i32, position: u32) -> Self {
        let fields = format!(
            "\"username\":\"name {id}\",\"level\":{level},\"score\":9999,\"created_at\":\"2024-01-15T10:30:00Z\""
        );
        Self::upsert(operation, id, &fields, position).typed("date", "/full_document/created_at")
    }

    pub(crate) fn typed(mut self, bson_type: &str, pointer: &str) -> Self {
        self.types.push((bson_type.to_owned(), pointer.to_owned()));
        self
    }

    /// Another `_id`, by its key and by its JSON in the document and the document key.
    pub(crate) fn with_id(mut self, key: &str, json: &str) -> Self {
        let old = std::mem::replace(&mut self.id, json.to_owned());
        self.document = self.document.map(|document| document.replacen(&old, json, 1));
        self.key = key.to_owned();
        self
    }

    pub(crate) fn in_collection(mut self, collection: &str) -> Self {
        self.collection = collection.to_owned();
        self
    }

    pub(crate) fn in_database(mut self, database: &'static str) -> Self {
        self.database = database;
        self
    }

    /// It comes in the only partition of this topic of the stand.
    pub(crate) fn in_topic(mut self, number: u32) -> Self {
        self.partition = Partition(number);
        self
    }

    pub(crate) fn partition(&self) -> Partition {
        self.partition
    }

    pub(crate) fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    pub(crate) fn raw(mut self, base64: &str) -> Self {
        self.raw = Some(base64.to_owned());
        self
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The cluster time is the position, in seconds, after 2024-01-15T11:30:00Z.
    pub(crate) fn value(&self) -> String {
        let mut value = format!(
            "{{\"version\":{},\"id\":\"{:032x}\",\"operation_type\":\"{}\",\"namespace\":{{\"database\":\"{}\",\
             \"collection\":\"{}\"}},\"document_key\":{{\"_id\":{}}}",
            self.version, self.position, self.operation, self.database, self.collection, self.id
        );
        if let Some(document) = &self.document {
            write!(value, ",\"full_document\":{document}").unwrap();
        }
        write!(
            value,
            ",\"cluster_time\":{{\"t\":{},\"i\":1}},\"position\":\"00{:08x}\"",
            1_705_318_200 + self.position,
            self.position
        )
        .unwrap();
        if !self.types.is_empty() {
            let mut members: Vec<String> = Vec::new();
            for (bson_type, pointer) in &self.types {
                let opening = format!("\"{bson_type}\":[");
                match members.iter_mut().find(|member| member.starts_with(&opening)) {
                    Some(member) => write!(member, ",\"{pointer}\"").unwrap(),
                    None => members.push(format!("{opening}\"{pointer}\"")),
                }
            }
            let members: Vec<String> = members.into_iter().map(|member| member + "]").collect();
            write!(value, ",\"bson_types\":{{{}}}", members.join(",")).unwrap();
        }
        if let Some(raw) = &self.raw {
            write!(value, ",\"raw_bson\":{{\"/full_document\":\"{raw}\"}}").unwrap();
        }
        value.push('}');
        value
    }
}
