//! What a change event is about, by the name of its operation.

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A document was inserted.
    Insert,
    /// A document was changed in part.
    Update,
    /// A document was replaced.
    Replace,
    /// A document was deleted.
    Delete,
    /// No document: the name of the operation (`drop`, `rename`, `invalidate`, …), or `unknown`.
    Other(&'static str),
}

impl Kind {
    /// The operations of a change stream that concern no document
    /// (<https://www.mongodb.com/docs/manual/reference/change-events/>).
    const OTHERS: [&'static str; 11] = [
        "create",
        "createIndexes",
        "drop",
        "dropDatabase",
        "dropIndexes",
        "invalidate",
        "modify",
        "refineCollectionShardKey",
        "rename",
        "reshardCollection",
        "shardCollection",
    ];

    pub(crate) fn from_operation(name: &[u8]) -> Self {
        match name {
            b"insert" => Self::Insert,
            b"update" => Self::Update,
            b"replace" => Self::Replace,
            b"delete" => Self::Delete,
            _ => Self::Other(
                Self::OTHERS.into_iter().find(|known| known.as_bytes() == name).unwrap_or("unknown"),
            ),
        }
    }

    /// The name as it stands in the event.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Other(name) => name,
        }
    }

    /// True where the event becomes a message.
    #[must_use]
    pub fn is_document(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}
