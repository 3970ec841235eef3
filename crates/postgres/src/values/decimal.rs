//! Exact decimal numbers, from their text to PostgreSQL's binary `numeric`.

use bytes::BufMut;

use crate::table::column_type::NumericLimit;

/// `numeric`'s sign word (PostgreSQL's `numeric.c`).
const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;
/// Decimal digits behind the point that `numeric` can say it displays.
const MAX_DISPLAY_SCALE: i32 = 16_383;

/// A finite decimal number: `digits × 10^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Decimal digits, most significant first, without leading zeros; empty for zero.
    digits: Vec<u8>,
    exponent: i32,
}

/// A number's text, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// A finite number.
    Finite(Decimal),
    /// Not a number.
    NaN,
    /// Infinite; true where negative.
    Infinite { negative: bool },
}

impl Number {
    /// Reads `[-]digits[.digits][(e|E)[±]digits]`, `NaN`, `Infinity` and `-Infinity`; `None` for anything else.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "NaN" => return Some(Self::NaN),
            "Infinity" => return Some(Self::Infinite { negative: false }),
            "-Infinity" => return Some(Self::Infinite { negative: true }),
            _ => {}
        }
        Decimal::parse(text).map(Self::Finite)
    }
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut digits = Vec::with_capacity(whole.len() + fraction.len());
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            if byte != b'0' || !digits.is_empty() {
                digits.push(byte - b'0');
            }
        }
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Self { negative, digits, exponent })
    }

    /// True for zero of either sign.
    #[must_use]
    pub(crate) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The same number without trailing zeros.
    #[must_use]
    pub(crate) fn normalized(mut self) -> Self {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent += 1;
        }
        if self.digits.is_empty() {
            self.exponent = 0;
            self.negative = false;
        }
        self
    }

    /// The number as an integer; `None` where it is none or does not fit.
    #[must_use]
    pub(crate) fn to_i64(&self) -> Option<i64> {
        let normal = self.clone().normalized();
        if normal.exponent < 0 || normal.digits.len() > 19 || normal.exponent > 18 {
            return None;
        }
        let mut value: i128 = 0;
        for digit in &normal.digits {
            value = value * 10 + i128::from(*digit);
        }
        value *= 10_i128.pow(u32::try_from(normal.exponent).ok()?);
        i64::try_from(if normal.negative { -value } else { value }).ok()
    }

    /// True where the number has no fraction.
    #[must_use]
    pub(crate) fn is_integral(&self) -> bool {
        self.clone().normalized().exponent >= 0
    }

    /// The `double precision` that equals this number; `None` where there is none.
    #[must_use]
    pub(crate) fn to_f64(&self) -> Option<f64> {
        let nearest: f64 = self.to_text().parse().ok()?;
        if !nearest.is_finite() {
            return None;
        }
        // Every double has a finite decimal expansion, of at most 1,074 digits behind the point.
        let exact = Self::parse(&format!("{nearest:.1074}"))?.normalized();
        (exact == self.clone().normalized()).then_some(nearest)
    }

    /// As PostgreSQL's `numeric` reads it back: its digits, and an exponent.
    pub(crate) fn to_text(&self) -> String {
        let digits: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let sign = if self.negative { "-" } else { "" };
        if digits.is_empty() { format!("{sign}0") } else { format!("{sign}{digits}e{}", self.exponent) }
    }

    /// True where a `numeric(precision, scale)` holds the number without rounding.
    #[must_use]
    pub(crate) fn fits(&self, limit: NumericLimit) -> bool {
        let normal = self.clone().normalized();
        let length = i32::try_from(normal.digits.len()).unwrap_or(i32::MAX);
        normal.is_zero()
            || (normal.exponent.saturating_add(limit.scale) >= 0
                && length.saturating_add(normal.exponent) <= limit.precision - limit.scale)
    }

    /// Appends the binary form (`numeric_send`): number of base-10,000 digits, weight of the first, sign,
    /// decimal digits behind the point, digits. Returns false, and appends nothing, beyond the type's range.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> bool {
        let display_scale = (-self.exponent).max(0);
        if display_scale > MAX_DISPLAY_SCALE {
            return false;
        }
        // Pad on the right until the last digit stands on a multiple of four places.
        let padding = self.exponent.rem_euclid(4);
        let mut decimal = self.digits.clone();
        decimal.extend(std::iter::repeat_n(0, usize::try_from(padding).unwrap_or(0)));
        let lowest_group = (self.exponent - padding) / 4;
        let head = decimal.len() % 4;
        let mut groups: Vec<i16> = Vec::with_capacity(decimal.len() / 4 + 1);
        let (first, rest) = decimal.split_at(head);
        if !first.is_empty() {
            groups.push(group(first));
        }
        groups.extend(rest.chunks(4).map(group));
        let count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
        let weight = lowest_group.saturating_add(count - 1);
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let leading = groups.iter().take_while(|group| **group == 0).count();
        let weight = weight - i32::try_from(leading).unwrap_or(0);
        let groups = groups.get(leading..).unwrap_or_default();
        let (Ok(weight), Ok(count), Ok(scale)) = (
            i16::try_from(if groups.is_empty() { 0 } else { weight }),
            i16::try_from(groups.len()),
            i16::try_from(display_scale),
        ) else {
            return false;
        };
        out.put_i16(count);
        out.put_i16(weight);
        out.put_u16(if self.negative && !groups.is_empty() { NEGATIVE } else { POSITIVE });
        out.put_i16(scale);
        for group in groups {
            out.put_i16(*group);
        }
        true
    }
}

/// Appends the binary form of a number that is not finite.
pub(crate) fn write_special(number: &Number, out: &mut Vec<u8>) {
    let sign = match number {
        Number::Infinite { negative: false } => POSITIVE_INFINITY,
        Number::Infinite { negative: true } => NEGATIVE_INFINITY,
        Number::NaN | Number::Finite(_) => NAN,
    };
    out.put_i16(0);
    out.put_i16(0);
    out.put_u16(sign);
    out.put_i16(0);
}

fn group(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |value, digit| value * 10 + i16::from(*digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        match Number::parse(text) {
            Some(Number::Finite(decimal)) => decimal,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn binary(text: &str) -> (i16, u16, i16, Vec<i16>) {
        let mut out = Vec::new();
        assert!(decimal(text).write(&mut out), "{text}");
        let words: Vec<i16> = out.chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect();
        assert_eq!(usize::try_from(words[0]).unwrap(), words.len() - 4);
        (words[1], words[2].cast_unsigned(), words[3], words[4..].to_vec())
    }

    /// The expected words were read from PostgreSQL 15's own `numeric_send`.
    #[test]
    fn numbers_have_postgresql_s_binary_form() {
        assert_eq!(binary("0"), (0, POSITIVE, 0, vec![]));
        assert_eq!(binary("-0"), (0, POSITIVE, 0, vec![]));
        assert_eq!(binary("0.00"), (0, POSITIVE, 2, vec![]));
        assert_eq!(binary("1"), (0, POSITIVE, 0, vec![1]));
        assert_eq!(binary("-1.5"), (0, NEGATIVE, 1, vec![1, 5000]));
        assert_eq!(binary("10000"), (1, POSITIVE, 0, vec![1]));
        assert_eq!(binary("12345.678"), (1, POSITIVE, 3, vec![1, 2345, 6780]));
        assert_eq!(binary("0.0001"), (-1, POSITIVE, 4, vec![1]));
        assert_eq!(binary("0.00001"), (-2, POSITIVE, 5, vec![1000]));
        assert_eq!(binary("1E+5"), (1, POSITIVE, 0, vec![10]));
        assert_eq!(binary("1.00"), (0, POSITIVE, 2, vec![1]));
        assert_eq!(binary("1e6144"), (1536, POSITIVE, 0, vec![1]));
        assert_eq!(binary("1E-6176"), (-1544, POSITIVE, 6176, vec![1]));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", ".", "1x", "0x10", "1e", "1e5.0", "--1", "inf", "1 "] {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
        assert_eq!(Number::parse("-Infinity"), Some(Number::Infinite { negative: true }));
        assert_eq!(Number::parse("NaN"), Some(Number::NaN));
    }

    #[test]
    fn integers_are_exact_or_refused() {
        assert_eq!(decimal("9223372036854775807").to_i64(), Some(i64::MAX));
        assert_eq!(decimal("-9223372036854775808").to_i64(), Some(i64::MIN));
        assert_eq!(decimal("9223372036854775808").to_i64(), None);
        assert_eq!(decimal("1.50").to_i64(), None);
        assert_eq!(decimal("15.0e1").to_i64(), Some(150));
        assert_eq!(decimal("0E+6111").to_i64(), Some(0));
        assert_eq!(decimal("1E+400").to_i64(), None);
        assert!(!decimal("1.5").is_integral());
    }

    #[test]
    fn doubles_are_exact_or_refused() {
        assert_eq!(decimal("0.5").to_f64(), Some(0.5));
        assert_eq!(decimal("1E+2").to_f64(), Some(100.0));
        assert_eq!(decimal("0.1").to_f64(), None);
        assert_eq!(decimal("9007199254740993").to_f64(), None);
        assert_eq!(decimal("1E+400").to_f64(), None);
    }

    #[test]
    fn limits_count_digits_on_both_sides_of_the_point() {
        let limit = NumericLimit { precision: 5, scale: 2 };
        assert!(decimal("123.45").fits(limit));
        assert!(decimal("123.4500").fits(limit));
        assert!(!decimal("1234.5").fits(limit));
        assert!(!decimal("1.234").fits(limit));
        assert!(decimal("0.000").fits(limit));
        assert!(decimal("1200").fits(NumericLimit { precision: 2, scale: -2 }));
        assert!(!decimal("1250").fits(NumericLimit { precision: 2, scale: -2 }));
    }
}
