//! What of an `_id` a column takes that is not text: one class of BSON types. Two classes could meet in one value, and
//! then two documents would be one row.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a column lists the types that it takes, and refuses every other, future ones included"
)]

use cdc_event::Value;

use crate::table::column::Column;
use crate::table::column_type::ColumnType;
use crate::values::coerce;
use crate::values::decimal::Number;
use crate::values::value_to_column::{self, Mismatch};

const OTHER_CLASS: Mismatch =
    value_to_column::conflict("an id column of this type does not take an _id of this one");

const OTHER_SPELLING: Mismatch = value_to_column::conflict(
    "the id column is coerced, and takes one spelling alone: of a UUID in lower case, of a date as 2024-01-15, of a time stamp \
     as 2024-01-15T10:30:00.000Z, of a truth 0 and 1",
);

/// Appends an `_id` in the binary form of a column that is not text.
///
/// # Errors
/// Where the `_id` is not of the one class that the column takes, or the column does not hold exactly this one.
/// What was appended until then has to be taken back.
pub(crate) fn write(
    value: &Value<'_>,
    json: &str,
    column: &Column,
    out: &mut Vec<u8>,
) -> Result<(), Mismatch> {
    let column_type = &column.column_type;
    if column.coerced {
        // Beside the values of the column's own class two _ids could meet in one.
        let value = coerce::read_id(value, column_type).ok_or(OTHER_SPELLING)?;
        return value_to_column::write(&value, json, column_type, out);
    }
    match (column_type, value) {
        (ColumnType::Numeric { .. }, Value::Double(number)) if !is_decimal(*number) => {
            Err(value_to_column::beyond(
                "the double is not exactly the decimal that it is spelled as, and the column would not tell the \
                 two apart",
            ))
        }
        (
            ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Float4
            | ColumnType::Float8
            | ColumnType::Numeric { .. },
            Value::Int32(_) | Value::Int64(_) | Value::Double(_) | Value::Decimal(_),
        )
        | (ColumnType::Bool, Value::Bool(_))
        | (
            ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } | ColumnType::Date,
            Value::Date(_),
        )
        | (ColumnType::Uuid, Value::Uuid(_))
        | (ColumnType::Bytea, Value::Binary { subtype: 0, .. }) => {
            value_to_column::write(value, json, column_type, out)
        }
        _ => Err(OTHER_CLASS),
    }
}

/// True where the shortest text of a double is its exact value: of 0.5, not of 0.1.
fn is_decimal(number: f64) -> bool {
    match Number::parse(&format!("{number:e}")) {
        Some(Number::Finite(decimal)) => decimal.to_f64().is_some(),
        // MongoDB has one NaN and two infinities, whatever their type, and so has the column.
        Some(Number::NaN | Number::Infinite { .. }) | None => !number.is_finite(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_that_are_their_spelling() {
        for number in [0.0, -0.0, 0.5, 1.0, 1e22, 9_007_199_254_740_992.0, f64::NAN, f64::INFINITY] {
            assert!(is_decimal(number), "{number}");
        }
        for number in [0.1, 1.1, 1e23, 1e300, f64::MIN_POSITIVE] {
            assert!(!is_decimal(number), "{number}");
        }
    }
}
