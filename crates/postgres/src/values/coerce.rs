//! Values that are taken by their spelling, for columns that the configuration names: never by guess.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a column lists the types that it takes, and refuses every other, future ones included"
)]

use std::borrow::Cow;

use cdc_event::Value;

use crate::table::column_type::ColumnType;

const MILLIS_A_DAY: i64 = 86_400_000;

/// The value that a text or a number spells for a column of this type; nothing where it spells none.
pub(crate) fn read<'a>(value: &'a Value<'_>, column: &ColumnType) -> Option<Value<'a>> {
    match (column, value) {
        (ColumnType::Uuid, Value::String(text)) => is_uuid(text).then_some(Value::Uuid(text)),
        (ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }, Value::String(text)) => {
            instant(text).map(Value::Date)
        }
        (ColumnType::Date, Value::String(text)) => date(text).map(|days| Value::Date(days * MILLIS_A_DAY)),
        (ColumnType::Bool, number) => truth(number).map(Value::Bool),
        _ => None,
    }
}

/// The same for a column of the id: each value has one spelling only.
pub(crate) fn read_id<'a>(value: &'a Value<'_>, column: &ColumnType) -> Option<Value<'a>> {
    let is_canonical = match (column, value) {
        // JavaScript's `toISOString`.
        (ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }, Value::String(text)) => {
            text.len() == "2024-01-15T10:30:00.000Z".len() && text.ends_with('Z')
        }
        (ColumnType::Uuid | ColumnType::Date | ColumnType::Bool, _) => true,
        _ => false,
    };
    read(value, column).filter(|_| is_canonical)
}

/// A UUID in its canonical spelling (RFC 4122): lower case, with its four dashes.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn truth(value: &Value<'_>) -> Option<bool> {
    let number = match value {
        Value::Int32(number) => f64::from(*number),
        Value::Int64(number) if (0..=1).contains(number) => *number as f64,
        Value::Double(number) => *number,
        _ => return None,
    };
    if number == 0.0 {
        Some(false)
    } else if number == 1.0 {
        Some(true)
    } else {
        None
    }
}

/// An instant as RFC 3339 spells it, with a capital `T` and a capital `Z` or an offset, in milliseconds since 1970. What is
/// finer than a millisecond has to be zero; there are no leap seconds in PostgreSQL.
pub(crate) fn instant(text: &str) -> Option<i64> {
    let (day, rest) = text.split_once('T')?;
    let millis_of_day = date(day)?.checked_mul(MILLIS_A_DAY)?;
    let (clock, offset) = match rest.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => {
            let at = rest.rfind(['+', '-'])?;
            let (clock, offset) = rest.split_at(at);
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let millis = (hours * 60 + minutes) * 60_000;
            (clock, if offset.starts_with('-') { -millis } else { millis })
        }
    };
    let (seconds, fraction) = match clock.split_once('.') {
        Some((seconds, fraction)) => (seconds, Cow::Owned(format!("{fraction:0<3}"))),
        None => (clock, Cow::Borrowed("000")),
    };
    let (millis, finer) = fraction.split_at_checked(3)?;
    if clock.ends_with('.') || finer.len() > 6 || finer.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let mut parts = seconds.split(':');
    let (hour, minute, second) =
        (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + digits(millis, 3)?;
    Some(millis_of_day + of_day - offset)
}

/// `2024-01-15` as days since 1970, of the years 0001 to 9999.
pub(crate) fn date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || year == 0 {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    (1..=last).contains(&day).then(|| days_of(year, month, day))
}

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date
/// algorithms", `days_from_civil`).
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Exactly so many digits.
pub(crate) fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_rfc_3339_spells_them() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-01-15T10:30:00Z", 1_705_314_600_000),
            ("2024-01-15T10:30:00.5Z", 1_705_314_600_500),
            ("2024-01-15T10:30:00.250000Z", 1_705_314_600_250),
            ("2024-01-15T10:30:00+00:00", 1_705_314_600_000),
            ("2024-01-15T12:30:00.000+02:00", 1_705_314_600_000),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(instant(text), Some(millis), "{text}");
        }
        for wrong in [
            "yesterday",
            "",
            "2024-01-15",
            "2024-01-15 10:30:00Z",
            "2024-01-15T10:30:00",
            "2024-01-15T10:30Z",
            "2024-01-15t10:30:00z",
            "2024-1-15T10:30:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-15T24:00:00Z",
            "2024-01-15T10:30:60Z",
            "2024-01-15T10:30:00.Z",
            "2024-01-15T10:30:00.0001Z",
            "2024-01-15T10:30:00+0200",
            "2024-01-15T10:30:00+24:00",
            "0000-01-01T00:00:00Z",
            "+2024-01-15T10:30:00Z",
            "٢٠٢٤-01-15T10:30:00Z",
        ] {
            assert_eq!(instant(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_value_of_the_id_has_one_spelling() {
        let tz = ColumnType::TimestampTz { digits: 6 };
        let text = |text: &str| Value::String(text.to_owned().into());
        let canonical = text("2024-01-15T10:30:00.000Z");
        assert_eq!(read_id(&canonical, &tz), Some(Value::Date(1_705_314_600_000)));
        for other in [
            "2024-01-15T10:30:00Z",
            "2024-01-15T10:30:00.00Z",
            "2024-01-15T10:30:00+00:00",
            "2024-01-15T10:30:00.0Z",
        ] {
            assert!(read(&text(other), &tz).is_some(), "{other}");
            assert_eq!(read_id(&text(other), &tz), None, "{other}");
        }
        let uuid = text("00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(
            read_id(&uuid, &ColumnType::Uuid),
            Some(Value::Uuid("00112233-4455-6677-8899-aabbccddeeff"))
        );
        let upper = text("00112233-4455-6677-8899-AABBCCDDEEFF");
        assert_eq!(read(&upper, &ColumnType::Uuid), None);
        assert_eq!(read(&Value::Int32(1), &ColumnType::Bool), Some(Value::Bool(true)));
        assert_eq!(read(&Value::Double(-0.0), &ColumnType::Bool), Some(Value::Bool(false)));
        for other in [Value::Int32(2), Value::Double(0.5), Value::Double(f64::NAN), text("1")] {
            assert_eq!(read(&other, &ColumnType::Bool), None, "{other:?}");
        }
    }
}
