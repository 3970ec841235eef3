//! One reply of the server, walked in place.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use mongodb::raw_batch_cursor::RawBatch;

use crate::reader::Arrived;

/// The BSON type tag of an embedded document.
const DOCUMENT_TAG: u8 = 0x03;
/// The length that every BSON document begins with, in bytes.
const LENGTH_BYTES: usize = 4;

/// A reply that does not look like one; the text says what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// What was looked up for a reply, as far as that was looked through.
#[derive(Default)]
pub(crate) struct Images {
    /// Events before this place are whole, or stand below.
    pub(crate) through: usize,
    /// By the event's place; `None` where the document is gone.
    pub(crate) found: BTreeMap<usize, Option<RawDocumentBuf>>,
}

/// A batch of events, and how far it was read.
pub(crate) struct ServerReply {
    batch: RawBatch,
    arrived: SystemTime,
    /// Where the next event stands in the array's bytes.
    at: usize,
    /// Documents that its updates came without; `None` where every update is to be read as it is.
    pub(crate) images: Option<Images>,
}

impl ServerReply {
    pub(crate) fn new(Arrived { batch, at: arrived }: Arrived) -> Self {
        Self { batch, arrived, at: LENGTH_BYTES, images: None }
    }

    /// When it arrived.
    pub(crate) const fn arrived(&self) -> SystemTime {
        self.arrived
    }

    /// The next event, and the place behind it for [`Self::advance`]; `None` after the last one.
    pub(crate) fn peek(&self) -> Result<Option<(&RawDocument, usize)>, Unreadable> {
        self.peek_at(self.at)
    }

    /// The event at a place, and the place behind it.
    pub(crate) fn peek_at(&self, at: usize) -> Result<Option<(&RawDocument, usize)>, Unreadable> {
        let events = self.batch.doc_slices().map_err(|_| Unreadable("no batch"))?;
        document_at(events.as_bytes(), at)
    }

    /// The place of the next event.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Goes on behind an event that [`Self::peek`] gave.
    pub(crate) fn advance(&mut self, behind: usize) {
        self.at = behind;
    }

    /// The position behind everything that the server has looked at.
    pub(crate) fn post_batch_token(&self) -> Result<&RawDocument, Unreadable> {
        post_batch_token(self.batch.as_raw_document())
    }

    /// The source's own clock when it answered, in Unix seconds; `None` where it does not tell.
    pub(crate) fn operation_seconds(&self) -> Option<u32> {
        self.batch.as_raw_document().get_timestamp("operationTime").ok().map(|time| time.time)
    }

    /// About how much of it is still to be read, in bytes.
    pub(crate) fn bytes_left(&self) -> usize {
        self.batch.as_raw_document().as_bytes().len().saturating_sub(self.at)
    }
}

pub(crate) fn post_batch_token(reply: &RawDocument) -> Result<&RawDocument, Unreadable> {
    let token = reply
        .get_document("cursor")
        .ok()
        .and_then(|cursor| cursor.get("postBatchResumeToken").ok().flatten())
        .and_then(RawBsonRef::as_document);
    token.ok_or(Unreadable("no postBatchResumeToken, which MongoDB 4.2 and newer send"))
}

/// The document at `at` in an array of documents, and the place behind it. Total: any bytes give an answer.
fn document_at(array: &[u8], at: usize) -> Result<Option<(&RawDocument, usize)>, Unreadable> {
    const BROKEN: Unreadable = Unreadable("a batch that is not an array of documents");
    let rest = array.get(at..).ok_or(BROKEN)?;
    match rest.split_first() {
        Some((0, _)) => Ok(None),
        Some((&DOCUMENT_TAG, key)) => {
            let key_bytes = key.iter().position(|&byte| byte == 0).ok_or(BROKEN)?;
            let start = 1 + key_bytes + 1;
            let document = rest.get(start..).ok_or(BROKEN)?;
            let length = document.first_chunk::<LENGTH_BYTES>().map(|bytes| i32::from_le_bytes(*bytes));
            let length = length.and_then(|length| usize::try_from(length).ok()).ok_or(BROKEN)?;
            let document = document.get(..length).ok_or(BROKEN)?;
            let document = RawDocument::from_bytes(document).map_err(|_| BROKEN)?;
            Ok(Some((document, at + start + length)))
        }
        _ => Err(BROKEN),
    }
}

#[cfg(test)]
mod tests {
    use bson::{rawbson, rawdoc};

    use super::*;

    #[test]
    fn an_array_is_walked_to_its_end() {
        for count in [0_i32, 1, 9, 10, 11, 123] {
            let mut array = bson::RawArrayBuf::new();
            for n in 0..count {
                array.push(rawbson!({ "n": n, "pad": "x".repeat(usize::try_from(n).unwrap()) }));
            }
            let (mut at, mut seen) = (LENGTH_BYTES, 0);
            while let Some((document, behind)) = document_at(array.as_bytes(), at).unwrap() {
                assert_eq!(document.get_i32("n").unwrap(), seen);
                (at, seen) = (behind, seen + 1);
            }
            assert_eq!(seen, count);
        }
    }

    #[test]
    fn broken_bytes_are_said_and_not_followed() {
        let mut array = bson::RawArrayBuf::new();
        array.push(rawbson!({ "n": 1 }));
        let whole = array.as_bytes().to_vec();
        for end in LENGTH_BYTES..whole.len() - 1 {
            assert!(document_at(&whole[..end], LENGTH_BYTES).is_err(), "cut at {end}");
        }
        assert!(document_at(&whole, whole.len() + 1).is_err());
        let mut other_type = whole.clone();
        other_type[LENGTH_BYTES] = 0x10;
        assert!(document_at(&other_type, LENGTH_BYTES).is_err());
        let mut negative = whole;
        negative[LENGTH_BYTES + 3..LENGTH_BYTES + 7].copy_from_slice(&(-1_i32).to_le_bytes());
        assert!(document_at(&negative, LENGTH_BYTES).is_err());
    }

    #[test]
    fn the_token_behind_a_batch() {
        let reply = rawdoc! { "cursor": { "nextBatch": [], "postBatchResumeToken": { "_data": "82" } } };
        assert_eq!(post_batch_token(&reply).unwrap().get_str("_data").unwrap(), "82");
        assert!(post_batch_token(&rawdoc! { "cursor": { "nextBatch": [] } }).is_err());
        assert!(post_batch_token(&rawdoc! { "ok": 1 }).is_err());
    }
}
