use std::fmt::Write as _;

/// The bits of a special number, without its sign.
const INFINITY: u128 = 0b1111 << 123;
const NAN: u128 = 0b1_1111 << 122;

/// A decimal128 number, taken apart. IEEE 754-2008 in its binary integer encoding; text after
/// <https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimal {
    /// Not a number.
    Nan,
    /// Beyond all numbers.
    Infinity {
        /// Below them.
        negative: bool,
    },
    /// `coefficient × 10^exponent`.
    Finite {
        /// The sign, of zero too.
        negative: bool,
        /// At most 34 digits.
        coefficient: u128,
        /// Between −6176 and 6111 as BSON stores it.
        exponent: i32,
    },
}

impl Decimal {
    /// The greatest coefficient: 34 nines.
    pub const MAX_COEFFICIENT: u128 = 9_999_999_999_999_999_999_999_999_999_999_999;
    const EXPONENT_BIAS: i32 = 6176;
    const MAX_EXPONENT: i32 = 6111;

    /// Reads BSON's 16 bytes. The flag is false for an encoding that the text does not bring back: a NaN
    /// with sign, payload or signal, an infinity with payload, a coefficient of more than 34 digits (which
    /// means zero).
    pub(crate) fn from_bson(bytes: [u8; 16]) -> (Self, bool) {
        const COMBINATION: u128 = 0b11 << 125;
        let bits = u128::from_le_bytes(bytes);
        let negative = bits >> 127 == 1;
        if bits & NAN == NAN {
            return (Self::Nan, bits == NAN);
        }
        if bits & INFINITY == INFINITY {
            return (Self::Infinity { negative }, bits & !(1 << 127) == INFINITY);
        }
        let large = bits & COMBINATION == COMBINATION;
        // 14 bits, so the conversion loses nothing.
        let biased = (bits >> if large { 111 } else { 113 } & 0x3FFF) as i32;
        let coefficient = bits & ((1 << 113) - 1);
        let canonical = !large && coefficient <= Self::MAX_COEFFICIENT;
        let coefficient = if canonical { coefficient } else { 0 };
        (Self::Finite { negative, coefficient, exponent: biased - Self::EXPONENT_BIAS }, canonical)
    }

    /// BSON's 16 bytes. An exponent above BSON's greatest is lowered by zeros behind the coefficient, as BSON's
    /// specification has it; `None` where no exponent fits.
    pub(crate) fn to_bson(self) -> Option<[u8; 16]> {
        let (negative, magnitude) = match self {
            Self::Nan => (false, NAN),
            Self::Infinity { negative } => (negative, INFINITY),
            Self::Finite { negative, coefficient, exponent } => {
                let above = u32::try_from(exponent.checked_sub(Self::MAX_EXPONENT)?).unwrap_or(0);
                let coefficient = if coefficient == 0 {
                    0
                } else {
                    coefficient.checked_mul(10_u128.checked_pow(above)?)?
                };
                if coefficient > Self::MAX_COEFFICIENT {
                    return None;
                }
                let exponent = exponent.min(Self::MAX_EXPONENT);
                let biased = u128::try_from(exponent.checked_add(Self::EXPONENT_BIAS)?).ok()?;
                (negative, biased << 113 | coefficient)
            }
        };
        Some((u128::from(negative) << 127 | magnitude).to_le_bytes())
    }

    /// Reads the canonical text and every other plain or scientific spelling of at most 34 significant
    /// digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        match text {
            "Infinity" => return Some(Self::Infinity { negative }),
            "NaN" if !negative => return Some(Self::Nan),
            _ => {}
        }
        let (digits, exponent) = match text.split_once(['E', 'e']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i16>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || digits.ends_with('.') {
            return None;
        }
        let mut coefficient: u128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            let digit = byte.is_ascii_digit().then(|| u128::from(byte - b'0'))?;
            coefficient = coefficient * 10 + digit;
            if coefficient > Self::MAX_COEFFICIENT {
                return None;
            }
        }
        let exponent = i32::from(exponent).checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Self::Finite { negative, coefficient, exponent })
    }

    /// Without trailing zeros in the coefficient; zero is `+0 × 10^0`. Two finite decimals are equal in
    /// value exactly when these are equal.
    pub(crate) fn normalised(self) -> Self {
        let Self::Finite { negative, mut coefficient, mut exponent } = self else { return self };
        if coefficient == 0 {
            return Self::Finite { negative: false, coefficient: 0, exponent: 0 };
        }
        while coefficient.is_multiple_of(10) {
            coefficient /= 10;
            exponent += 1;
        }
        Self::Finite { negative, coefficient, exponent }
    }

    /// The integer that this is exactly, where it fits.
    pub(crate) fn to_i64(self) -> Option<i64> {
        let Self::Finite { negative, coefficient, exponent } = self.normalised() else { return None };
        let scale = 10_i128.checked_pow(u32::try_from(exponent).ok()?)?;
        let magnitude = i128::try_from(coefficient).ok()?.checked_mul(scale)?;
        i64::try_from(if negative { -magnitude } else { magnitude }).ok()
    }

    /// The double that this is exactly, bit for bit in value: no rounding. `None` where there is none.
    pub(crate) fn to_f64_exactly(self) -> Option<f64> {
        let (negative, coefficient, exponent) = match self.normalised() {
            Self::Nan => return Some(f64::NAN),
            Self::Infinity { negative: true } => return Some(f64::NEG_INFINITY),
            Self::Infinity { negative: false } => return Some(f64::INFINITY),
            Self::Finite { coefficient: 0, .. } => return Some(0.0),
            Self::Finite { negative, coefficient, exponent } => (negative, coefficient, exponent),
        };
        // 10^e = 5^e × 2^e: the fives must vanish into a significand of 53 bits, the twos only shift it.
        // No power that can do so is outside u128: 5^55 has more than 127 bits.
        let fives = 5_u128.checked_pow(exponent.unsigned_abs())?;
        let twos = coefficient.trailing_zeros();
        let odd = coefficient >> twos;
        let significand = if exponent >= 0 {
            odd.checked_mul(fives)?
        } else {
            odd.is_multiple_of(fives).then(|| odd / fives)?
        };
        if significand >= 1 << 53 {
            return None;
        }
        let shift = exponent + i32::try_from(twos).ok()?;
        let magnitude = significand as f64 * f64::powi(2.0, shift);
        Some(if negative { -magnitude } else { magnitude })
    }
}

/// The canonical text: plain between 10^−6 and the last digit, otherwise scientific (`1.5E+10`).
impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (negative, coefficient, exponent) = match *self {
            Self::Nan => return f.write_str("NaN"),
            Self::Infinity { negative } => {
                return f.write_str(if negative { "-Infinity" } else { "Infinity" });
            }
            Self::Finite { negative, coefficient, exponent } => (negative, coefficient, exponent),
        };
        if negative {
            f.write_char('-')?;
        }
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(coefficient);
        // At most 39 digits.
        let count = digits.len() as i32;
        let adjusted = exponent + count - 1;
        if exponent == 0 {
            f.write_str(digits)
        } else if exponent < 0 && adjusted >= -6 {
            let (whole, fraction) = digits.split_at(usize::try_from(count + exponent).unwrap_or(0));
            let zeros = usize::try_from(-exponent - count).unwrap_or(0);
            write!(f, "{}.{:0<zeros$}{fraction}", if whole.is_empty() { "0" } else { whole }, "")
        } else {
            let (first, rest) = digits.split_at(1);
            let point = if rest.is_empty() { "" } else { "." };
            write!(f, "{first}{point}{rest}E{adjusted:+}")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (Decimal, bool) {
        Decimal::from_bson(text.parse::<bson::Decimal128>().unwrap().bytes())
    }

    #[test]
    fn text_is_canonical() {
        for text in [
            "0",
            "-0",
            "1",
            "-1",
            "1.00",
            "0.1",
            "0.001234",
            "0.000001",
            "1E-7",
            "1.5E+10",
            "1E+3",
            "0E+3",
            "0.00",
            "0E-10",
            "12345689012345789012345",
            "1.234567890123456789012345678901234E+6144",
            "1E-6176",
            "Infinity",
            "-Infinity",
            "NaN",
            "0.00001234567890123456789012345678901234",
        ] {
            let (decimal, canonical) = parts(text);
            assert!(canonical);
            assert_eq!(decimal.to_string(), text);
            assert_eq!(Decimal::parse(text), Some(decimal));
        }
    }

    #[test]
    fn encodings_that_text_loses_are_told() {
        for bits in
            [1 | 0x7C_u128 << 120, 0x7E << 120, 0xFC << 120, 1 | 0x78 << 120, 0x6C << 120 | 5, (1 << 113) - 1]
        {
            let (_, canonical) = Decimal::from_bson(bits.to_le_bytes());
            assert!(!canonical, "{bits:x}");
        }
    }

    #[test]
    fn an_exponent_that_is_too_great_is_lowered_where_zeros_fit() {
        for (text, padded) in [
            ("1E+6144", Some("1.000000000000000000000000000000000E+6144")),
            ("2.3E+6113", Some("2.30E+6113")),
            ("1E+6145", None),
            ("1E-6177", None),
        ] {
            let bytes = Decimal::parse(text).unwrap().to_bson();
            assert_eq!(
                bytes,
                padded.map(|padded| padded.parse::<bson::Decimal128>().unwrap().bytes()),
                "{text}"
            );
        }
    }

    #[test]
    fn exact_doubles_and_integers() {
        for (text, double, integer) in [
            ("1.00", Some(1.0), Some(1)),
            ("0.1", None, None),
            ("0.5", Some(0.5), None),
            ("-2.50E+1", Some(-25.0), Some(-25)),
            ("9007199254740993", None, Some(9_007_199_254_740_993)),
            ("9223372036854775807", None, Some(i64::MAX)),
            ("-9223372036854775808", Some(-9_223_372_036_854_775_808.0), Some(i64::MIN)),
            ("9223372036854775808", Some(9_223_372_036_854_775_808.0), None),
            ("1E+22", Some(1e22), None),
            ("1E+23", None, None),
            ("1E+6111", None, None),
            ("1E-6176", None, None),
            ("-0", Some(0.0), Some(0)),
            ("0E+6111", Some(0.0), Some(0)),
        ] {
            assert_eq!(parts(text).0.to_f64_exactly(), double, "{text}");
            assert_eq!(parts(text).0.to_i64(), integer, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_is_that_of_the_bson_crate(bytes: [u8; 16]) {
            let (decimal, canonical) = Decimal::from_bson(bytes);
            let theirs = bson::Decimal128::from_bytes(bytes).to_string();
            prop_assert_eq!(&decimal.to_string(), &theirs);
            prop_assert_eq!(theirs.parse::<bson::Decimal128>().unwrap().bytes() == bytes, canonical);
            prop_assert_eq!(Decimal::parse(&theirs), Some(decimal));
            let back = decimal.to_bson().unwrap();
            prop_assert_eq!(back == bytes, canonical);
            prop_assert_eq!(Decimal::from_bson(back), (decimal, true));
        }

        #[test]
        fn small_doubles_are_found_again(mantissa in -(1_i64 << 53)..(1_i64 << 53), shift in 0_i32..40) {
            let double = mantissa as f64 / f64::powi(2.0, shift);
            // At most 34 digits are kept of the exact expansion, so ask only where it is not longer.
            let exact = format!("{double:.60}");
            let exact = exact.trim_end_matches('0').trim_end_matches('.');
            if let Some(decimal) = Decimal::parse(exact) {
                prop_assert_eq!(decimal.to_f64_exactly(), Some(double + 0.0));
            }
        }
    }
}
