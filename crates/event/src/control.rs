//! Control messages: what concerns no single document, and goes to every partition of every topic.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::{CONTROL_KEY, ClusterTime, Message, Operation, Position, WIRE_VERSION, json};

/// What a control message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// The collection was dropped. Its rows stay.
    Drop {
        /// The collection.
        collection: &'a str,
    },
    /// The collection has another name now.
    Rename {
        /// The name before.
        collection: &'a str,
        /// The database and the collection that it is now.
        to: (&'a str, &'a str),
    },
    /// A part of the history was not delivered.
    Gap(GapNotice<'a>),
}

/// A gap, as it stands in the message and in the token record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapNotice<'a> {
    /// The position before it; `None` where nobody knows.
    pub from: Option<Position>,
    /// The position behind it: everything after this is delivered.
    pub to: Position,
    /// Why.
    pub cause: &'a str,
    /// Where.
    pub collections: &'a [String],
}

impl Control<'_> {
    const fn operation(&self) -> Operation {
        match self {
            Self::Drop { .. } => Operation::Drop,
            Self::Rename { .. } => Operation::Rename,
            Self::Gap(_) => Operation::Gap,
        }
    }

    /// The message, the same at every replay. Its topic is empty: it goes to all of them.
    ///
    /// `cluster_time` is the event's; for a gap, that of its end.
    #[must_use]
    pub fn message(&self, database: &str, position: Position, cluster_time: ClusterTime) -> Message {
        let operation = self.operation();
        let (collection, cause) = match self {
            Self::Drop { collection } | Self::Rename { collection, .. } => (*collection, ""),
            Self::Gap(gap) => ("", gap.cause),
        };
        let id = xxh3_128(format!("{}:{cause}:{position}", operation.name()).as_bytes());
        let mut value = Vec::with_capacity(512);
        value.extend_from_slice(b"{\"version\":");
        json::integer(&mut value, WIRE_VERSION);
        value.extend_from_slice(b",\"id\":\"");
        json::hex(&mut value, &id.to_be_bytes());
        value.extend_from_slice(b"\",\"operation_type\":\"");
        value.extend_from_slice(operation.name().as_bytes());
        value.extend_from_slice(b"\",\"namespace\":");
        namespace(&mut value, database, collection);
        match self {
            Self::Drop { .. } => {}
            Self::Rename { to, .. } => {
                value.extend_from_slice(b",\"renamed_to\":");
                namespace(&mut value, to.0, to.1);
            }
            Self::Gap(gap) => gap.write(&mut value),
        }
        value.extend_from_slice(b",\"cluster_time\":{\"t\":");
        json::integer(&mut value, cluster_time.t);
        value.extend_from_slice(b",\"i\":");
        json::integer(&mut value, cluster_time.i);
        value.extend_from_slice(b"},\"position\":\"");
        json::hex(&mut value, position.as_bytes());
        value.extend_from_slice(b"\"}");
        Message::new(Arc::from(""), CONTROL_KEY.as_bytes(), &value, position)
    }
}

impl GapNotice<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"gap\":{\"from\":");
        match self.from {
            Some(from) => quoted(out, &from),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"to\":");
        quoted(out, &self.to);
        out.extend_from_slice(b",\"cause\":");
        json::string(out, self.cause);
        out.extend_from_slice(b",\"collections\":[");
        for (index, collection) in self.collections.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::string(out, collection);
        }
        out.extend_from_slice(b"]}");
    }
}

fn quoted(out: &mut Vec<u8>, position: &Position) {
    out.push(b'"');
    json::hex(out, position.as_bytes());
    out.push(b'"');
}

fn namespace(out: &mut Vec<u8>, database: &str, collection: &str) {
    out.extend_from_slice(b"{\"database\":");
    json::string(out, database);
    out.extend_from_slice(b",\"collection\":");
    json::string(out, collection);
    out.push(b'}');
}
