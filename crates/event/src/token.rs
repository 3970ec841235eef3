//! The resume token, read as far as its order goes.
//!
//! `_data` is a KeyString in hexadecimal (MongoDB's `src/mongo/db/storage/key_string.cpp` and
//! `src/mongo/db/pipeline/resume_token.cpp`): cluster time, token version, token type, ordinal inside the
//! transaction, from-invalidate flag, then collection and document key. Bytes compare as events are ordered.
//! Seen with versions 1 (MongoDB 4.0.7 to 5) and 2 (from 6).

use std::fmt;

use bytes::Bytes;

use crate::elements::{Elements, Malformed, string_bytes, tag};
use crate::{ClusterTime, Position, ResumeToken};

/// KeyString's type bytes.
mod key_string {
    pub(super) const TIMESTAMP: u8 = 0x82;
    pub(super) const ZERO: u8 = 0x29;
    pub(super) const INTEGER_1_BYTE: u8 = 0x2B;
    pub(super) const INTEGER_8_BYTES: u8 = 0x32;
    pub(super) const FALSE: u8 = 0x6E;
    pub(super) const TRUE: u8 = 0x6F;
}

/// A resume token without a position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a BSON document.
    Malformed(Malformed),
    /// No field `_data` that is a string.
    NoData,
    /// `_data` is not the KeyString of a resume token; what was expected where it is not.
    NotKeyString(&'static str),
    /// A token version other than 1 and 2.
    Version,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "the resume token is {malformed}"),
            Self::NoData => f.write_str("the resume token has no field _data with a string"),
            Self::NotKeyString(expected) => {
                write!(f, "the resume token's _data is not of the known form: expected {expected}")
            }
            Self::Version => f.write_str("the resume token has a version other than 1 and 2"),
        }
    }
}

impl std::error::Error for TokenError {}

impl From<Malformed> for TokenError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl ResumeToken {
    /// A token as the server sent it (`{_data: "82…"}`), with its position under this lineage. One that is an
    /// event's own rests on that event.
    ///
    /// # Errors
    /// Where the bytes are not a resume token of a known version.
    pub fn from_bson(bson: Bytes, lineage: u32) -> Result<Self, TokenError> {
        let position = token_position(&bson, lineage)?;
        let rests_on = if position.is_event() { position.cluster_time() } else { None };
        Ok(Self { bson, position, rests_on })
    }
}

/// The position for which a token stands: an event's own, or that of a high-water mark, which precedes every
/// event of its cluster time. `token` is the token's BSON document.
///
/// # Errors
/// Where the bytes are not a resume token of a known version.
pub fn token_position(token: &[u8], lineage: u32) -> Result<Position, TokenError> {
    position_of_data(token_data(token)?, lineage)
}

/// The cluster time for which a token stands.
///
/// # Errors
/// As [`token_position`].
pub fn token_cluster_time(token: &[u8]) -> Result<ClusterTime, TokenError> {
    cluster_time_of_data(token_data(token)?)
}

/// The hexadecimal text in a token's document.
pub(crate) fn token_data(token: &[u8]) -> Result<&[u8], TokenError> {
    for element in Elements::new(token)? {
        let element = element?;
        if element.key == b"_data" && element.tag == tag::STRING {
            return Ok(string_bytes(element.value)?);
        }
    }
    Err(TokenError::NoData)
}

pub(crate) fn cluster_time_of_data(data: &[u8]) -> Result<ClusterTime, TokenError> {
    let mut hex = Hex { rest: data };
    let time = hex.cluster_time()?;
    Ok(ClusterTime {
        t: u32::from_be_bytes([time[0], time[1], time[2], time[3]]),
        i: u32::from_be_bytes([time[4], time[5], time[6], time[7]]),
    })
}

pub(crate) fn position_of_data(data: &[u8], lineage: u32) -> Result<Position, TokenError> {
    let mut hex = Hex { rest: data };
    let mut cut = Cut { bytes: [0; Position::MAX], len: 0 };
    cut.extend(&lineage.to_be_bytes());
    cut.extend(&hex.cluster_time()?);
    if hex.byte()? != key_string::INTEGER_1_BYTE || !matches!(hex.byte()?, 0x02 | 0x04) {
        return Err(TokenError::Version);
    }
    hex.integer(&mut cut)?;
    hex.integer(&mut cut)?;
    match hex.byte()? {
        flag @ (key_string::FALSE | key_string::TRUE) => cut.extend(&[flag]),
        _ => return Err(TokenError::NotKeyString("the from-invalidate flag")),
    }
    Position::from_bytes(&cut.bytes[..cut.len]).ok_or(TokenError::NotKeyString("a position that fits"))
}

/// Bytes behind hexadecimal digits of either case.
struct Hex<'a> {
    rest: &'a [u8],
}

impl Hex<'_> {
    fn byte(&mut self) -> Result<u8, TokenError> {
        const CUT: TokenError = TokenError::NotKeyString("two more hexadecimal digits");
        let ([high, low], rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(CUT);
        // Two digits make a byte.
        Ok((digit(*high)? << 4 | digit(*low)?) as u8)
    }

    fn cluster_time(&mut self) -> Result<[u8; 8], TokenError> {
        if self.byte()? != key_string::TIMESTAMP {
            return Err(TokenError::NotKeyString("a cluster time"));
        }
        let mut time = [0; 8];
        for byte in &mut time {
            *byte = self.byte()?;
        }
        Ok(time)
    }

    /// A non-negative integer, whose type byte tells its length: the bytes keep the numbers' order.
    fn integer(&mut self, cut: &mut Cut) -> Result<(), TokenError> {
        let kind = self.byte()?;
        let length = match kind {
            key_string::ZERO => 0,
            key_string::INTEGER_1_BYTE..=key_string::INTEGER_8_BYTES => kind - key_string::INTEGER_1_BYTE + 1,
            _ => return Err(TokenError::NotKeyString("an integer that is not negative")),
        };
        cut.extend(&[kind]);
        for _ in 0..length {
            cut.extend(&[self.byte()?]);
        }
        Ok(())
    }
}

/// The position as it grows: 4 + 8 + twice 9 + 1 bytes at most.
struct Cut {
    bytes: [u8; Position::MAX],
    len: usize,
}

impl Cut {
    fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}
