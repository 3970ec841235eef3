//! From a BSON value to a column's binary value: exactly, or not at all.
//!
//! Each BSON type has its list of column types. Nothing goes through PostgreSQL's own text parsers, which
//! would turn the string `yesterday` into a time stamp.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a column lists the types that it takes, and refuses every other, future ones included"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BufMut;
use cdc_event::Value;
use cdc_syncer::Reject;

use crate::table::column_type::{ColumnType, NumericLimit};
use crate::values::decimal::{Number, write_special};
use crate::values::spelled;

/// 2000-01-01T00:00:00Z, PostgreSQL's epoch, in Unix microseconds.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The same in days.
const POSTGRES_EPOCH_DAYS: i64 = 10_957;
/// 4713-11-24 BC, the first instant of `timestamp`, in microseconds since PostgreSQL's epoch
/// (`MIN_TIMESTAMP` in `datatype/timestamp.h`).
const MIN_TIMESTAMP: i64 = -211_813_488_000_000_000;
/// The first instant that `timestamp` no longer holds (`END_TIMESTAMP`).
const END_TIMESTAMP: i64 = 9_223_371_331_200_000_000;
/// The first day of `date` (`DATETIME_MIN_JULIAN` − `POSTGRES_EPOCH_JDATE`).
const MIN_DATE: i64 = -2_451_545;
/// The first day that `date` no longer holds (`DATE_END_JULIAN` − `POSTGRES_EPOCH_JDATE`).
const END_DATE: i64 = 2_145_031_949;
const MILLIS_A_DAY: i64 = 86_400_000;
/// In front of every binary `jsonb`.
const JSONB_VERSION: u8 = 1;

/// Why a value does not fit a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// For metrics and dead letters.
    pub reason: Reject,
    /// In words, without the value.
    pub what: &'static str,
}

pub(crate) const fn conflict(what: &'static str) -> Mismatch {
    Mismatch { reason: Reject::TypeConflict, what }
}

pub(crate) const fn beyond(what: &'static str) -> Mismatch {
    Mismatch { reason: Reject::OutOfRange, what }
}

const OTHER_TYPE: Mismatch = conflict("the value's type does not fit the column's");

/// Appends the value in the column's binary form. `json` is the value as the message spells it.
///
/// # Errors
/// Where the column cannot hold exactly this value. What was appended until then has to be taken back.
pub(crate) fn write(
    value: &Value<'_>,
    json: &str,
    column: &ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Mismatch> {
    match column {
        ColumnType::Text { max_chars, .. } => write_text(text_of(value)?, *max_chars, out),
        ColumnType::Int2 => {
            let integer = integer_of(value)?;
            out.put_i16(i16::try_from(integer).map_err(|_| beyond("the number is outside smallint"))?);
            Ok(())
        }
        ColumnType::Int4 => {
            let integer = integer_of(value)?;
            out.put_i32(i32::try_from(integer).map_err(|_| beyond("the number is outside integer"))?);
            Ok(())
        }
        ColumnType::Int8 => {
            out.put_i64(integer_of(value)?);
            Ok(())
        }
        ColumnType::Float4 => write_real(double_of(value)?, out),
        ColumnType::Float8 => {
            out.put_f64(double_of(value)?);
            Ok(())
        }
        ColumnType::Numeric { limit } => write_numeric(value, *limit, out),
        ColumnType::Bool => match value {
            Value::Bool(truth) => {
                out.put_u8(u8::from(*truth));
                Ok(())
            }
            _ => Err(OTHER_TYPE),
        },
        ColumnType::Timestamp { digits } | ColumnType::TimestampTz { digits } => match value {
            Value::Date(millis) => write_timestamp(*millis, *digits, out),
            _ => Err(OTHER_TYPE),
        },
        ColumnType::Date => match value {
            Value::Date(millis) => write_date(*millis, out),
            _ => Err(OTHER_TYPE),
        },
        ColumnType::Uuid => match value {
            Value::Uuid(text) => write_uuid(text, out),
            _ => Err(OTHER_TYPE),
        },
        ColumnType::Bytea => write_bytes(value, out),
        ColumnType::Json => write_json(json, false, out),
        ColumnType::Jsonb => write_json(json, true, out),
        ColumnType::Enum(of) => match value {
            Value::String(text) | Value::Symbol(text) if of.labels.iter().any(|label| label == text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            Value::String(_) | Value::Symbol(_) => Err(beyond("the text is none of the enum's labels")),
            _ => Err(OTHER_TYPE),
        },
        ColumnType::Spelled(of) => match value {
            Value::String(text) | Value::Symbol(text) => {
                spelled::write(text, *of, out).ok_or(conflict(spelled::spelling(*of)))
            }
            _ => Err(OTHER_TYPE),
        },
        ColumnType::Array(_) | ColumnType::Unsupported(_) => {
            Err(conflict("the column's type is not supported"))
        }
    }
}

/// Strings, and what is written as one: ObjectIds, UUIDs, symbols, code. Numbers, booleans and dates are not
/// text: a column that takes them as such could not be read back.
fn text_of<'a>(value: &'a Value<'_>) -> Result<&'a str, Mismatch> {
    match value {
        Value::String(text) | Value::Symbol(text) | Value::JavaScript(text) => Ok(text),
        Value::ObjectId(text) | Value::Uuid(text) => Ok(text),
        _ => Err(OTHER_TYPE),
    }
}

/// Appends a string, bounded in characters.
///
/// # Errors
/// Where it is longer, or holds U+0000.
pub(crate) fn write_text(text: &str, max_chars: Option<usize>, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    if text.as_bytes().contains(&0) {
        return Err(beyond("text columns cannot hold U+0000"));
    }
    if let Some(max) = max_chars
        // A string has at most as many characters as bytes.
        && text.len() > max
        && text.chars().count() > max
    {
        return Err(beyond("the text is longer than the column"));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn integer_of(value: &Value<'_>) -> Result<i64, Mismatch> {
    match value {
        Value::Int32(number) => Ok(i64::from(*number)),
        Value::Int64(number) => Ok(*number),
        Value::Double(number) => integer_of_double(*number),
        Value::Decimal(decimal) => match Number::parse(&decimal.to_string()) {
            Some(Number::Finite(decimal)) => match decimal.to_i64() {
                Some(integer) => Ok(integer),
                None if decimal.is_integral() => Err(beyond("the number is outside bigint")),
                None => Err(FRACTION),
            },
            Some(Number::NaN | Number::Infinite { .. }) => Err(NOT_FINITE),
            None => Err(OTHER_TYPE),
        },
        _ => Err(OTHER_TYPE),
    }
}

const FRACTION: Mismatch = conflict("a number with a fraction does not fit an integer column");
const NOT_FINITE: Mismatch = conflict("NaN and infinities do not fit the column");

fn integer_of_double(number: f64) -> Result<i64, Mismatch> {
    /// 2^63: the first double that bigint cannot hold.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if !number.is_finite() {
        return Err(NOT_FINITE);
    }
    if number.fract() != 0.0 {
        return Err(FRACTION);
    }
    if !(-LIMIT..LIMIT).contains(&number) {
        return Err(beyond("the number is outside bigint"));
    }
    // Integral and in range, as just checked.
    Ok(number as i64)
}

fn double_of(value: &Value<'_>) -> Result<f64, Mismatch> {
    const INEXACT: Mismatch = beyond("double precision does not hold the number exactly");
    match value {
        Value::Int32(number) => Ok(f64::from(*number)),
        Value::Int64(number) => {
            // Whether anything is lost is checked next.
            let double = *number as f64;
            // 2^63 itself would saturate on the way back and look exact.
            let back = integer_of_double(double).map_err(|_| INEXACT)?;
            if back == *number { Ok(double) } else { Err(INEXACT) }
        }
        Value::Double(number) => Ok(*number),
        Value::Decimal(decimal) => match Number::parse(&decimal.to_string()) {
            Some(Number::Finite(decimal)) => decimal.to_f64().ok_or(INEXACT),
            Some(Number::NaN) => Ok(f64::NAN),
            Some(Number::Infinite { negative: false }) => Ok(f64::INFINITY),
            Some(Number::Infinite { negative: true }) => Ok(f64::NEG_INFINITY),
            None => Err(OTHER_TYPE),
        },
        _ => Err(OTHER_TYPE),
    }
}

fn write_real(number: f64, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    // Whether anything is lost is checked next.
    let real = number as f32;
    if !number.is_nan() && f64::from(real).to_bits() != number.to_bits() {
        return Err(beyond("real does not hold the number exactly"));
    }
    out.put_f32(real);
    Ok(())
}

/// A double goes in by its shortest decimal text, which is how the message, and everybody else, spells it.
fn write_numeric(value: &Value<'_>, limit: Option<NumericLimit>, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    const TOO_WIDE: Mismatch = beyond("the number has more digits than the numeric column");
    let number = match value {
        Value::Int32(number) => Number::parse(&number.to_string()),
        Value::Int64(number) => Number::parse(&number.to_string()),
        Value::Double(number) if number.is_nan() => Some(Number::NaN),
        Value::Double(number) if number.is_infinite() => {
            Some(Number::Infinite { negative: number.is_sign_negative() })
        }
        // `{:e}` is the shortest text that reads back as the same double.
        Value::Double(number) => Number::parse(&format!("{number:e}")),
        Value::Decimal(decimal) => Number::parse(&decimal.to_string()),
        _ => None,
    };
    let number = number.ok_or(OTHER_TYPE)?;
    match &number {
        Number::Finite(decimal) => {
            if limit.is_some_and(|limit| !decimal.fits(limit)) || !decimal.write(out) {
                return Err(TOO_WIDE);
            }
            Ok(())
        }
        Number::Infinite { .. } if limit.is_some() => Err(NOT_FINITE),
        Number::NaN | Number::Infinite { .. } => {
            write_special(&number, out);
            Ok(())
        }
    }
}

fn write_timestamp(millis: i64, digits: u32, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let step = 10_i64.pow(3_u32.saturating_sub(digits));
    if millis % step != 0 {
        return Err(beyond("the column keeps fewer digits of a second than the date has"));
    }
    // The epoch first: Unix microseconds of the last years would not fit.
    let micros = millis
        .checked_sub(POSTGRES_EPOCH_MICROS / 1000)
        .and_then(|millis| millis.checked_mul(1000))
        .filter(|micros| (MIN_TIMESTAMP..END_TIMESTAMP).contains(micros))
        .ok_or(beyond("the date is outside timestamp"))?;
    out.put_i64(micros);
    Ok(())
}

/// Appends the pipeline's own time, from Unix microseconds.
pub(crate) fn write_instant(unix_micros: i64, out: &mut Vec<u8>) {
    out.put_i64(unix_micros.saturating_sub(POSTGRES_EPOCH_MICROS));
}

fn write_date(millis: i64, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    if millis % MILLIS_A_DAY != 0 {
        return Err(beyond("a date column holds midnight only"));
    }
    let days = millis / MILLIS_A_DAY - POSTGRES_EPOCH_DAYS;
    match i32::try_from(days) {
        Ok(fits) if (MIN_DATE..END_DATE).contains(&days) => {
            out.put_i32(fits);
            Ok(())
        }
        _ => Err(beyond("the date is outside date")),
    }
}

fn write_uuid(text: &str, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let mut digits = text.bytes().filter(|byte| *byte != b'-');
    let mut written = 0;
    while let (Some(high), Some(low)) = (digits.next(), digits.next()) {
        let (Some(high), Some(low)) = (char::from(high).to_digit(16), char::from(low).to_digit(16)) else {
            return Err(OTHER_TYPE);
        };
        out.put_u8(u8::try_from(high * 16 + low).map_err(|_| OTHER_TYPE)?);
        written += 1;
    }
    if written == 16 { Ok(()) } else { Err(OTHER_TYPE) }
}

fn write_bytes(value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    match value {
        Value::Binary { base64, .. } => {
            BASE64.decode_vec(base64.as_bytes(), out).map_err(|_| conflict("the binary value is not base64"))
        }
        Value::Uuid(text) => write_uuid(text, out),
        _ => Err(OTHER_TYPE),
    }
}

fn write_json(json: &str, binary: bool, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    if binary {
        if holds_nul(json) {
            return Err(beyond("jsonb cannot hold U+0000"));
        }
        out.put_u8(JSONB_VERSION);
    }
    out.extend_from_slice(json.as_bytes());
    Ok(())
}

/// Where JSON text holds the escape `\u0000`, which `jsonb` refuses.
fn nul_escapes(json: &str) -> impl Iterator<Item = usize> {
    let bytes = json.as_bytes();
    json.match_indices("\\u0000").map(|(at, _)| at).filter(move |at| {
        // Behind an odd number of backslashes this one is itself escaped.
        bytes[..*at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0
    })
}

/// True where JSON text holds U+0000.
pub(crate) fn holds_nul(json: &str) -> bool {
    nul_escapes(json).next().is_some()
}

/// Appends a document as `jsonb`, with U+FFFD where it has U+0000.
pub(crate) fn write_document(json: &str, out: &mut Vec<u8>) {
    out.put_u8(JSONB_VERSION);
    let mut copied = 0;
    for at in nul_escapes(json) {
        out.extend_from_slice(&json.as_bytes()[copied..at]);
        out.extend_from_slice(b"\\ufffd");
        copied = at + "\\u0000".len();
    }
    out.extend_from_slice(&json.as_bytes()[copied..]);
}

#[cfg(test)]
#[path = "value_to_column_tests.rs"]
mod tests;
