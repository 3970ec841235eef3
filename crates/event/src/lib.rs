//! The change event as a message, byte for byte, and the way back to rows. Raw BSON becomes JSON bytes without a
//! document tree in between.
//!
//! | module | what it holds |
//! |---|---|
//! | `encode`, `update` | an event into a message: [`Encoder`] |
//! | `kind`, `encode_error` | what an event is about, and why one becomes no message: [`Kind`], [`EncodeError`] |
//! | `elements`, `bson_to_json`, `json` | BSON walked in place, its values as JSON text, and that text's spelling |
//! | `sidecar`, `types` | the BSON types that JSON cannot express |
//! | `decimal`, `date` | values whose text has rules of its own |
//! | `key` | the message key, and the row id that is made from it |
//! | `token`, `position`, `cluster_time` | the order of events, cut out of the resume token |
//! | `message`, `control` | what goes to Kafka: [`Message`], [`Control`] |
//! | `sampling`, `trace_context` | which events are followed on their way, and as what: [`Sampling`], [`TraceContext`] |
//! | `envelope`, `scan`, `fields` | a message read back, without copies: [`Envelope`], [`Fields`] |
//! | `json_to_value` | one value read back with its type: [`Value`] |
//! | `documents`, `documents_error`, `json_to_bson`, `key_to_bson` | a message back to BSON, byte for byte: [`Documents`], [`id_of_key`] |

mod bson_to_json;
mod cluster_time;
mod control;
mod date;
mod decimal;
mod documents;
mod documents_error;
mod elements;
mod encode;
mod encode_error;
mod envelope;
mod fields;
mod json;
mod json_to_bson;
mod json_to_value;
mod key;
mod key_to_bson;
mod kind;
mod message;
mod position;
mod sampling;
mod scan;
mod sidecar;
mod token;
mod trace_context;
mod types;
mod update;

pub use cluster_time::ClusterTime;
pub use control::{Control, GapNotice};
pub use decimal::Decimal;
pub use documents::Documents;
pub use documents_error::DocumentsError;
pub use elements::Malformed;
pub use encode::{Encoded, Encoder, Imageless, OMITTED_FIELD};
pub use encode_error::EncodeError;
pub use envelope::{DecodeError, Envelope, FullDocument, Gap, Member, Operation};
pub use fields::{Fields, TypeIndex, TypesError, lookup};
pub use json_to_value::{Value, ValueError, decode_base64};
pub use key::{CONTROL_KEY, KeyError, route, row_id_text};
pub use key_to_bson::id_of_key;
pub use kind::Kind;
pub use message::{EventTrace, Message, ResumeToken};
pub use position::Position;
pub use sampling::Sampling;
pub use token::{TokenError, token_cluster_time, token_position};
pub use trace_context::{TraceContext, TraceParent, trace_state};
pub use types::BsonType;

/// The version of the message that this crate writes, and the newest that it reads.
pub const WIRE_VERSION: u32 = 1;
