//! Whether MongoDB calls two `_id`s the same, by rules of its own: numbers are compared digit by digit, written out in
//! full.

use crate::generator::Draw;

/// A number, written out.
#[derive(Debug, PartialEq, Eq)]
enum Number {
    NaN,
    Infinite(bool),
    /// Sign, digits without zeros at either end, and the place of the last one. Zero has no digits and no sign.
    Digits(bool, String, i32),
}

impl Number {
    fn of(tag: u8, value: &[u8]) -> Option<Self> {
        match tag {
            0x10 => Some(Self::plain(&i32::from_le_bytes(value.try_into().ok()?).to_string(), 0)),
            0x12 => Some(Self::plain(&i64::from_le_bytes(value.try_into().ok()?).to_string(), 0)),
            0x01 => Some(Self::double(f64::from_le_bytes(value.try_into().ok()?))),
            0x13 => Some(Self::decimal(u128::from_le_bytes(value.try_into().ok()?))),
            _ => None,
        }
    }

    fn double(value: f64) -> Self {
        if value.is_nan() {
            Self::NaN
        } else if value.is_infinite() {
            Self::Infinite(value < 0.0)
        } else {
            // No double has more places.
            Self::plain(&format!("{value:.1074}").replace('.', ""), -1074)
        }
    }

    fn decimal(bits: u128) -> Self {
        let negative = bits >> 127 == 1;
        match bits >> 122 & 0b1_1111 {
            0b1_1111 => return Self::NaN,
            0b1_1110 => return Self::Infinite(negative),
            two if two >> 3 == 0b11 => return Self::plain("0", 0),
            _ => {}
        }
        let coefficient = bits & ((1 << 113) - 1);
        // More than 34 digits mean zero.
        let coefficient = if coefficient < 10_u128.pow(34) { coefficient } else { 0 };
        let sign = if negative { "-" } else { "" };
        let exponent = i32::try_from(bits >> 113 & 0x3FFF).unwrap() - 6176;
        Self::plain(&format!("{sign}{coefficient}"), exponent)
    }

    fn plain(text: &str, last_place: i32) -> Self {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let digits = digits.trim_start_matches('0');
        let kept = digits.trim_end_matches('0');
        if kept.is_empty() {
            return Self::Digits(false, String::new(), 0);
        }
        let cut = i32::try_from(digits.len() - kept.len()).unwrap();
        Self::Digits(negative, kept.to_owned(), last_place + cut)
    }
}

/// The elements of a well-formed document: type, key, value.
pub(crate) fn elements(document: &[u8]) -> Vec<(u8, &[u8], &[u8])> {
    let mut rest = &document[4..document.len() - 1];
    let mut found = Vec::new();
    while let Some((tag, behind)) = rest.split_first() {
        let (key, behind) = behind.split_at(behind.iter().position(|byte| *byte == 0).unwrap());
        let (value, behind) = behind[1..].split_at(size(*tag, &behind[1..]));
        found.push((*tag, key, value));
        rest = behind;
    }
    found
}

fn size(tag: u8, rest: &[u8]) -> usize {
    let length = || usize::try_from(i32::from_le_bytes(rest[..4].try_into().unwrap())).unwrap();
    match tag {
        0x06 | 0x0A | 0xFF | 0x7F => 0,
        0x08 => 1,
        0x10 => 4,
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x07 => 12,
        0x13 => 16,
        0x02 | 0x0D | 0x0E => 4 + length(),
        0x05 => 5 + length(),
        0x0C => 16 + length(),
        0x0B => {
            let end = |from: usize| from + rest[from..].iter().position(|byte| *byte == 0).unwrap() + 1;
            end(end(0))
        }
        _ => length(),
    }
}

/// True where MongoDB keeps only one of the two in a collection.
pub(crate) fn is_same((a_tag, a): (u8, &[u8]), (b_tag, b): (u8, &[u8])) -> bool {
    if let (Some(a), Some(b)) = (Number::of(a_tag, a), Number::of(b_tag, b)) {
        return a == b;
    }
    let text = |tag: u8| if tag == 0x0E { 0x02 } else { tag };
    if text(a_tag) != text(b_tag) {
        return false;
    }
    match a_tag {
        0x03 => are_same(a, b, true),
        // The index has an array's values, and not their keys.
        0x04 => are_same(a, b, false),
        0x08 => (a != [0]) == (b != [0]),
        0x0F => {
            let parts = |value: &'_ [u8]| {
                let code = 4 + size(0x0D, &value[4..]);
                (value[4..code].to_vec(), value[code..].to_vec())
            };
            let ((a_code, a_scope), (b_code, b_scope)) = (parts(a), parts(b));
            a_code == b_code && are_same(&a_scope, &b_scope, true)
        }
        _ => a == b,
    }
}

fn are_same(a: &[u8], b: &[u8], by_key: bool) -> bool {
    let (a, b) = (elements(a), elements(b));
    a.len() == b.len()
        && a.iter().zip(&b).all(|((a_tag, a_key, a), (b_tag, b_key, b))| {
            (!by_key || a_key == b_key) && is_same((*a_tag, a), (*b_tag, b))
        })
}

/// The same `_id` in other types, as far as there are any.
pub(crate) fn retyped(tag: u8, value: &[u8], draw: &mut Draw<'_>) -> (u8, Vec<u8>) {
    match tag {
        0x02 | 0x0E => (0x02 + 0x0E - tag, value.to_vec()),
        0x03 | 0x04 => {
            let inner: Vec<_> = elements(value)
                .into_iter()
                .map(|(tag, key, value)| {
                    let (tag, value) = retyped(tag, value, draw);
                    (tag, key.to_vec(), value)
                })
                .collect();
            (tag, crate::generator::document_of(&inner))
        }
        0x10 | 0x12 => {
            let integer = match value.try_into() {
                Ok(four) => i64::from(i32::from_le_bytes(four)),
                Err(_) => i64::from_le_bytes(value.try_into().unwrap()),
            };
            let zeros = u32::from(draw.byte() % 10);
            let coefficient = u128::from(integer.unsigned_abs()) * 10_u128.pow(zeros);
            let decimal = u128::from(integer < 0) << 127 | u128::from(6176 - zeros) << 113 | coefficient;
            match draw.below(3) {
                0 if integer.unsigned_abs() <= 1 << 53 => (0x01, (integer as f64).to_le_bytes().to_vec()),
                1 => (0x12, integer.to_le_bytes().to_vec()),
                _ => (0x13, decimal.to_le_bytes().to_vec()),
            }
        }
        _ => (tag, value.to_vec()),
    }
}
