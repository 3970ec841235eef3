//! The types of columns that the pipeline writes, and what they are on the wire.

use std::sync::Arc;

use postgres_types::Type;

/// A column's type, as far as the pipeline writes it; a domain counts as its base type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// `text`, `varchar(n)`, `char(n)` and `citext`, with the limit in characters; `char(n)` is padded.
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
    /// An enum, whose values are labels.
    Enum(Arc<EnumType>),
    /// An array.
    Array(Arc<ArrayType>),
    /// A type whose values are texts of a grammar of their own.
    Spelled(SpelledType),
    /// Any other, by its name: only NULL and absent fields fit.
    Unsupported(String),
}

/// A type whose values documents can only spell: each is written from its one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpelledType {
    /// `time(n)`, with the digits of its fraction of a second.
    Time {
        /// Digits of the fraction.
        digits: u32,
    },
    /// `interval`, with the digits of its fraction of a second.
    Interval {
        /// Digits of the fraction.
        digits: u32,
    },
    /// `inet`
    Inet,
    /// `cidr`
    Cidr,
    /// `macaddr`
    MacAddr,
    /// `macaddr8`
    MacAddr8,
    /// `bit(n)`, of exactly so many bits.
    Bit {
        /// How many.
        bits: usize,
    },
    /// `bit varying(n)`
    VarBit {
        /// The longest value, in bits.
        max_bits: Option<usize>,
    },
    /// A range.
    Range(RangeOf),
}

/// What a range is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeOf {
    /// `int4range`
    Int4,
    /// `int8range`
    Int8,
    /// `numrange`
    Numeric,
    /// `daterange`
    Date,
    /// `tsrange`
    Timestamp,
    /// `tstzrange`
    TimestampTz,
}

/// An enum.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnumType {
    /// As statements spell it.
    pub(crate) sql: String,
    /// In their order.
    pub(crate) labels: Vec<String>,
}

/// An array type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ArrayType {
    /// As statements spell it, without a length of its values.
    pub(crate) sql: String,
    pub(crate) element: ColumnType,
    /// Whether a domain of its values forbids NULL.
    pub(crate) not_null: bool,
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
    /// The type whose array carries a batch's values of this column. Strings travel as `text`; the assignment to a shorter
    /// type is safe, because lengths are checked before. So do labels, and arrays: there is no array of arrays.
    #[must_use]
    pub(crate) fn wire(&self) -> Type {
        match self {
            Self::Text { .. } | Self::Enum(_) | Self::Array(_) | Self::Unsupported(_) => Type::TEXT,
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
            Self::Spelled(spelled) => spelled.wire(),
        }
    }

    /// What a statement converts the column's text to; nothing where the value travels as its own type.
    #[must_use]
    pub(crate) fn cast(&self) -> Option<&str> {
        match self {
            Self::Enum(it) => Some(&it.sql),
            Self::Array(it) => Some(&it.sql),
            Self::Text { .. }
            | Self::Int2
            | Self::Int4
            | Self::Int8
            | Self::Float4
            | Self::Float8
            | Self::Numeric { .. }
            | Self::Bool
            | Self::Timestamp { .. }
            | Self::TimestampTz { .. }
            | Self::Date
            | Self::Uuid
            | Self::Bytea
            | Self::Json
            | Self::Jsonb
            | Self::Spelled(_)
            | Self::Unsupported(_) => None,
        }
    }

    /// The type's name in messages.
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
            Self::Enum(it) => &it.sql,
            Self::Array(it) => &it.sql,
            Self::Spelled(spelled) => sql_type(&spelled.wire()),
            Self::Unsupported(name) => name,
        }
    }
}

impl SpelledType {
    const fn wire(self) -> Type {
        match self {
            Self::Time { .. } => Type::TIME,
            Self::Interval { .. } => Type::INTERVAL,
            Self::Inet => Type::INET,
            Self::Cidr => Type::CIDR,
            Self::MacAddr => Type::MACADDR,
            Self::MacAddr8 => Type::MACADDR8,
            Self::Bit { .. } | Self::VarBit { .. } => Type::VARBIT,
            Self::Range(RangeOf::Int4) => Type::INT4_RANGE,
            Self::Range(RangeOf::Int8) => Type::INT8_RANGE,
            Self::Range(RangeOf::Numeric) => Type::NUM_RANGE,
            Self::Range(RangeOf::Date) => Type::DATE_RANGE,
            Self::Range(RangeOf::Timestamp) => Type::TS_RANGE,
            Self::Range(RangeOf::TimestampTz) => Type::TSTZ_RANGE,
        }
    }
}

/// The wire types, each with its array's and with its name in SQL. `bit` alone would be `bit(1)`: values of any length travel
/// as `bit varying`.
static WIRE: [(Type, Type, &str); 28] = [
    (Type::TEXT, Type::TEXT_ARRAY, "text"),
    (Type::INT2, Type::INT2_ARRAY, "smallint"),
    (Type::INT4, Type::INT4_ARRAY, "integer"),
    (Type::INT8, Type::INT8_ARRAY, "bigint"),
    (Type::FLOAT4, Type::FLOAT4_ARRAY, "real"),
    (Type::FLOAT8, Type::FLOAT8_ARRAY, "double precision"),
    (Type::NUMERIC, Type::NUMERIC_ARRAY, "numeric"),
    (Type::BOOL, Type::BOOL_ARRAY, "boolean"),
    (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY, "timestamp"),
    (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY, "timestamp with time zone"),
    (Type::DATE, Type::DATE_ARRAY, "date"),
    (Type::UUID, Type::UUID_ARRAY, "uuid"),
    (Type::BYTEA, Type::BYTEA_ARRAY, "bytea"),
    (Type::JSON, Type::JSON_ARRAY, "json"),
    (Type::JSONB, Type::JSONB_ARRAY, "jsonb"),
    (Type::TIME, Type::TIME_ARRAY, "time"),
    (Type::INTERVAL, Type::INTERVAL_ARRAY, "interval"),
    (Type::INET, Type::INET_ARRAY, "inet"),
    (Type::CIDR, Type::CIDR_ARRAY, "cidr"),
    (Type::MACADDR, Type::MACADDR_ARRAY, "macaddr"),
    (Type::MACADDR8, Type::MACADDR8_ARRAY, "macaddr8"),
    (Type::VARBIT, Type::VARBIT_ARRAY, "bit varying"),
    (Type::INT4_RANGE, Type::INT4_RANGE_ARRAY, "int4range"),
    (Type::INT8_RANGE, Type::INT8_RANGE_ARRAY, "int8range"),
    (Type::NUM_RANGE, Type::NUM_RANGE_ARRAY, "numrange"),
    (Type::DATE_RANGE, Type::DATE_RANGE_ARRAY, "daterange"),
    (Type::TS_RANGE, Type::TS_RANGE_ARRAY, "tsrange"),
    (Type::TSTZ_RANGE, Type::TSTZ_RANGE_ARRAY, "tstzrange"),
];

/// The type that an array of this type has on the wire.
pub(crate) fn array_of(element: &Type) -> Type {
    let found = WIRE.iter().find(|(wire, _, _)| wire == element);
    found.map_or(Type::TEXT_ARRAY, |(_, array, _)| array.clone())
}

/// The name of an element type in SQL.
pub(crate) fn sql_type(element: &Type) -> &'static str {
    WIRE.iter().find(|(wire, _, _)| wire == element).map_or("text", |(_, _, name)| *name)
}
