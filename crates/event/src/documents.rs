//! A message turned back into the BSON documents of its event, byte for byte.

use crate::documents_error::DocumentsError;
use crate::elements::{Element, Elements};
use crate::envelope::{Envelope, FullDocument, Member};
use crate::fields::TypeIndex;
use crate::json_to_bson::{self, Places};
use crate::scan::{self, Members};
use crate::{decode_base64, key};

/// The BSON documents of the event that a message was made of.
///
/// `document_key` and `full_document` are the event's own bytes. `update_description` is so where the message
/// carries it whole (`raw_bson`); elsewhere it is its one normal form: `updatedFields` with the event's own bytes,
/// `removedFields`, and `truncatedArrays` where there are any, each `newSize` an int32 where it fits. What else
/// MongoDB puts there (`disambiguatedPaths`) is not in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// `documentKey`.
    pub document_key: Vec<u8>,
    /// `fullDocument`; `None` where the message has none, or `null`: [`Envelope::full_document`] tells which.
    pub full_document: Option<Vec<u8>>,
    /// `updateDescription`, of updates.
    pub update_description: Option<Vec<u8>>,
}

impl Documents {
    /// Turns a message back: its key, and its value as [`Envelope::parse`] took it apart.
    ///
    /// ```
    /// use cdc_event::{Documents, Envelope};
    ///
    /// let value = br#"{"version":1,"id":"0","operation_type":"delete",
    ///     "namespace":{"database":"game_db","collection":"players"},"document_key":{"_id":7},
    ///     "cluster_time":{"t":1,"i":1},"position":"00","bson_types":{"long":["/document_key/_id"]}}"#;
    /// let documents = Documents::decode(br#"{"$numberInt":"7"}"#, &Envelope::parse(value)?)?;
    /// assert_eq!(documents.document_key, b"\x12\0\0\0\x12_id\0\x07\0\0\0\0\0\0\0\0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Where the message is not what `docs/message-format.md` says, so that nothing is guessed: what does not read back
    /// exactly is refused.
    pub fn decode(key: &[u8], envelope: &Envelope<'_>) -> Result<Self, DocumentsError> {
        let document_key = envelope.document_key.ok_or(DocumentsError::Control)?;
        let mut index = TypeIndex::default();
        index.load(envelope.bson_types).map_err(|_| DocumentsError::Types)?;
        let raw = Raw::of(envelope)?;
        let mut places = Places::of(&index, |member| raw.get(member).is_some())?;
        let full_document = match envelope.full_document {
            FullDocument::Absent | FullDocument::Null => None,
            FullDocument::Present(text) => Some(text),
        };
        let documents = Self {
            document_key: member(&raw, &mut places, Member::DocumentKey, document_key)?,
            full_document: full_document
                .map(|text| member(&raw, &mut places, Member::FullDocument, text))
                .transpose()?,
            update_description: envelope
                .update_desc
                .map(|text| member(&raw, &mut places, Member::UpdateDesc, text))
                .transpose()?,
        };
        if !places.all_found() {
            return Err(DocumentsError::Nowhere);
        }
        documents.check_key(key)?;
        Ok(documents)
    }

    fn check_key(&self, key: &[u8]) -> Result<(), DocumentsError> {
        let id = id_of(&self.document_key).ok_or(DocumentsError::Key)?;
        let mut expected = Vec::with_capacity(key.len());
        key::write(&mut expected, &id).map_err(|_| DocumentsError::Key)?;
        if expected == key { Ok(()) } else { Err(DocumentsError::Key) }
    }
}

fn id_of(document_key: &[u8]) -> Option<Element<'_>> {
    Elements::new(document_key).ok()?.map_while(Result::ok).find(|element| element.key == b"_id")
}

fn member(raw: &Raw, places: &mut Places<'_>, member: Member, text: &str) -> Result<Vec<u8>, DocumentsError> {
    match raw.get(member) {
        Some(document) => Ok(document.to_vec()),
        None => json_to_bson::member(places, member, text),
    }
}

/// What `raw_bson` carries, decoded.
#[derive(Default)]
struct Raw {
    documents: Vec<(Member, Vec<u8>)>,
}

impl Raw {
    fn of(envelope: &Envelope<'_>) -> Result<Self, DocumentsError> {
        const WRONG: DocumentsError = DocumentsError::Raw;
        let mut raw = Self::default();
        let Some(text) = envelope.raw_bson else { return Ok(raw) };
        let mut pairs = Members::object(text).ok_or(WRONG)?;
        while let Some((pointer, base64)) = pairs.next_pair() {
            let pointer = scan::string(pointer).ok_or(WRONG)?;
            let member = Member::ALL.into_iter().find(|member| member.pointer() == pointer).ok_or(WRONG)?;
            let there = match member {
                Member::DocumentKey => envelope.document_key.is_some(),
                Member::FullDocument => matches!(envelope.full_document, FullDocument::Present(_)),
                Member::UpdateDesc => envelope.update_desc.is_some(),
            };
            let document = decode_base64(&scan::string(base64).ok_or(WRONG)?).ok_or(WRONG)?;
            if !there || raw.get(member).is_some() || !is_document(&document) {
                return Err(WRONG);
            }
            raw.documents.push((member, document));
        }
        Ok(raw)
    }

    fn get(&self, member: Member) -> Option<&[u8]> {
        self.documents.iter().find(|(theirs, _)| *theirs == member).map(|(_, document)| &document[..])
    }
}

/// True where the bytes are a document, as far as its own elements go.
fn is_document(bytes: &[u8]) -> bool {
    Elements::new(bytes).is_ok_and(|mut elements| elements.all(|element| element.is_ok()))
}
