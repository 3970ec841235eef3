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
    /// The expression of its default, as SQL, with every name in it qualified.
    pub default: Option<String>,
}

impl Column {
    /// True where a field may be absent and its column then takes a default; the row then says which.
    #[must_use]
    pub(crate) fn has_presence(&self) -> bool {
        self.origin == Origin::Field && self.default.is_some()
    }
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
    /// Columns of types that the pipeline cannot write: a document must not have such a field.
    pub unsupported: Vec<Column>,
    /// Whether the whole document is kept in one column.
    pub mirror: bool,
    /// Whether rows carry the position of the event that wrote them.
    pub fenced: bool,
    /// Whether deleting a row would delete or change rows of other tables, by their foreign keys.
    pub cascades: bool,
    by_field: HashMap<String, FieldTarget, RandomState>,
}

/// What a document's field meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldTarget {
    /// A column, by its place in [`Table::columns`].
    Column(usize),
    /// A column of a type that cannot be written, by its place in [`Table::unsupported`].
    Unsupported(usize),
}

impl Table {
    /// Puts a table together; `columns` has `id` first.
    #[must_use]
    pub(crate) fn new(schema: String, name: String, columns: Vec<Column>, unsupported: Vec<Column>) -> Self {
        let mirror = columns.iter().any(|column| column.origin == Origin::Document);
        let fenced = columns.iter().any(|column| column.origin == Origin::Position);
        let mut by_field = HashMap::default();
        for (index, column) in columns.iter().enumerate() {
            if column.origin == Origin::Field {
                by_field.insert(column.name.clone(), FieldTarget::Column(index));
            }
        }
        for (index, column) in unsupported.iter().enumerate() {
            by_field.insert(column.name.clone(), FieldTarget::Unsupported(index));
        }
        Self { schema, name, columns, unsupported, mirror, fenced, cascades: false, by_field }
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

#[cfg(test)]
pub(crate) mod test_tables {
    use super::*;

    pub(crate) fn column(name: &str, column_type: ColumnType, origin: Origin) -> Column {
        Column { name: name.to_owned(), column_type, origin, not_null: false, default: None }
    }

    const fn text(max_chars: usize) -> ColumnType {
        ColumnType::Text { max_chars: Some(max_chars), padded: false }
    }

    const TEXT: ColumnType = ColumnType::Text { max_chars: None, padded: false };
    const TIMESTAMP: ColumnType = ColumnType::Timestamp { digits: 6 };

    /// The specification's own table, with the fence's column.
    pub(crate) fn players() -> Table {
        let required = |column: Column| Column { not_null: true, ..column };
        let defaulted = |column: Column, default: &str| Column {
            not_null: true,
            default: Some(default.to_owned()),
            ..column
        };
        let columns = vec![
            required(column("id", text(24), Origin::Id)),
            required(column("username", text(255), Origin::Field)),
            defaulted(column("level", ColumnType::Int4, Origin::Field), "1"),
            defaulted(column("score", ColumnType::Int8, Origin::Field), "0"),
            required(column("created_at", TIMESTAMP, Origin::Field)),
            defaulted(column("updated_at", TIMESTAMP, Origin::UpdatedAt), "now()"),
            column("cdc_operation", text(20), Origin::Operation),
            required(column("cdc_timestamp", TIMESTAMP, Origin::WrittenAt)),
            column("cdc_position", ColumnType::Bytea, Origin::Position),
        ];
        Table::new("public".to_owned(), "players".to_owned(), columns, Vec::new())
    }

    pub(crate) fn mirror() -> Table {
        let columns = vec![
            column("id", TEXT, Origin::Id),
            column("document", ColumnType::Jsonb, Origin::Document),
            column("bson_types", ColumnType::Jsonb, Origin::BsonTypes),
            column("cdc_operation", TEXT, Origin::Operation),
            column("cdc_timestamp", ColumnType::TimestampTz { digits: 6 }, Origin::WrittenAt),
            column("cdc_position", ColumnType::Bytea, Origin::Position),
        ];
        Table::new("public".to_owned(), "odd \"name\"".to_owned(), columns, Vec::new())
    }

    pub(crate) fn numbered() -> Table {
        let columns = vec![
            column("id", ColumnType::Int8, Origin::Id),
            column("ratio", ColumnType::Float8, Origin::Field),
        ];
        Table::new("it's".to_owned(), "numbered".to_owned(), columns, Vec::new())
    }
}
