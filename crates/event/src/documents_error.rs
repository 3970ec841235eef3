//! Why a message cannot be turned back into BSON.

use std::fmt;

use crate::bson_to_json::MAX_DEPTH;
use crate::envelope::Member;
use crate::types::BsonType;

/// A message that cannot be turned back. Texts name the envelope's members, never a document's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentsError {
    /// A control message: it is about no document.
    Control,
    /// `bson_types` is not made of lists of JSON Pointers under known type names.
    Types,
    /// `bson_types` gives one value two types.
    TwoTypes(Member),
    /// `bson_types` points to a value that is not there.
    Nowhere,
    /// A value is not spelled as its type; the type, `None` where the spelling was to imply it.
    Value(Member, Option<BsonType>),
    /// A document has a key twice, which only `raw_bson` can carry.
    KeyTwice(Member),
    /// A key or a pattern holds U+0000, which BSON has no room for there.
    ZeroByte(Member),
    /// Documents and arrays are nested deeper than 255, which only `raw_bson` can carry.
    TooDeep(Member),
    /// The document would have more bytes than BSON can count.
    TooLarge(Member),
    /// `raw_bson` is not base64 of a BSON document under the pointer of a member that the message has.
    Raw,
    /// The message's key is not that of its `document_key`.
    Key,
}

impl fmt::Display for DocumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("a control message is about no document"),
            Self::Types => f.write_str(
                "the message's bson_types are not lists of JSON Pointers to its members under known type names",
            ),
            Self::TwoTypes(member) => {
                write!(f, "the message's bson_types give one value below {} two types", member.pointer())
            }
            Self::Nowhere => f.write_str("the message's bson_types point to a value that is not there"),
            Self::Value(member, Some(kind)) => write!(
                f,
                "a value below {} that bson_types call {kind} is not spelled as one",
                member.pointer()
            ),
            Self::Value(member, None) => write!(
                f,
                "a value below {} without an entry in bson_types is no JSON value of a known type",
                member.pointer()
            ),
            Self::KeyTwice(member) => write!(
                f,
                "a document below {} has a key twice, and no raw_bson carries it",
                member.pointer()
            ),
            Self::ZeroByte(member) => write!(
                f,
                "a key or a pattern below {} holds U+0000, which BSON cannot hold there",
                member.pointer()
            ),
            Self::TooDeep(member) => write!(
                f,
                "{} is nested deeper than {} and no raw_bson carries it",
                member.pointer(),
                MAX_DEPTH
            ),
            Self::TooLarge(member) => {
                write!(f, "{} is larger than a BSON document can be", member.pointer())
            }
            Self::Raw => f.write_str(
                "the message's raw_bson is not base64 of BSON documents under the pointers of its members",
            ),
            Self::Key => f.write_str("the message's key is not that of its document_key"),
        }
    }
}

impl std::error::Error for DocumentsError {}
