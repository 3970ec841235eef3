//! From a BSON array to the text of a PostgreSQL array: its values are written as exactly as in a column of their own.
//!
//! There is no array of arrays, so a column of arrays cannot travel as an array of its values. It travels as text that
//! this file alone makes, out of values that have passed: PostgreSQL's parser sees nothing that a document spells.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a column lists the types that it takes, and refuses every other, future ones included"
)]

use std::collections::HashMap;
use std::fmt::Write as _;

use cdc_event::{BsonType, Value};

use crate::table::column_type::{ArrayType, ColumnType};
use crate::values::coerce;
use crate::values::decimal::Number;
use crate::values::items::items;
use crate::values::value_to_column::{self, Mismatch, beyond, conflict};

/// The most dimensions that an array has (`MAXDIM` in `c.h`).
const DIMENSIONS_MAX: usize = 6;

const RAGGED: Mismatch = conflict("an array's inner arrays have to be of one length, and none of them empty");

/// The types of an array's values that their spelling does not show, by the end of their pointers.
pub(crate) type ElementTypes<'t> = &'t [(usize, String, BsonType)];

/// Appends an array's text. `types` are those of the column of this place.
///
/// # Errors
/// Where one of its values does not fit, or where it is no array. What was appended until then has to be taken back.
pub(crate) fn write(
    value: &Value<'_>,
    array: &ArrayType,
    is_coerced: bool,
    (place, types): (usize, ElementTypes<'_>),
    out: &mut Vec<u8>,
) -> Result<(), Mismatch> {
    let Value::Array(json) = value else {
        return Err(conflict("the value's type does not fit the column's"));
    };
    let types = types
        .iter()
        .filter(|(of, _, _)| *of == place)
        .map(|(_, pointer, it)| (pointer.as_str(), *it))
        .collect();
    let (pointer, text) = (String::new(), String::new());
    let mut writer = Writer { array, is_coerced, types, pointer, lengths: Vec::new(), text };
    writer.dimension(json, 0)?;
    out.extend_from_slice(writer.text.as_bytes());
    Ok(())
}

struct Writer<'w> {
    array: &'w ArrayType,
    is_coerced: bool,
    types: HashMap<&'w str, BsonType>,
    pointer: String,
    /// How many values each dimension has, as far as known.
    lengths: Vec<usize>,
    text: String,
}

impl Writer<'_> {
    fn dimension(&mut self, json: &str, depth: usize) -> Result<(), Mismatch> {
        if depth == DIMENSIONS_MAX {
            return Err(beyond("an array has at most six dimensions"));
        }
        let items = items(json).ok_or(conflict("the value is no array"))?;
        let length = items.len();
        match self.lengths.get(depth) {
            None => self.lengths.push(length),
            Some(known) if *known != length => return Err(RAGGED),
            Some(_) => {}
        }
        if length == 0 && depth > 0 {
            return Err(RAGGED);
        }
        self.text.push('{');
        let mut holds = None;
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                self.text.push(',');
            }
            let back = self.pointer.len();
            let _infallible = write!(self.pointer, "/{number}");
            let is_inner = item.starts_with('[') && !self.is_json();
            // Of one dimension either all are values or all are arrays.
            if holds.is_some_and(|before| before != is_inner) || !is_inner && self.lengths.len() > depth + 1 {
                return Err(RAGGED);
            }
            holds = Some(is_inner);
            if is_inner {
                self.dimension(item, depth + 1)?;
            } else {
                self.element(item)?;
            }
            self.pointer.truncate(back);
        }
        self.text.push('}');
        Ok(())
    }

    fn is_json(&self) -> bool {
        matches!(self.array.element, ColumnType::Json | ColumnType::Jsonb)
    }

    fn element(&mut self, json: &str) -> Result<(), Mismatch> {
        let bson_type = self.types.get(self.pointer.as_str()).copied();
        if json == "null" && bson_type.is_none() {
            if self.array.not_null {
                return Err(conflict("the array holds null, and its values' type forbids NULL"));
            }
            self.text.push_str("NULL");
            return Ok(());
        }
        let read = Value::read(json, bson_type)
            .map_err(|_| conflict("a value of the array and its entry in bson_types do not go together"))?;
        let spelled = self.is_coerced.then(|| coerce::read(&read, &self.array.element)).flatten();
        let value = spelled.as_ref().unwrap_or(&read);
        let mut binary = Vec::new();
        value_to_column::write(value, json, &self.array.element, &mut binary)?;
        let text = text_of(value, json, &self.array.element, &binary)?;
        self.push_quoted(&text);
        Ok(())
    }

    /// Quoted always: then nothing in it means anything but a quote and a backslash, which are escaped.
    fn push_quoted(&mut self, text: &str) {
        self.text.push('"');
        for char in text.chars() {
            if matches!(char, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(char);
        }
        self.text.push('"');
    }
}

/// The text of a value that has passed, which PostgreSQL reads back as the same: from its binary form, where it has one.
fn text_of(value: &Value<'_>, json: &str, element: &ColumnType, binary: &[u8]) -> Result<String, Mismatch> {
    let wide = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).unwrap_or_default();
    let text = match element {
        ColumnType::Int2 => binary.try_into().map(i16::from_be_bytes).unwrap_or_default().to_string(),
        ColumnType::Int4 => binary.try_into().map(i32::from_be_bytes).unwrap_or_default().to_string(),
        ColumnType::Int8 => wide(binary).to_string(),
        ColumnType::Float4 => float(binary.try_into().map(f32::from_be_bytes).unwrap_or_default().into()),
        ColumnType::Float8 => float(binary.try_into().map(f64::from_be_bytes).unwrap_or_default()),
        ColumnType::Numeric { .. } => number(value)?,
        ColumnType::Bool => if binary == [1] { "t" } else { "f" }.to_owned(),
        ColumnType::Timestamp { .. } => timestamp(wide(binary), ""),
        ColumnType::TimestampTz { .. } => timestamp(wide(binary), "+00"),
        ColumnType::Date => {
            let days = i64::from(binary.try_into().map(i32::from_be_bytes).unwrap_or_default());
            let (day, era) = civil(days + DAYS_TO_2000);
            format!("{day}{era}")
        }
        ColumnType::Uuid => hex(binary),
        ColumnType::Bytea => format!("\\x{}", hex(binary)),
        ColumnType::Json | ColumnType::Jsonb => json.to_owned(),
        // Their binary form, or what stands for it, is their text.
        ColumnType::Text { .. } | ColumnType::Enum(_) => String::from_utf8_lossy(binary).into_owned(),
        ColumnType::Spelled(_) => match value {
            Value::String(text) | Value::Symbol(text) => text.clone().into_owned(),
            _ => return Err(conflict("the value's type does not fit the column's")),
        },
        ColumnType::Array(_) | ColumnType::Unsupported(_) => {
            return Err(conflict("the column's type is not supported"));
        }
    };
    Ok(text)
}

/// The shortest text that reads back as the same number.
fn float(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        format!("{number:e}")
    }
}

fn number(value: &Value<'_>) -> Result<String, Mismatch> {
    let text = match value {
        Value::Int32(number) => number.to_string(),
        Value::Int64(number) => number.to_string(),
        Value::Double(number) => float(*number),
        Value::Decimal(decimal) => decimal.to_string(),
        _ => return Err(conflict("the value's type does not fit the column's")),
    };
    Ok(match Number::parse(&text) {
        Some(Number::Finite(decimal)) => decimal.to_text(),
        Some(Number::NaN | Number::Infinite { .. }) | None => text,
    })
}

/// Days from 1970 to 2000.
const DAYS_TO_2000: i64 = 10_957;

/// Microseconds since 2000, as PostgreSQL reads them whatever `DateStyle` says.
fn timestamp(micros: i64, zone: &str) -> String {
    const A_DAY: i64 = 86_400_000_000;
    let (day, era) = civil(micros.div_euclid(A_DAY) + DAYS_TO_2000);
    let of_day = micros.rem_euclid(A_DAY);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{day} {hour:02}:{minute:02}:{second:02}.{fraction:06}{zone}{era}")
}

/// A day since 1970 as `year-month-day`, and ` BC` where there is no year 1 yet (Hinnant, `civil_from_days`).
fn civil(days: i64) -> (String, &'static str) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if year > 0 {
        (format!("{year:04}-{month:02}-{day:02}"), "")
    } else {
        (format!("{:04}-{month:02}-{day:02}", 1 - year), " BC")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: ColumnType = ColumnType::Text { max_chars: Some(3), padded: false };

    fn written(json: &str, element: ColumnType, types: &[(&str, BsonType)]) -> Result<String, Mismatch> {
        let array = ArrayType { sql: String::new(), element, not_null: false };
        let types: Vec<(usize, String, BsonType)> =
            types.iter().map(|(pointer, bson_type)| (0, (*pointer).to_owned(), *bson_type)).collect();
        let mut out = Vec::new();
        write(&Value::Array(json), &array, false, (0, &types), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_are_quoted_whatever_they_hold() {
        assert_eq!(written("[]", TEXT, &[]).unwrap(), "{}");
        assert_eq!(written("[\"a\",null,\"\"]", TEXT, &[]).unwrap(), "{\"a\",NULL,\"\"}");
        assert_eq!(
            written("[\"NULL\"]", ColumnType::Text { max_chars: None, padded: false }, &[]).unwrap(),
            "{\"NULL\"}"
        );
        assert_eq!(written("[\"\\\"\\\\{\"]", TEXT, &[]).unwrap(), "{\"\\\"\\\\{\"}");
        assert!(written("[\"four\"]", TEXT, &[]).is_err());
        assert!(written("[1]", TEXT, &[]).is_err());
        assert!(written("[\"a\",1]", ColumnType::Int4, &[]).is_err());
    }

    #[test]
    fn dimensions_are_rectangular() {
        assert_eq!(
            written("[[1,2],[3,null]]", ColumnType::Int4, &[]).unwrap(),
            "{{\"1\",\"2\"},{\"3\",NULL}}"
        );
        for wrong in ["[[1],[2,3]]", "[[]]", "[1,[2]]", "[[1],2]", "[[1],null]", "[[[[[[[1]]]]]]]"] {
            assert!(written(wrong, ColumnType::Int4, &[]).is_err(), "{wrong}");
        }
        assert_eq!(
            written("[[1],{\"a\":2}]", ColumnType::Jsonb, &[]).unwrap(),
            "{\"[1]\",\"{\\\"a\\\":2}\"}"
        );
    }

    #[test]
    fn types_are_those_of_the_values() {
        let dates = [("/0", BsonType::Date), ("/1", BsonType::Date)];
        let tz = ColumnType::TimestampTz { digits: 6 };
        let text = written("[\"2024-01-15T10:30:00.250Z\",-62167219200000]", tz.clone(), &dates).unwrap();
        assert_eq!(text, "{\"2024-01-15 10:30:00.250000+00\",\"0001-01-01 00:00:00.000000+00 BC\"}");
        assert!(written("[\"2024-01-15T10:30:00Z\"]", tz, &[]).is_err(), "a string is no date");
        let numeric = ColumnType::Numeric { limit: None };
        assert_eq!(
            written("[1,\"1.50\",0.1]", numeric, &[("/1", BsonType::Decimal)]).unwrap(),
            "{\"1e0\",\"150e-2\",\"1e-1\"}"
        );
        assert_eq!(written("[0.1,-0.0]", ColumnType::Float8, &[]).unwrap(), "{\"1e-1\",\"-0e0\"}");
    }

    #[test]
    fn days_have_their_names() {
        for (days, name) in
            [(0, "1970-01-01"), (10_957, "2000-01-01"), (19_782, "2024-02-29"), (-719_162, "0001-01-01")]
        {
            assert_eq!(civil(days), (name.to_owned(), ""), "{days}");
        }
        assert_eq!(civil(-719_163), ("0001-12-31".to_owned(), " BC"));
    }
}
