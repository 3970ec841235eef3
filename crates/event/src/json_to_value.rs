//! Values with their BSON types, read back from their JSON text and its entry in `bson_types`.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fields::lookup;
use crate::types::BsonType;
use crate::{ClusterTime, Decimal, date, scan};

/// A value with its BSON type, read from its JSON text and its entry in `bson_types`. Borrows from the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// null
    Null,
    /// Undefined.
    Undefined,
    /// Below all other values.
    MinKey,
    /// Above all other values.
    MaxKey,
    /// A boolean.
    Bool(bool),
    /// An int32.
    Int32(i32),
    /// An int64.
    Int64(i64),
    /// A double, NaN with its bits.
    Double(f64),
    /// A decimal128.
    Decimal(Decimal),
    /// A string.
    String(Cow<'a, str>),
    /// An ObjectId: 24 lowercase hexadecimal digits.
    ObjectId(&'a str),
    /// Milliseconds since 1970.
    Date(i64),
    /// A timestamp.
    Timestamp(ClusterTime),
    /// Binary that is not a UUID.
    Binary {
        /// BSON's subtype.
        subtype: u8,
        /// Checked when it is decoded: [`decode_base64`].
        base64: &'a str,
    },
    /// A UUID: its text in lowercase.
    Uuid(&'a str),
    /// A regular expression.
    Regex {
        /// The pattern.
        pattern: Cow<'a, str>,
        /// The options.
        options: Cow<'a, str>,
    },
    /// JavaScript.
    JavaScript(Cow<'a, str>),
    /// JavaScript with scope.
    JavaScriptWithScope {
        /// The code.
        code: Cow<'a, str>,
        /// JSON object.
        scope: &'a str,
    },
    /// A symbol.
    Symbol(Cow<'a, str>),
    /// A DBPointer.
    DbPointer {
        /// The namespace.
        namespace: Cow<'a, str>,
        /// 24 lowercase hexadecimal digits.
        id: &'a str,
    },
    /// A document: JSON object.
    Document(&'a str),
    /// An array: JSON array.
    Array(&'a str),
}

/// A value's JSON text is not what its type is spelled like; the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// What `bson_types` says; `None` where the spelling was to imply the type.
    pub kind: Option<BsonType>,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "a value that bson_types calls {kind} is not spelled as one"),
            None => f.write_str("a value without an entry in bson_types is no JSON value of a known type"),
        }
    }
}

impl std::error::Error for ValueError {}

impl<'a> Value<'a> {
    /// Reads a value: its JSON text, and its type where `bson_types` names one.
    ///
    /// # Errors
    /// Where the text is not a spelling of the type.
    pub fn read(text: &'a str, kind: Option<BsonType>) -> Result<Self, ValueError> {
        match kind {
            None => implied(text),
            Some(kind) => named(text, kind),
        }
        .ok_or(ValueError { kind })
    }

    /// MongoDB's `$type` alias of the value's type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Undefined => "undefined",
            Self::MinKey => "minKey",
            Self::MaxKey => "maxKey",
            Self::Bool(_) => "bool",
            Self::Int32(_) => "int",
            Self::Int64(_) => "long",
            Self::Double(_) => "double",
            Self::Decimal(_) => "decimal",
            Self::String(_) => "string",
            Self::ObjectId(_) => "objectId",
            Self::Date(_) => "date",
            Self::Timestamp(_) => "timestamp",
            Self::Binary { .. } | Self::Uuid(_) => "binData",
            Self::Regex { .. } => "regex",
            Self::JavaScript(_) => "javascript",
            Self::JavaScriptWithScope { .. } => "javascriptWithScope",
            Self::Symbol(_) => "symbol",
            Self::DbPointer { .. } => "dbPointer",
            Self::Document(_) => "object",
            Self::Array(_) => "array",
        }
    }
}

/// The bytes behind a binary's text; `None` where it is not standard base64 with padding.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

fn implied(text: &str) -> Option<Value<'_>> {
    match text.as_bytes().first()? {
        b'"' => scan::string(text).map(Value::String),
        b'{' => Some(Value::Document(text)),
        b'[' => Some(Value::Array(text)),
        b't' => (text == "true").then_some(Value::Bool(true)),
        b'f' => (text == "false").then_some(Value::Bool(false)),
        b'n' => (text == "null").then_some(Value::Null),
        _ => number(text),
    }
}

/// An integer is an int32 where it fits, else an int64; with `.` or an exponent it is a double.
fn number(text: &str) -> Option<Value<'_>> {
    // `parse` also reads what JSON does not spell as a number: `inf`, `+1`.
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
        || text.starts_with('+')
    {
        return None;
    }
    if text.contains(['.', 'e', 'E']) {
        return text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Double);
    }
    let value: i64 = text.parse().ok()?;
    Some(i32::try_from(value).map_or(Value::Int64(value), Value::Int32))
}

fn named(text: &str, kind: BsonType) -> Option<Value<'_>> {
    Some(match kind {
        BsonType::Long => Value::Int64(text.parse().ok()?),
        BsonType::Double => Value::Double(special_double(plain(text)?)?),
        BsonType::Decimal => Value::Decimal(Decimal::parse(plain(text)?)?),
        BsonType::ObjectId => Value::ObjectId(object_id(text)?),
        BsonType::Date => Value::Date(match plain(text) {
            Some(text) => date::parse(text)?,
            None => text.parse().ok()?,
        }),
        BsonType::Timestamp => {
            let t = lookup(text, &["t"])?.parse().ok()?;
            Value::Timestamp(ClusterTime { t, i: lookup(text, &["i"])?.parse().ok()? })
        }
        BsonType::Binary(subtype) => {
            let contents = plain(text)?;
            if subtype == 4 && is_uuid(contents) {
                Value::Uuid(contents)
            } else {
                Value::Binary { subtype, base64: contents }
            }
        }
        BsonType::Regex => Value::Regex {
            pattern: scan::string(lookup(text, &["pattern"])?)?,
            options: scan::string(lookup(text, &["options"])?)?,
        },
        BsonType::JavaScript => Value::JavaScript(scan::string(text)?),
        BsonType::Symbol => Value::Symbol(scan::string(text)?),
        BsonType::JavaScriptWithScope => Value::JavaScriptWithScope {
            code: scan::string(lookup(text, &["code"])?)?,
            scope: lookup(text, &["scope"]).filter(|scope| scope.starts_with('{'))?,
        },
        BsonType::DbPointer => Value::DbPointer {
            namespace: scan::string(lookup(text, &["ref"])?)?,
            id: object_id(lookup(text, &["id"])?)?,
        },
        BsonType::Undefined => null(text, Value::Undefined)?,
        BsonType::MinKey => null(text, Value::MinKey)?,
        BsonType::MaxKey => null(text, Value::MaxKey)?,
    })
}

fn null<'a>(text: &str, value: Value<'a>) -> Option<Value<'a>> {
    (text == "null").then_some(value)
}

/// A string's contents where it has no escapes, as nothing that is read by this needs any.
fn plain(text: &str) -> Option<&str> {
    match scan::string(text)? {
        Cow::Borrowed(contents) => Some(contents),
        Cow::Owned(_) => None,
    }
}

fn special_double(text: &str) -> Option<f64> {
    Some(match text {
        "NaN" => f64::from_bits(0x7FF8_0000_0000_0000),
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => {
            let digits = text.strip_prefix("NaN(0x")?.strip_suffix(')')?;
            if digits.len() != 16 || digits.starts_with('+') {
                return None;
            }
            Some(f64::from_bits(u64::from_str_radix(digits, 16).ok()?)).filter(|value| value.is_nan())?
        }
    })
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn object_id(text: &str) -> Option<&str> {
    plain(text).filter(|id| id.len() == 24 && is_lower_hex(id))
}

/// 8-4-4-4-12 lowercase digits.
fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    text.len() == 36
        && text.split('-').count() == lengths.len()
        && text.split('-').zip(lengths).all(|(group, length)| group.len() == length && is_lower_hex(group))
}
