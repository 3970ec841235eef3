//! A table's columns: which the pipeline writes and from what, and which it does not and why.

use crate::mapping::FieldPath;
use crate::table::column_type::ColumnType;

/// Where a column's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `_id`, or a field of a composed one: as text in a text column, itself in any other.
    Id,
    /// A place in the document.
    Field,
    /// The whole document (mirror tables).
    Document,
    /// The sidecar of BSON types (mirror tables).
    BsonTypes,
    /// The event's cluster time.
    UpdatedAt,
    /// The operation's name.
    Operation,
    /// The time of the write.
    WrittenAt,
    /// When the document was deleted: never, as long as it is there.
    DeletedAt,
    /// The event's position.
    Position,
}

/// A column that the pipeline writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name, unquoted.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Where its value comes from.
    pub origin: Origin,
    /// The place in the document, of an id's and a field's column.
    pub path: FieldPath,
    /// Whether a value is taken by its spelling, too: a UUID, a time stamp, a truth.
    pub coerced: bool,
    /// Whether NULL is forbidden.
    pub not_null: bool,
    /// What a document's absence from it comes to.
    pub default: ColumnDefault,
    /// The condition that it holds nothing but what an INSERT would give it; nothing where that cannot be told.
    pub untouched: Option<String>,
    /// Whether the pipeline writes it: a document's field does once a document of the topic has fed it.
    pub fed: bool,
}

/// A column's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ColumnDefault {
    /// None, or NULL.
    None,
    /// Always this value, in the column's binary form.
    Constant(Vec<u8>),
    /// Not the same for ever: time, a sequence, an identity, a random number.
    Changing,
}

/// A column that no field can be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Its name, unquoted.
    pub name: String,
    /// Why.
    pub because: ClosedBecause,
}

/// Why no field can be written to a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClosedBecause {
    /// Its value is computed from others'.
    Generated,
    /// `GENERATED ALWAYS AS IDENTITY`
    AlwaysIdentity,
    /// The pipeline does not write its type.
    Type {
        /// The type.
        name: String,
        /// Whether it holds NULL as long as nobody writes to it.
        shows_null: bool,
    },
}
