//! What is fuzzed of this crate. `fuzz/` runs these functions under libFuzzer; here they run over its corpora.

use bson::{RawDocument, RawDocumentBuf};
use cdc_event::{Documents, Encoder, Envelope, Kind, ResumeToken, id_of_key, row_id_text};

use crate::common::{LINEAGE, document_of, element, event, insert_of, raw};
use crate::drawn_event::{Event, message};
use crate::generator::{self, Draw};
use crate::same_id::{is_same, retyped};

/// Any bytes as a change event, as an event's document, and as a resume token: a message that reads back, or an error.
pub(crate) fn change_event(data: &[u8]) {
    _ = ResumeToken::from_bson(data.to_vec().into(), LINEAGE);
    if let Ok(event) = RawDocument::from_bytes(data) {
        reads_back(event);
        _ = cdc_event::Imageless::of(event);
    }
    let mut whole = [&[0; 4], data, &[0]].concat();
    let length = i32::try_from(whole.len()).unwrap().to_le_bytes();
    whole[..4].copy_from_slice(&length);
    if let Some(documents) = reads_back(&insert_of(&whole)) {
        assert_eq!(documents.full_document.as_deref(), Some(&whole[..]));
    }
}

/// What the event's message turns back into; `None` where it becomes none.
fn reads_back(event: &RawDocument) -> Option<Documents> {
    let (mut out, mut tokens) = (Vec::new(), Vec::new());
    let encoded = Encoder::new(LINEAGE).encode(event, &mut out, &mut tokens).ok()?;
    if matches!(encoded.kind, Kind::Other(_)) || encoded.omitted_bytes.is_some() {
        return None;
    }
    let (key, value) = (&out[encoded.key], &out[encoded.value]);
    row_id_text(key).unwrap();
    let _document: serde_json::Value = serde_json::from_slice(value).unwrap();
    Some(Documents::decode(key, &Envelope::parse(value).unwrap()).unwrap())
}

/// Any BSON that can be drawn: its message turns back into its bytes.
pub(crate) fn document(data: &[u8]) {
    let event = Event::draw(data);
    let (key, value) = message(&event, &mut Encoder::new(LINEAGE));
    let documents = Documents::decode(&key, &Envelope::parse(&value).unwrap()).unwrap();
    assert_eq!(documents.document_key, event.document_key());
    assert_eq!(documents.full_document.as_ref(), event.document.as_ref().map(|(document, _)| document));
    let description = event.description.map(|(seen, told, raw)| if raw { seen } else { told });
    assert_eq!(documents.update_description, description);
}

/// Any bytes as a key and a value, with a line break between them: refused, or they turn into BSON that turns into a
/// message that turns into the same BSON.
pub(crate) fn any_message(data: &[u8]) {
    let (key, value) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, data),
    };
    _ = row_id_text(key);
    _ = id_of_key(key);
    let Ok(envelope) = Envelope::parse(value) else { return };
    let Ok(documents) = Documents::decode(key, &envelope) else { return };
    let head = raw(&event("update", 1, bson::doc! {})).into_bytes();
    let key_at = head.windows(11).position(|window| window == b"documentKey").unwrap() - 1;
    let mut elements = vec![head[4..key_at].to_vec()];
    elements.push(element(3, b"documentKey", &documents.document_key));
    if let Some(document) = &documents.full_document {
        elements.push(element(3, b"fullDocument", document));
    }
    let description = documents.update_description.clone().unwrap_or_else(|| {
        generator::document_of(&[
            (3, b"updatedFields".to_vec(), generator::document_of(&[])),
            (4, b"removedFields".to_vec(), generator::document_of(&[])),
        ])
    });
    elements.push(element(3, b"updateDescription", &description));
    let event = RawDocumentBuf::from_bytes(document_of(&elements)).unwrap();
    // A raw document may hold anything, and then the event is refused.
    if let Some(again) = reads_back(&event) {
        assert_eq!(again.document_key, documents.document_key);
        assert_eq!(again.full_document, documents.full_document);
        // A raw description comes back in its one form.
        if envelope.raw_bson.is_none() {
            assert_eq!(again.update_description, Some(description));
        }
    }
}

/// Two `_id`s have one key exactly where MongoDB calls them the same, and the key leads to such an `_id`.
pub(crate) fn key(data: &[u8]) {
    let mut draw = Draw::new(data);
    let a = draw.value(1);
    let mut b = match draw.below(3) {
        0 => draw.value(1),
        1 => a.clone(),
        _ => retyped(a.0, &a.1, &mut draw),
    };
    // A bit of a value without lengths inside.
    if draw.byte() > 128 && matches!(b.0, 0x01 | 0x07 | 0x09..=0x12) && !matches!(b.0, 0x0B..=0x0F) {
        let at = draw.below(b.1.len().max(1));
        if let Some(byte) = b.1.get_mut(at) {
            *byte ^= 1 << draw.below(8);
        }
    }
    let (a_key, b_key) = (key_of(&a), key_of(&b));
    let same = is_same((a.0, &a.1), (b.0, &b.1));
    let has_no_text = |key: &[u8]| key.starts_with(b"{\"$bson\"");
    if a_key == b_key {
        assert!(same, "{a:?} and {b:?} have one key, {}", String::from_utf8_lossy(&a_key));
        assert_eq!(row_id_text(&a_key), row_id_text(&b_key));
    } else {
        assert!(!same || has_no_text(&a_key) || has_no_text(&b_key), "{a:?} and {b:?} are the same");
        assert_ne!(row_id_text(&a_key).unwrap(), row_id_text(&b_key).unwrap());
    }
    let found = id_of_key(&a_key).unwrap();
    let found = (found[4], found[9..found.len() - 1].to_vec());
    assert!(is_same((a.0, &a.1), (found.0, &found.1)), "{a:?} became {found:?}");
}

fn key_of(id: &(u8, Vec<u8>)) -> Vec<u8> {
    let event = Event {
        operation: "delete",
        id: id.clone(),
        document: None,
        description: None,
        key_needs_raw: false,
    };
    message(&event, &mut Encoder::new(LINEAGE)).0
}

#[cfg(test)]
#[path = "../../../../fuzz/replay.rs"]
mod replay;

#[test]
fn the_corpora_are_replayed() {
    replay::replay("change_event", change_event);
    replay::replay("document", document);
    replay::replay("message", any_message);
    replay::replay("key", key);
}

#[cfg(test)]
proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(5_000))]

    /// Any two `_id`s, so that the corpus is not all that is ever tried.
    #[test]
    fn keys_are_equal_where_ids_are(bytes in crate::back_to_bson::draws()) {
        key(&bytes);
    }
}
