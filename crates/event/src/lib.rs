//! The change event as a message, byte for byte: raw BSON in, JSON bytes out, without a document tree in
//! between; and the way back to rows.

mod message;
mod position;

pub use message::{Message, ResumeToken};
pub use position::Position;
