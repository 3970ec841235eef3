//! Dates between 1970's milliseconds and RFC 3339 text, in the proleptic Gregorian calendar.
//!
//! Days from and to civil dates after Howard Hinnant, <https://howardhinnant.github.io/date_algorithms.html>.

const DAY_MS: i64 = 86_400_000;

/// 0001-01-01T00:00:00Z in milliseconds since 1970.
const FIRST_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59.999Z in milliseconds since 1970.
const LAST_MS: i64 = 253_402_300_799_999;

/// `2024-01-15T10:30:00Z`, milliseconds only where they are not zero. False, and nothing written, outside
/// the years 0001 to 9999.
pub(crate) fn write(out: &mut Vec<u8>, millis: i64) -> bool {
    if !(FIRST_MS..=LAST_MS).contains(&millis) {
        return false;
    }
    let (year, month, day) = civil(millis.div_euclid(DAY_MS));
    let of_day = millis.rem_euclid(DAY_MS);
    let (seconds, fraction) = (of_day / 1000, of_day % 1000);
    digits(out, year, 4);
    out.push(b'-');
    digits(out, month, 2);
    out.push(b'-');
    digits(out, day, 2);
    out.push(b'T');
    digits(out, seconds / 3600, 2);
    out.push(b':');
    digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    digits(out, seconds % 60, 2);
    if fraction != 0 {
        out.push(b'.');
        digits(out, fraction, 3);
    }
    out.push(b'Z');
    true
}

/// Milliseconds since 1970 of exactly such a text; `None` for any other.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = split(date, b'-', [4, 2, 2])?;
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) if fraction.len() == 3 => (time, number(fraction)?),
        Some(_) => return None,
        None => (time, 0),
    };
    let [hour, minute, second] = split(time, b':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day);
    // A day or month that the calendar does not have comes back as another one.
    (year > 0 && civil(days) == (year, month, day))
        .then(|| days * DAY_MS + (hour * 3600 + minute * 60 + second) * 1000 + fraction)
}

fn digits(out: &mut Vec<u8>, value: i64, width: u32) {
    for place in (0..width).rev() {
        // A digit is below ten.
        out.push(b'0' + (value / 10_i64.pow(place) % 10) as u8);
    }
}

fn split(text: &str, separator: u8, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(char::from(separator));
    let mut values = [0; 3];
    for (value, width) in values.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width)?;
        *value = number(part)?;
    }
    parts.next().is_none().then_some(values)
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Year, month and day of a number of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since 1970 of a civil date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(millis: i64) -> Option<String> {
        let mut out = Vec::new();
        write(&mut out, millis).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn edges_of_the_calendar() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_705_314_600_000, "2024-01-15T10:30:00Z"),
            (1_705_314_600_007, "2024-01-15T10:30:00.007Z"),
            (FIRST_MS, "0001-01-01T00:00:00Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text(millis).as_deref(), Some(expected));
            assert_eq!(parse(expected), Some(millis));
        }
        for beyond in [FIRST_MS - 1, LAST_MS + 1, i64::MIN, i64::MAX] {
            assert_eq!(text(beyond), None);
        }
    }

    #[test]
    fn only_the_one_spelling_is_read() {
        for wrong in [
            "2024-01-15T10:30:00",
            "2024-1-15T10:30:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-15T24:00:00Z",
            "2024-01-15T10:30:60Z",
            "2024-01-15T10:30:00.1Z",
            "yesterday",
            "",
            "0000-01-01T00:00:00Z",
            "2024-01-15T10:30:00+00:00",
            "+024-01-15T10:30:00Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_reads_back(millis in FIRST_MS..=LAST_MS) {
            proptest::prop_assert_eq!(parse(&text(millis).unwrap()), Some(millis));
        }
    }
}
