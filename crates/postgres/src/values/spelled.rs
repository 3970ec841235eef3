//! From a text to the binary value of a type whose values documents can only spell. Each value has one text, which is the one
//! that reads back; every other text is refused, and PostgreSQL's own parsers see none.

use std::net::IpAddr;

use bytes::BufMut;

use crate::table::column_type::{RangeOf, SpelledType};
use crate::values::coerce::{date, digits, instant};
use crate::values::decimal::{Number, write_special};

/// PostgreSQL's epoch, 2000-01-01, in Unix milliseconds and in days since 1970.
const EPOCH_MILLIS: i64 = 946_684_800_000;
const EPOCH_DAYS: i64 = 10_957;

const MICROS_A_SECOND: i64 = 1_000_000;

/// `PGSQL_AF_INET` and `PGSQL_AF_INET6` of `utils/inet.h`.
const INET: u8 = 2;
const INET6: u8 = 3;

/// A range's flags (`utils/rangetypes.h`).
const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// What a text of the type looks like, for messages.
pub(crate) const fn spelling(of: SpelledType) -> &'static str {
    match of {
        SpelledType::Time { .. } => "the column takes a time such as 10:30:00 or 10:30:00.25",
        SpelledType::Interval { .. } => {
            "the column takes an interval as PostgreSQL's iso_8601 style has it, such as P1Y2M3DT4H5M6.5S"
        }
        SpelledType::Inet => "the column takes an address such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::1",
        SpelledType::Cidr => {
            "the column takes a network with its length, such as 10.0.0.0/8 or 2001:db8::/32"
        }
        SpelledType::MacAddr => "the column takes an address such as 08:00:2b:01:02:03",
        SpelledType::MacAddr8 => "the column takes an address such as 08:00:2b:ff:fe:01:02:03",
        SpelledType::Bit { .. } | SpelledType::VarBit { .. } => {
            "the column takes a text of 0s and 1s, of its length"
        }
        SpelledType::Range(RangeOf::Int4 | RangeOf::Int8) => {
            "the column takes a range such as [1,5) or empty"
        }
        SpelledType::Range(RangeOf::Numeric) => "the column takes a range such as [1.5,2.5], (,2.5) or empty",
        SpelledType::Range(RangeOf::Date) => {
            "the column takes a range such as [2024-01-01,2024-02-01) or empty"
        }
        SpelledType::Range(RangeOf::Timestamp | RangeOf::TimestampTz) => {
            "the column takes a range such as [2024-01-15T10:30:00Z,2024-01-16T00:00:00Z) or empty"
        }
    }
}

/// Appends the value that the text spells; `None` where it spells none. What was appended until then has to be taken back.
pub(crate) fn write(text: &str, of: SpelledType, out: &mut Vec<u8>) -> Option<()> {
    match of {
        SpelledType::Time { digits } => out.put_i64(time(text, digits)?),
        SpelledType::Interval { digits } => {
            let interval =
                Interval::parse(text).filter(|it| is_fine(it.micros, digits) && it.to_text() == text)?;
            out.put_i64(interval.micros);
            out.put_i32(interval.days);
            out.put_i32(interval.months);
        }
        SpelledType::Inet => network(text, false, out)?,
        SpelledType::Cidr => network(text, true, out)?,
        SpelledType::MacAddr => hardware_address(text, 6, out)?,
        SpelledType::MacAddr8 => hardware_address(text, 8, out)?,
        SpelledType::Bit { bits } => bit_string(text, out).filter(|length| *length == bits).map(drop)?,
        SpelledType::VarBit { max_bits } => {
            bit_string(text, out).filter(|length| max_bits.is_none_or(|max| *length <= max)).map(drop)?;
        }
        SpelledType::Range(of) => range(text, of, out)?,
    }
    Some(())
}

/// True where a column keeps all digits of a fraction of a second.
fn is_fine(micros: i64, digits: u32) -> bool {
    micros % 10_i64.pow(6_u32.saturating_sub(digits)) == 0
}

/// `10:30:00` with as many digits behind the point as are not zero.
fn time(text: &str, kept: u32) -> Option<i64> {
    let (clock, micros) = match text.split_once('.') {
        None => (text, 0),
        Some((_, fraction)) if fraction.ends_with('0') || !(1..=6).contains(&fraction.len()) => return None,
        Some((clock, fraction)) => (clock, digits(&format!("{fraction:0<6}"), 6)?),
    };
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || !is_fine(micros, kept) {
        return None;
    }
    Some(((hour * 60 + minute) * 60 + second) * MICROS_A_SECOND + micros)
}

/// An interval has three parts that PostgreSQL never converts into one another.
#[derive(Debug, Default, PartialEq, Eq)]
struct Interval {
    months: i32,
    days: i32,
    micros: i64,
}

impl Interval {
    /// Designators in their order, each at most once; what of it is canonical is for [`Interval::to_text`] to say.
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('P')?;
        let (of_days, of_clock) = rest.split_once('T').unwrap_or((rest, ""));
        let mut interval = Self::default();
        for (number, unit) in designated(of_days)? {
            let number: i32 = number.parse().ok()?;
            let months = match unit {
                'Y' => number.checked_mul(12)?,
                'M' => number,
                'D' => {
                    interval.days = number;
                    continue;
                }
                _ => return None,
            };
            interval.months = interval.months.checked_add(months)?;
        }
        for (number, unit) in designated(of_clock)? {
            let micros = match unit {
                'H' => number.parse::<i64>().ok()?.checked_mul(3_600 * MICROS_A_SECOND)?,
                'M' => number.parse::<i64>().ok()?.checked_mul(60 * MICROS_A_SECOND)?,
                'S' => seconds(number)?,
                _ => return None,
            };
            interval.micros = interval.micros.checked_add(micros)?;
        }
        Some(interval)
    }

    /// As PostgreSQL writes it under `IntervalStyle = iso_8601` (`EncodeInterval`).
    fn to_text(&self) -> String {
        let (years, months) = (self.months / 12, self.months % 12);
        let (hours, rest) =
            (self.micros / (3_600 * MICROS_A_SECOND), self.micros % (3_600 * MICROS_A_SECOND));
        let (minutes, micros) = (rest / (60 * MICROS_A_SECOND), rest % (60 * MICROS_A_SECOND));
        let part =
            |number: i64, unit: &str| if number == 0 { String::new() } else { format!("{number}{unit}") };
        let sign = if micros < 0 { "-" } else { "" };
        let (whole, fraction) = (micros.abs() / MICROS_A_SECOND, micros.abs() % MICROS_A_SECOND);
        let seconds = match (micros, fraction) {
            (0, _) => String::new(),
            (_, 0) => format!("{sign}{whole}S"),
            _ => format!("{sign}{whole}.{}S", format!("{fraction:06}").trim_end_matches('0')),
        };
        let clock = [part(hours, "H"), part(minutes, "M"), seconds].concat();
        let days = [part(years.into(), "Y"), part(months.into(), "M"), part(self.days.into(), "D")].concat();
        match (days.is_empty(), clock.is_empty()) {
            (true, true) => "PT0S".to_owned(),
            (_, true) => format!("P{days}"),
            (_, false) => format!("P{days}T{clock}"),
        }
    }
}

/// `1Y2M` as its numbers with their designators.
fn designated(text: &str) -> Option<Vec<(&str, char)>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(|char: char| char.is_ascii_uppercase())?;
        let (number, unit) = rest.split_at(at);
        parts.push((number, unit.chars().next()?));
        rest = &unit[1..];
    }
    Some(parts)
}

fn seconds(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let micros = digits(&format!("{fraction:0<6}"), 6)?;
    let whole = digits(whole, whole.len())?.checked_mul(MICROS_A_SECOND)?;
    Some(sign * whole.checked_add(micros)?)
}

/// An address with its network's length, which stands there where it is not the address's own.
fn network(text: &str, is_cidr: bool, out: &mut Vec<u8>) -> Option<()> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => {
            (address, Some(length.parse::<u8>().ok().filter(|it| it.to_string() == length)?))
        }
        None => (address_only(text, is_cidr)?, None),
    };
    let address: IpAddr = address.parse().ok().filter(|it: &IpAddr| it.to_string() == address)?;
    let (family, bytes) = match address {
        IpAddr::V4(address) => (INET, address.octets().to_vec()),
        IpAddr::V6(address) => (INET6, address.octets().to_vec()),
    };
    let all = u8::try_from(bytes.len() * 8).ok()?;
    // An `inet` of full length is shown without it.
    let length = match length {
        Some(length) if length > all || length == all && !is_cidr => return None,
        Some(length) => length,
        None => all,
    };
    if is_cidr && has_host_bits(address, length) {
        return None;
    }
    out.extend_from_slice(&[family, length, u8::from(is_cidr), u8::try_from(bytes.len()).ok()?]);
    out.extend_from_slice(&bytes);
    Some(())
}

/// A `cidr` always shows its length.
const fn address_only(text: &str, is_cidr: bool) -> Option<&str> {
    if is_cidr { None } else { Some(text) }
}

fn has_host_bits(address: IpAddr, length: u8) -> bool {
    match address {
        IpAddr::V4(address) => {
            u32::from(address).checked_shl(u32::from(length)).is_some_and(|rest| rest != 0)
        }
        IpAddr::V6(address) => {
            u128::from(address).checked_shl(u32::from(length)).is_some_and(|rest| rest != 0)
        }
    }
}

/// Pairs of lower-case hex digits with colons between.
fn hardware_address(text: &str, bytes: usize, out: &mut Vec<u8>) -> Option<()> {
    let pairs: Vec<&str> = text.split(':').collect();
    if pairs.len() != bytes {
        return None;
    }
    for pair in pairs {
        let is_hex = pair.len() == 2 && pair.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        out.put_u8(u8::from_str_radix(pair, 16).ok().filter(|_| is_hex)?);
    }
    Some(())
}

/// Returns how many bits there are.
fn bit_string(text: &str, out: &mut Vec<u8>) -> Option<usize> {
    if text.bytes().any(|byte| !matches!(byte, b'0' | b'1')) {
        return None;
    }
    out.put_i32(i32::try_from(text.len()).ok()?);
    for chunk in text.as_bytes().chunks(8) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 1 | (byte - b'0'));
        out.put_u8(bits << (8 - chunk.len()));
    }
    Some(text.len())
}

/// A bound of a range: how it compares, and its bytes.
struct Bound {
    order: Order,
    bytes: Vec<u8>,
}

#[derive(PartialEq, PartialOrd)]
enum Order {
    Integer(i64),
    Decimal(f64),
}

fn range(text: &str, of: RangeOf, out: &mut Vec<u8>) -> Option<()> {
    if text == "empty" {
        out.put_u8(EMPTY);
        return Some(());
    }
    let is_discrete = matches!(of, RangeOf::Int4 | RangeOf::Int8 | RangeOf::Date);
    let (lower_inclusive, rest) = bracket(text.strip_prefix('['), text.strip_prefix('('))?;
    let (upper_inclusive, rest) = bracket(rest.strip_suffix(']'), rest.strip_suffix(')'))?;
    let (lower, upper) = rest.split_once(',')?;
    let (lower, upper) = (bound(lower, of)?, bound(upper, of)?);
    let mut flags = 0;
    // An end without a bound is shown open, and a range of whole numbers half-open.
    match &lower {
        None if lower_inclusive => return None,
        None => flags |= LOWER_INFINITE,
        Some(_) if is_discrete && !lower_inclusive => return None,
        Some(_) => flags |= if lower_inclusive { LOWER_INCLUSIVE } else { 0 },
    }
    match &upper {
        None if upper_inclusive => return None,
        None => flags |= UPPER_INFINITE,
        Some(_) if is_discrete && upper_inclusive => return None,
        Some(_) => flags |= if upper_inclusive { UPPER_INCLUSIVE } else { 0 },
    }
    if let (Some(lower), Some(upper)) = (&lower, &upper) {
        let holds_something =
            lower.order < upper.order || lower.order == upper.order && lower_inclusive && upper_inclusive;
        if !holds_something {
            return None;
        }
    }
    out.put_u8(flags);
    for bound in [lower, upper].into_iter().flatten() {
        out.put_i32(i32::try_from(bound.bytes.len()).ok()?);
        out.extend_from_slice(&bound.bytes);
    }
    Some(())
}

fn bracket<'t>(closed: Option<&'t str>, open: Option<&'t str>) -> Option<(bool, &'t str)> {
    closed.map(|rest| (true, rest)).or_else(|| open.map(|rest| (false, rest)))
}

/// `Some(None)` where there is no bound.
#[expect(clippy::option_option, reason = "no bound is no failure")]
fn bound(text: &str, of: RangeOf) -> Option<Option<Bound>> {
    if text.is_empty() {
        return Some(None);
    }
    let mut bytes = Vec::new();
    let integer = |text: &str| text.parse::<i64>().ok().filter(|it| it.to_string() == text);
    let order = match of {
        RangeOf::Int4 => {
            let number = i32::try_from(integer(text)?).ok()?;
            bytes.put_i32(number);
            Order::Integer(number.into())
        }
        RangeOf::Int8 => {
            let number = integer(text)?;
            bytes.put_i64(number);
            Order::Integer(number)
        }
        RangeOf::Numeric => {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
            match Number::parse(text).filter(|_| is_plain)? {
                Number::Finite(decimal) => decimal.write(&mut bytes).then_some(())?,
                special @ (Number::NaN | Number::Infinite { .. }) => write_special(&special, &mut bytes),
            }
            Order::Decimal(text.parse().ok()?)
        }
        RangeOf::Date => {
            let days = date(text)? - EPOCH_DAYS;
            bytes.put_i32(i32::try_from(days).ok()?);
            Order::Integer(days)
        }
        RangeOf::Timestamp | RangeOf::TimestampTz => {
            let micros = (instant(text)? - EPOCH_MILLIS) * 1000;
            bytes.put_i64(micros);
            Order::Integer(micros)
        }
    };
    Some(Some(Bound { order, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, of: SpelledType) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        write(text, of, &mut out).map(|()| out)
    }

    #[test]
    fn a_time_has_one_text() {
        let of = SpelledType::Time { digits: 3 };
        assert_eq!(written("00:00:01.5", of).unwrap(), 1_500_000_i64.to_be_bytes());
        for wrong in
            ["1:00:00", "24:00:00", "10:30", "10:30:00.50", "10:30:00.", "10:30:00.1234", "10:30:00Z", "now"]
        {
            assert_eq!(written(wrong, of), None, "{wrong}");
        }
    }

    #[test]
    fn an_interval_has_one_text() {
        let of = SpelledType::Interval { digits: 6 };
        for text in [
            "PT0S",
            "P1Y2M3DT4H5M6.5S",
            "P-1Y-2M3DT-4H-5M-6S",
            "PT-0.000001S",
            "P1M",
            "P40D",
            "PT100H",
            "P14Y",
        ] {
            assert!(written(text, of).is_some(), "{text}");
        }
        let mut expected = 90_000_000_i64.to_be_bytes().to_vec();
        expected.extend([0, 0, 0, 3, 0, 0, 0, 14]);
        assert_eq!(written("P1Y2M3DT1M30S", of).unwrap(), expected);
        for wrong in [
            "", "P", "PT", "P0D", "P14M", "PT90S", "P1W", "P1D2Y", "1 day", "P1YT", "PT1.5H", "PT6.50S",
            "P+1D", "P1Y1Y",
        ] {
            assert_eq!(written(wrong, of), None, "{wrong}");
        }
        assert_eq!(written("PT0.001S", SpelledType::Interval { digits: 2 }), None);
    }

    #[test]
    fn addresses_have_one_text() {
        for text in ["10.0.0.1", "10.0.0.1/8", "0.0.0.0/0", "::1", "2001:db8::1/64"] {
            assert!(written(text, SpelledType::Inet).is_some(), "{text}");
        }
        for wrong in
            ["10.0.0.1/32", "10.1", "010.0.0.1", "10.0.0.1/08", "::0001", "2001:DB8::1", "10.0.0.1/33", "a"]
        {
            assert_eq!(written(wrong, SpelledType::Inet), None, "{wrong}");
        }
        for text in ["10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "2001:db8::/32", "::1/128"] {
            assert!(written(text, SpelledType::Cidr).is_some(), "{text}");
        }
        for wrong in ["10.0.0.1/8", "10.0.0.0", "2001:db8::1/32"] {
            assert_eq!(written(wrong, SpelledType::Cidr), None, "{wrong}");
        }
        assert_eq!(written("08:00:2b:01:02:03", SpelledType::MacAddr).unwrap(), [8, 0, 0x2b, 1, 2, 3]);
        for wrong in
            ["08-00-2b-01-02-03", "08:00:2B:01:02:03", "8:0:2b:1:2:3", "08:00:2b:01:02", "+8:00:2b:01:02:03"]
        {
            assert_eq!(written(wrong, SpelledType::MacAddr), None, "{wrong}");
        }
    }

    #[test]
    fn bits_are_as_many_as_the_column_has() {
        assert_eq!(written("101", SpelledType::Bit { bits: 3 }).unwrap(), [0, 0, 0, 3, 0b1010_0000]);
        assert_eq!(written("101", SpelledType::Bit { bits: 4 }), None);
        assert_eq!(written("", SpelledType::VarBit { max_bits: Some(2) }).unwrap(), [0, 0, 0, 0]);
        assert_eq!(written("111", SpelledType::VarBit { max_bits: Some(2) }), None);
        assert_eq!(written("12", SpelledType::VarBit { max_bits: None }), None);
        assert_eq!(
            written("111111111", SpelledType::VarBit { max_bits: None }).unwrap(),
            [0, 0, 0, 9, 255, 128]
        );
    }

    #[test]
    fn ranges_have_one_text() {
        let of = SpelledType::Range;
        for (text, kind) in [
            ("empty", RangeOf::Int4),
            ("[1,5)", RangeOf::Int4),
            ("(,5)", RangeOf::Int8),
            ("[1,)", RangeOf::Int8),
            ("(,)", RangeOf::Int4),
            ("[1.5,2.50]", RangeOf::Numeric),
            ("[2,2]", RangeOf::Numeric),
            ("(1,2]", RangeOf::Numeric),
            ("[2024-01-01,2024-02-01)", RangeOf::Date),
            ("[2024-01-15T10:30:00Z,)", RangeOf::TimestampTz),
        ] {
            assert!(written(text, of(kind)).is_some(), "{text}");
        }
        for (wrong, kind) in [
            ("[1,5]", RangeOf::Int4),
            ("(1,5)", RangeOf::Int4),
            ("[5,1)", RangeOf::Int4),
            ("[1,1)", RangeOf::Int4),
            ("[1, 5)", RangeOf::Int4),
            ("[01,5)", RangeOf::Int4),
            ("[,5)", RangeOf::Int4),
            ("[1,2147483648)", RangeOf::Int4),
            ("(2,2]", RangeOf::Numeric),
            ("[1e2,)", RangeOf::Numeric),
            ("[NaN,)", RangeOf::Numeric),
            ("[yesterday,)", RangeOf::TimestampTz),
            ("1,5", RangeOf::Int4),
        ] {
            assert_eq!(written(wrong, of(kind)), None, "{wrong}");
        }
    }
}
