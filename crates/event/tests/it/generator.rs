//! Any BSON out of any bytes: every type, the edges of its values, and what JSON cannot carry, each of which is
//! told. The fuzz targets use this file too, so it knows nothing of the crate and of no library.
#![allow(clippy::unwrap_used, reason = "what is drawn is far below the bounds")]

/// How many documents and arrays may stand inside one another before JSON gives up (`docs/message-format.md`).
const MAX_DEPTH: u32 = 255;

const INTEGERS: [i64; 14] = [
    0,
    1,
    -1,
    9,
    i32::MAX as i64,
    i32::MIN as i64,
    i32::MAX as i64 + 1,
    i32::MIN as i64 - 1,
    i64::MAX,
    i64::MIN,
    1 << 53,
    (1 << 53) + 1,
    -62_135_596_800_000,
    253_402_300_799_999,
];

const DOUBLES: [u64; 20] = [
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x3FF0_0000_0000_0000,
    0xBFF0_0000_0000_0000,
    0x4014_0000_0000_0000,
    0x3FB9_9999_9999_999A,
    0x0000_0000_0000_0001,
    0x000F_FFFF_FFFF_FFFF,
    0x0010_0000_0000_0000,
    0x7FEF_FFFF_FFFF_FFFF,
    0x7FF0_0000_0000_0000,
    0xFFF0_0000_0000_0000,
    0x7FF8_0000_0000_0000,
    0xFFF8_0000_0000_0000,
    0x7FF0_0000_0000_0001,
    0x7FFF_FFFF_FFFF_FFFF,
    // 2^53, 10^15, 10^16, 10^21: where spellings change.
    0x4340_0000_0000_0000,
    0x430C_6BF5_2634_0000,
    0x4341_C379_37E0_8000,
    0x444B_1AE4_D6E2_EF50,
];

/// High halves of decimals: ±0, exponents at both ends, infinities, NaN, and encodings that no text brings back.
const DECIMALS: [u64; 14] = [
    0x3040_0000_0000_0000,
    0xB040_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x5FFE_0000_0000_0000,
    0x5FFE_314D_C644_8D93,
    0x303C_0000_0000_0000,
    0x3032_0000_0000_0000,
    0x3046_0000_0000_0000,
    0x7800_0000_0000_0000,
    0xF800_0000_0000_0000,
    0x7C00_0000_0000_0000,
    0xFC00_0000_0000_0000,
    0x7E00_0000_0000_0000,
    0x6C10_0000_0000_0000,
];

const DATES: [i64; 10] = [
    0,
    -1,
    1_705_314_600_000,
    1_705_314_600_007,
    951_782_400_000,
    -62_135_596_800_000,
    -62_135_596_800_001,
    253_402_300_799_999,
    253_402_300_800_000,
    i64::MIN,
];

const TEXTS: [&str; 24] = [
    "",
    "a",
    "b",
    "_id",
    "0",
    "1",
    "scope",
    "~0",
    "~1",
    "a/b~c",
    "a.b",
    "$oid",
    "$$a",
    "$bson",
    "\0",
    "\u{1}\u{8}\t\n\u{C}\r\u{1F}\u{7F}",
    "\"\\\"",
    "NaN",
    "true",
    "507f1f77bcf86cd799439011",
    "2024-01-15T10:30:00Z",
    "é😀\u{FFFD}\u{2028}\u{10FFFF}",
    "player123",
    "a text that is longer than eight bytes, so that words are read at once \" and behind",
];

/// No UTF-8: a lone continuation, a surrogate, a text that is cut off.
const BROKEN_TEXTS: [&[u8]; 3] = [b"\x80", b"a\xED\xA0\x80", b"\xF0\x9F\x98"];

/// Draws from bytes; where they have run out, everything is the first of its choices, so that all ends.
pub(crate) struct Draw<'a> {
    bytes: &'a [u8],
    /// True once something was drawn that only `raw_bson` can carry.
    pub(crate) needs_raw: bool,
}

impl<'a> Draw<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, needs_raw: false }
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *byte
    }

    pub(crate) fn below(&mut self, choices: usize) -> usize {
        usize::from(self.byte()) % choices
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len());
        choices[index]
    }

    /// One in about 85, and never of no bytes.
    fn rarely(&mut self) -> bool {
        self.byte() > 252
    }

    fn text(&mut self) -> Vec<u8> {
        if self.rarely() {
            self.needs_raw = true;
            return self.one_of(&BROKEN_TEXTS).to_vec();
        }
        match self.byte() {
            0..200 => self.one_of(&TEXTS).as_bytes().to_vec(),
            _ => {
                let length = self.below(40);
                (0..length).flat_map(|_| char::from(self.byte()).to_string().into_bytes()).collect()
            }
        }
    }

    /// A text for a place that a zero byte would end.
    fn key(&mut self) -> Vec<u8> {
        let mut key = self.text();
        key.retain(|byte| *byte != 0);
        key
    }

    fn integer(&mut self) -> i64 {
        match self.byte() {
            0..128 => self.one_of(&INTEGERS),
            128..192 => i64::from(self.byte()) - 128,
            _ => i64::from_le_bytes(self.array()),
        }
    }

    fn decimal(&mut self) -> [u8; 16] {
        let bits = match self.byte() {
            0..128 => u128::from(self.one_of(&DECIMALS)) << 64 | u128::from(self.byte()),
            // Any exponent, a small coefficient; then anything at all.
            128..208 => {
                let exponent = u128::from(u16::from_le_bytes(self.array()) % 12_288);
                exponent << 113 | u128::from(u64::from_le_bytes(self.array()))
            }
            _ => u128::from_le_bytes(self.array()),
        };
        self.needs_raw |= !is_canonical(bits);
        bits.to_le_bytes()
    }

    fn binary(&mut self) -> Vec<u8> {
        let subtype = match self.byte() {
            0..128 => self.one_of(&[0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 0x80, 0xFF]),
            _ => self.byte(),
        };
        let length = if self.byte() < 128 { 16 } else { self.below(40) };
        let mut payload: Vec<u8> = (0..length).map(|_| self.byte()).collect();
        if subtype == 2 {
            let inner = if self.rarely() { -1 } else { i32::try_from(payload.len()).unwrap() };
            self.needs_raw |= inner < 0;
            payload.splice(0..0, inner.to_le_bytes());
        }
        let mut value = i32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
        value.push(subtype);
        value.extend_from_slice(&payload);
        value
    }

    fn scoped(&mut self, depth: u32) -> Vec<u8> {
        let mut value = vec![0; 4];
        value.extend_from_slice(&string(&self.text()));
        value.extend_from_slice(&self.document(depth + 1));
        let length = i32::try_from(value.len()).unwrap().to_le_bytes();
        value[..4].copy_from_slice(&length);
        value
    }

    /// A type, and a value of it.
    pub(crate) fn value(&mut self, depth: u32) -> (u8, Vec<u8>) {
        // No bytes draw null, and few draw what holds others: documents stay small.
        let kind = self.byte();
        match kind % 32 {
            0 => (0x0A, Vec::new()),
            1 | 2 => (0x10, i32::try_from(self.integer()).unwrap_or(-5).to_le_bytes().to_vec()),
            3 | 4 => (0x12, self.integer().to_le_bytes().to_vec()),
            5 | 6 => {
                let bits =
                    if self.byte() < 128 { self.one_of(&DOUBLES) } else { u64::from_le_bytes(self.array()) };
                (0x01, bits.to_le_bytes().to_vec())
            }
            7 | 8 => (0x13, self.decimal().to_vec()),
            9..=11 => (0x02, string(&self.text())),
            12 => {
                let bool = if self.rarely() { 2 } else { self.byte() % 2 };
                self.needs_raw |= bool > 1;
                (0x08, vec![bool])
            }
            13 => (0x07, self.array::<12>().to_vec()),
            14 | 15 => {
                let millis = if self.byte() < 128 { self.one_of(&DATES) } else { self.integer() };
                (0x09, millis.to_le_bytes().to_vec())
            }
            16 => (0x11, self.array::<8>().to_vec()),
            17 | 18 => (0x05, self.binary()),
            19 => {
                let (pattern, options) = (self.key(), self.key());
                (0x0B, [&pattern[..], b"\0", &options, b"\0"].concat())
            }
            20 => (0x0C, [string(&self.text()), self.array::<12>().to_vec()].concat()),
            21 => (0x0D, string(&self.text())),
            22 => (0x0E, string(&self.text())),
            23 => (0x0F, self.scoped(depth)),
            24 => (0x06, Vec::new()),
            25 => (0xFF, Vec::new()),
            26 => (0x7F, Vec::new()),
            27 if kind > 220 => self.deep(depth),
            27..=29 => (0x03, self.document(depth + 1)),
            _ => (0x04, self.list(depth + 1)),
        }
    }

    /// Arrays inside one another, to either side of the limit.
    fn deep(&mut self, depth: u32) -> (u8, Vec<u8>) {
        let levels = 250 + u32::from(self.byte() % 10);
        let mut value = vec![5, 0, 0, 0, 0];
        for _ in 1..levels {
            value = document_of(&[(4, b"0".to_vec(), value)]);
        }
        self.needs_raw |= depth + levels > MAX_DEPTH;
        (0x04, value)
    }

    /// A document whose own values stand at this depth.
    pub(crate) fn document(&mut self, depth: u32) -> Vec<u8> {
        self.needs_raw |= depth > MAX_DEPTH;
        let count = self.below(if depth > 4 { 2 } else { 7 });
        let mut elements: Vec<(u8, Vec<u8>, Vec<u8>)> = Vec::with_capacity(count);
        for index in 0..count {
            let mut key = self.key();
            // Twice the same key comes rarely, or nearly every document would have one.
            if elements.iter().any(|(_, earlier, _)| *earlier == key) && !self.rarely() {
                key.extend_from_slice(format!("{index}").as_bytes());
            }
            self.needs_raw |= elements.iter().any(|(_, earlier, _)| *earlier == key);
            let (tag, value) = self.value(depth);
            elements.push((tag, key, value));
        }
        document_of(&elements)
    }

    fn list(&mut self, depth: u32) -> Vec<u8> {
        self.needs_raw |= depth > MAX_DEPTH;
        let count = self.below(if depth > 4 { 2 } else { 13 });
        let mut elements = Vec::with_capacity(count);
        for index in 0..count {
            let index = if self.rarely() { index + 1 } else { index };
            self.needs_raw |= index != elements.len();
            let (tag, value) = self.value(depth);
            elements.push((tag, index.to_string().into_bytes(), value));
        }
        document_of(&elements)
    }

    /// An `updateDescription` as MongoDB's versions and options give it, and the one form that a message has of it.
    pub(crate) fn update_description(&mut self) -> (Vec<u8>, Vec<u8>) {
        let updated = (3, b"updatedFields".to_vec(), self.document(1));
        let count = self.below(4);
        let names: Vec<Vec<u8>> = (0..count).map(|_| self.text()).collect();
        let removed = (4, b"removedFields".to_vec(), array_of(names.iter().map(|name| (2, string(name)))));
        let mut seen = vec![updated.clone(), removed.clone()];
        let mut told = vec![updated, removed];
        let count = self.below(4);
        if count > 0 {
            // The first choice is what MongoDB sends since 5.0 of an update that truncates nothing.
            let arrays: Vec<(Vec<u8>, i32, bool)> =
                (1..count).map(|_| (self.text(), self.integer() as i32, self.rarely())).collect();
            let form = |wide: bool| {
                array_of(arrays.iter().map(|(field, size, long)| {
                    let size = if wide && *long {
                        (0x12, i64::from(*size).to_le_bytes().to_vec())
                    } else {
                        (0x10, size.to_le_bytes().to_vec())
                    };
                    let field = (2, b"field".to_vec(), string(field));
                    (3, document_of(&[field, (size.0, b"newSize".to_vec(), size.1)]))
                }))
            };
            seen.push((4, b"truncatedArrays".to_vec(), form(true)));
            if !arrays.is_empty() {
                told.push((4, b"truncatedArrays".to_vec(), form(false)));
            }
        }
        if self.rarely() {
            seen.push((3, b"disambiguatedPaths".to_vec(), self.plain_document()));
        }
        if self.rarely() {
            seen.swap(0, 1);
        }
        (document_of(&seen), document_of(&told))
    }

    fn plain_document(&mut self) -> Vec<u8> {
        document_of(&[(0x10, b"a.0".to_vec(), vec![self.byte(), 0, 0, 0])])
    }
}

/// True where the decimal's text brings the same bits back (IEEE 754-2008, binary integer encoding).
fn is_canonical(bits: u128) -> bool {
    let unsigned = bits & !(1 << 127);
    match bits >> 122 & 0b1_1111 {
        0b1_1111 => bits == 0x7C << 120,
        0b1_1110 => unsigned == 0x78 << 120,
        two if two >> 3 == 0b11 => false,
        _ => bits & ((1 << 113) - 1) < 10_u128.pow(34),
    }
}

pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    let mut value = i32::try_from(text.len() + 1).unwrap().to_le_bytes().to_vec();
    value.extend_from_slice(text);
    value.push(0);
    value
}

pub(crate) fn array_of(values: impl Iterator<Item = (u8, Vec<u8>)>) -> Vec<u8> {
    let elements: Vec<_> = values
        .enumerate()
        .map(|(index, (tag, value))| (tag, index.to_string().into_bytes(), value))
        .collect();
    document_of(&elements)
}

/// A document of types, keys and values.
pub(crate) fn document_of(elements: &[(u8, Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (tag, key, value) in elements {
        bytes.push(*tag);
        bytes.extend_from_slice(key);
        bytes.push(0);
        bytes.extend_from_slice(value);
    }
    bytes.push(0);
    let length = i32::try_from(bytes.len()).unwrap().to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    bytes
}
