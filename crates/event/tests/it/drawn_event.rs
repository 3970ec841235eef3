//! Change events made of any BSON.

use bson::{RawDocumentBuf, doc};
use cdc_event::Encoder;

use crate::common::{document_of, element, event, raw};
use crate::generator::{self, Draw};

/// An event whose parts are these.
pub(crate) struct Event {
    pub(crate) operation: &'static str,
    pub(crate) id: (u8, Vec<u8>),
    pub(crate) document: Option<(Vec<u8>, bool)>,
    pub(crate) description: Option<(Vec<u8>, Vec<u8>, bool)>,
    pub(crate) key_needs_raw: bool,
}

impl Event {
    pub(crate) fn draw(bytes: &[u8]) -> Self {
        let mut draw = Draw::new(bytes);
        let operation = ["insert", "replace", "update", "delete"][draw.below(4)];
        let id = draw.value(1);
        let key_needs_raw = std::mem::take(&mut draw.needs_raw);
        let description = (operation == "update").then(|| {
            let (seen, told) = draw.update_description();
            (seen, told, std::mem::take(&mut draw.needs_raw))
        });
        let document = (operation != "delete" && !(operation == "update" && draw.byte() > 200))
            .then(|| (draw.document(1), draw.needs_raw));
        Self { operation, id, document, description, key_needs_raw }
    }

    pub(crate) fn document_key(&self) -> Vec<u8> {
        generator::document_of(&[(self.id.0, b"_id".to_vec(), self.id.1.clone())])
    }

    fn bson(&self) -> RawDocumentBuf {
        let head = raw(&event(self.operation, 1, doc! {})).into_bytes();
        let key_at = head.windows(11).position(|window| window == b"documentKey").unwrap() - 1;
        let mut elements = vec![head[4..key_at].to_vec()];
        elements.push(element(3, b"documentKey", &self.document_key()));
        if let Some((document, _)) = &self.document {
            elements.push(element(3, b"fullDocument", document));
        }
        if let Some((description, _, _)) = &self.description {
            elements.push(element(3, b"updateDescription", description));
        }
        RawDocumentBuf::from_bytes(document_of(&elements)).unwrap()
    }
}

/// The event's message and key.
pub(crate) fn message(event: &Event, encoder: &mut Encoder) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut tokens) = (Vec::new(), Vec::new());
    let bson = event.bson();
    let encoded = encoder.encode(&bson, &mut out, &mut tokens).unwrap();
    (out[encoded.key].to_vec(), out[encoded.value].to_vec())
}
