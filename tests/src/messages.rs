//! Messages as the Watcher writes them, spelled by hand.

/// One message, on its way into a topic.
#[derive(Clone, Debug)]
pub struct Spelled {
    /// The message key.
    pub key: String,
    /// The message value.
    pub value: Vec<u8>,
    /// The header `cdc-position`.
    pub position: String,
}

impl Spelled {
    /// An insert or an update of `collection`. `fields` are the document's JSON members after `_id`, each
    /// after a comma. Positions order themselves by their number.
    #[must_use]
    pub fn upsert(collection: &str, id: &str, fields: &str, position: u64) -> Self {
        Self::of_version(1, collection, id, fields, position)
    }

    /// The same in a version of the format of one's own.
    #[must_use]
    pub fn of_version(version: u32, collection: &str, id: &str, fields: &str, position: u64) -> Self {
        let position_text = format!("00{position:016x}");
        let seconds = 1_705_318_200 + position / 1000;
        let value = format!(
            "{{\"version\":{version},\"id\":\"{position:032x}\",\"operation_type\":\"insert\",\
             \"namespace\":{{\"database\":\"game_db\",\"collection\":\"{collection}\"}},\
             \"document_key\":{{\"_id\":\"{id}\"}},\"full_document\":{{\"_id\":\"{id}\"{fields},\
             \"created_at\":\"2024-01-15T10:30:00Z\"}},\"cluster_time\":{{\"t\":{seconds},\"i\":1}},\
             \"position\":\"{position_text}\",\"bson_types\":{{\"date\":[\"/full_document/created_at\"]}}}}"
        );
        Self { key: format!("\"{id}\""), value: value.into_bytes(), position: position_text }
    }

    /// A player with this level, named after its id.
    #[must_use]
    pub fn player(id: &str, level: u64, position: u64) -> Self {
        let fields = format!(",\"username\":\"name {id}\",\"level\":{level},\"score\":1");
        Self::upsert("players", id, &fields, position)
    }

    /// Bytes that are no message at all.
    #[must_use]
    pub fn nonsense(id: &str, value: &[u8], position: u64) -> Self {
        Self { key: format!("\"{id}\""), value: value.to_vec(), position: format!("00{position:016x}") }
    }
}
