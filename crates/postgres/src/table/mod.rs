//! A target table as the catalog describes it.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use postgres_types::Type;

/// A column's type, as far as the pipeline writes it; a domain counts as its base type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// `text`, `varchar(n)` and `char(n)`, with the limit in characters; `char(n)` is padded.
    Text {
        /// The longest value, in characters.
        max_chars: Option<usize>,
        /// Whether it is a `char(n)`.
        padded: bool,
    },
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric(precision, scale)`
    Numeric {
        /// The declared precision and scale.
        limit: Option<NumericLimit>,
    },
    /// `boolean`
    Bool,
    /// `timestamp(n)`, in UTC, with the digits of its fraction of a second.
    Timestamp {
        /// Digits of the fraction.
        digits: u32,
    },
    /// `timestamp(n) with time zone`
    TimestampTz {
        /// Digits of the fraction.
        digits: u32,
    },
    /// `date`
    Date,
    /// `uuid`
    Uuid,
    /// `bytea`
    Bytea,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// Any other, by its name: only NULL and absent fields fit.
    Unsupported(String),
}

/// The bounds of a `numeric(precision, scale)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumericLimit {
    /// Decimal digits in all.
    pub precision: i32,
    /// Of these behind the point; negative where the last digits before it are zero.
    pub scale: i32,
}

impl ColumnType {
    /// The type whose array carries a batch's values of this column. Strings travel as `text`; the
    /// assignment to a shorter type is safe, because lengths are checked before.
    #[must_use]
    pub(crate) fn wire(&self) -> Type {
        match self {
            Self::Text { .. } | Self::Unsupported(_) => Type::TEXT,
            Self::Int2 => Type::INT2,
            Self::Int4 => Type::INT4,
            Self::Int8 => Type::INT8,
            Self::Float4 => Type::FLOAT4,
            Self::Float8 => Type::FLOAT8,
            Self::Numeric { .. } => Type::NUMERIC,
            Self::Bool => Type::BOOL,
            Self::Timestamp { .. } => Type::TIMESTAMP,
            Self::TimestampTz { .. } => Type::TIMESTAMPTZ,
            Self::Date => Type::DATE,
            Self::Uuid => Type::UUID,
            Self::Bytea => Type::BYTEA,
            Self::Json => Type::JSON,
            Self::Jsonb => Type::JSONB,
        }
    }

    /// The type's name in messages and in statements.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Text { .. } => "text",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric { .. } => "numeric",
            Self::Bool => "boolean",
            Self::Timestamp { .. } => "timestamp",
            Self::TimestampTz { .. } => "timestamp with time zone",
            Self::Date => "date",
            Self::Uuid => "uuid",
            Self::Bytea => "bytea",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Unsupported(name) => name,
        }
    }
}

/// The type that an array of this type has on the wire.
pub(crate) fn array_of(element: &Type) -> Type {
    match *element {
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::FLOAT4 => Type::FLOAT4_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::NUMERIC => Type::NUMERIC_ARRAY,
        Type::BOOL => Type::BOOL_ARRAY,
        Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        Type::DATE => Type::DATE_ARRAY,
        Type::UUID => Type::UUID_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        Type::JSON => Type::JSON_ARRAY,
        Type::JSONB => Type::JSONB_ARRAY,
        _ => Type::TEXT_ARRAY,
    }
}

/// Where a column's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `_id`: as text in a text column, itself in any other.
    Id,
    /// The document's field of the column's name.
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

/// A target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// The columns that the pipeline writes, `id` first.
    pub columns: Vec<Column>,
    /// Columns that no field can be written to: a document must not have such a field.
    pub closed: Vec<Closed>,
    /// The conditions under which nobody wrote to the columns beside these; nothing where that cannot be told.
    pub others_untouched: Option<Vec<String>>,
    /// Whether a column beside these has a default that changes, which an INSERT evaluates.
    pub others_change: bool,
    /// Whether the whole document is kept in one column.
    pub mirror: bool,
    /// Whether rows carry the position of the event that wrote them.
    pub fenced: bool,
    /// Whether its rows are its partitions'.
    pub partitioned: bool,
    /// Whether deleting a row would delete or change rows of other tables, by their foreign keys.
    pub cascades: bool,
    by_field: HashMap<String, FieldTarget, RandomState>,
}

/// What a document's field meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldTarget {
    /// A column, by its place in [`Table::columns`].
    Column(usize),
    /// A column that no document has fed so far, likewise.
    Unfed(usize),
    /// A column that it cannot be written to, by its place in [`Table::closed`].
    Closed(usize),
}

impl Table {
    /// Puts a table together; `columns` has `id` first.
    #[must_use]
    pub(crate) fn new(schema: String, name: String, columns: Vec<Column>, closed: Vec<Closed>) -> Self {
        let mirror = columns.iter().any(|column| column.origin == Origin::Document);
        let fenced = columns.iter().any(|column| column.origin == Origin::Position);
        let mut table = Self {
            schema,
            name,
            columns,
            closed,
            others_untouched: Some(Vec::new()),
            others_change: false,
            mirror,
            fenced,
            partitioned: false,
            cascades: false,
            by_field: HashMap::default(),
        };
        table.index_fields();
        table
    }

    /// True where it has the other's columns, whichever of them documents have fed.
    #[must_use]
    pub(crate) fn has_columns_of(&self, other: &Self) -> bool {
        let is_alike = |(mine, its): (&Column, &Column)| Column { fed: its.fed, ..mine.clone() } == *its;
        self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).all(is_alike)
            && self.closed == other.closed
    }

    /// The same table once documents have fed these columns, too.
    #[must_use]
    pub(crate) fn feeding(&self, names: &[String]) -> Self {
        let mut table = self.clone();
        table.columns.iter_mut().for_each(|column| column.fed |= names.contains(&column.name));
        table.index_fields();
        table
    }

    fn index_fields(&mut self) {
        self.by_field.clear();
        for (index, column) in self.columns.iter().enumerate() {
            if column.origin == Origin::Field {
                let target = if column.fed { FieldTarget::Column(index) } else { FieldTarget::Unfed(index) };
                self.by_field.insert(column.name.clone(), target);
            }
        }
        for (index, column) in self.closed.iter().enumerate() {
            self.by_field.insert(column.name.clone(), FieldTarget::Closed(index));
        }
    }

    /// The columns that statements name, each with its place.
    pub(crate) fn written(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.fed)
    }

    /// The conditions under which a row can be taken out and made anew without a loss to anybody; nothing where
    /// none can.
    #[must_use]
    pub(crate) fn untouched(&self) -> Option<Vec<&str>> {
        let others = self.others_untouched.as_ref()?.iter().map(|condition| Some(condition.as_str()));
        let unfed = self.columns.iter().filter(|column| !column.fed);
        others.chain(unfed.map(|column| column.untouched.as_deref())).collect()
    }

    /// True where an INSERT evaluates a default that changes, because it does not name the column.
    #[must_use]
    pub(crate) fn evaluates_defaults(&self) -> bool {
        self.others_change
            || self.columns.iter().any(|column| !column.fed && column.default == ColumnDefault::Changing)
    }

    /// What the document's field of this name meets; `None` where the table has no such column.
    #[must_use]
    pub(crate) fn field(&self, name: &str) -> Option<FieldTarget> {
        self.by_field.get(name).copied()
    }

    /// Schema and name, quoted for a statement.
    #[must_use]
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    /// Schema and name as they stand in the bookkeeping and in messages.
    #[must_use]
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// An identifier, quoted for a statement.
#[must_use]
pub(crate) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A string, quoted for a statement. The doubled backslash makes it hold whatever
/// `standard_conforming_strings` says.
#[must_use]
pub(crate) fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "the fuzz target needs some of the tables, the tests all"))]
#[path = "test_tables.rs"]
pub(crate) mod test_tables;
