//! Why a change event cannot become a message.

use std::fmt;

use crate::elements::Malformed;
use crate::token::TokenError;

/// An event that cannot become a message. Texts name fields, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The event is not BSON.
    Malformed(Malformed),
    /// A field that every event of its kind has is not there.
    Missing(&'static str),
    /// A field has a type that it never has.
    WrongType(&'static str),
    /// The resume token has no position.
    Token(TokenError),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => write!(f, "the change event is {malformed}"),
            Self::Missing(field) => write!(f, "the change event has no field {field}"),
            Self::WrongType(field) => write!(f, "the change event's field {field} has an unexpected type"),
            Self::Token(token) => write!(f, "the change event's position cannot be told: {token}"),
        }
    }
}

impl std::error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(malformed) => Some(malformed),
            Self::Token(token) => Some(token),
            Self::Missing(_) | Self::WrongType(_) => None,
        }
    }
}

impl From<Malformed> for EncodeError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<TokenError> for EncodeError {
    fn from(token: TokenError) -> Self {
        Self::Token(token)
    }
}
