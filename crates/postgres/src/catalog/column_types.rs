//! A column's type from its number and modifier in the catalog.

use crate::table::column_type::{ColumnType, NumericLimit, RangeOf, SpelledType};

/// A type by its number (`pg_type.dat` in PostgreSQL's source; these never change) and its modifier.
pub(crate) fn column_type(oid: u32, modifier: i32, shown: String) -> ColumnType {
    // varchar, char and numeric store their modifier with 4 added; -1 is none.
    let length = usize::try_from(modifier - 4).ok();
    let digits = u32::try_from(modifier).unwrap_or(6);
    match oid {
        25 => ColumnType::Text { max_chars: None, padded: false },
        1043 => ColumnType::Text { max_chars: length, padded: false },
        1042 => ColumnType::Text { max_chars: length, padded: true },
        21 => ColumnType::Int2,
        23 => ColumnType::Int4,
        20 => ColumnType::Int8,
        700 => ColumnType::Float4,
        701 => ColumnType::Float8,
        1700 => ColumnType::Numeric { limit: numeric_limit(modifier) },
        16 => ColumnType::Bool,
        1114 => ColumnType::Timestamp { digits },
        1184 => ColumnType::TimestampTz { digits },
        1082 => ColumnType::Date,
        2950 => ColumnType::Uuid,
        17 => ColumnType::Bytea,
        114 => ColumnType::Json,
        3802 => ColumnType::Jsonb,
        1083 => ColumnType::Spelled(SpelledType::Time { digits }),
        1186 => match interval_digits(modifier) {
            Some(digits) => ColumnType::Spelled(SpelledType::Interval { digits }),
            None => ColumnType::Unsupported(format!("{shown} of certain fields only")),
        },
        869 => ColumnType::Spelled(SpelledType::Inet),
        650 => ColumnType::Spelled(SpelledType::Cidr),
        829 => ColumnType::Spelled(SpelledType::MacAddr),
        774 => ColumnType::Spelled(SpelledType::MacAddr8),
        1560 => ColumnType::Spelled(SpelledType::Bit { bits: usize::try_from(modifier).unwrap_or(1) }),
        1562 => ColumnType::Spelled(SpelledType::VarBit { max_bits: usize::try_from(modifier).ok() }),
        3904 => ColumnType::Spelled(SpelledType::Range(RangeOf::Int4)),
        3926 => ColumnType::Spelled(SpelledType::Range(RangeOf::Int8)),
        3906 => ColumnType::Spelled(SpelledType::Range(RangeOf::Numeric)),
        3912 => ColumnType::Spelled(SpelledType::Range(RangeOf::Date)),
        3908 => ColumnType::Spelled(SpelledType::Range(RangeOf::Timestamp)),
        3910 => ColumnType::Spelled(SpelledType::Range(RangeOf::TimestampTz)),
        _ => ColumnType::Unsupported(shown),
    }
}

/// `interval`'s modifier: the fields in its upper half, all of them 0x7fff, and the digits in its lower, any 0xffff
/// (`INTERVAL_FULL_RANGE` and `INTERVAL_FULL_PRECISION` in `utils/timestamp.h`). `None` where it keeps some fields only.
fn interval_digits(modifier: i32) -> Option<u32> {
    const ALL_FIELDS: u32 = 0x7fff;
    const DIGITS: u32 = 6;
    let Ok(packed) = u32::try_from(modifier) else { return Some(DIGITS) };
    (packed >> 16 == ALL_FIELDS).then_some((packed & 0xffff).min(DIGITS))
}

/// `numeric`'s modifier: precision in the upper half, an eleven-bit signed scale in the lower
/// (`numeric_typmod_scale` in PostgreSQL's `numeric.c`).
fn numeric_limit(modifier: i32) -> Option<NumericLimit> {
    let packed = u32::try_from(modifier.checked_sub(4)?).ok()?;
    let scale = i32::try_from(packed & 0x7ff).ok()?;
    Some(NumericLimit {
        precision: i32::try_from((packed >> 16) & 0xffff).ok()?,
        scale: (scale ^ 1024) - 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_become_limits() {
        let shown = String::new;
        assert_eq!(column_type(1043, 259, shown()), ColumnType::Text { max_chars: Some(255), padded: false });
        assert_eq!(column_type(1043, -1, shown()), ColumnType::Text { max_chars: None, padded: false });
        assert_eq!(column_type(1042, 7, shown()), ColumnType::Text { max_chars: Some(3), padded: true });
        assert_eq!(column_type(1114, -1, shown()), ColumnType::Timestamp { digits: 6 });
        assert_eq!(column_type(1184, 0, shown()), ColumnType::TimestampTz { digits: 0 });
        assert_eq!(
            (interval_digits(-1), interval_digits(0x7fff_0003), interval_digits(4)),
            (Some(6), Some(3), None)
        );
        assert_eq!(column_type(1700, -1, shown()), ColumnType::Numeric { limit: None });
        // SELECT atttypmod of numeric(10,2) and numeric(3,-2) in PostgreSQL 15
        assert_eq!(numeric_limit(655_366), Some(NumericLimit { precision: 10, scale: 2 }));
        assert_eq!(numeric_limit(198_658), Some(NumericLimit { precision: 3, scale: -2 }));
    }
}
