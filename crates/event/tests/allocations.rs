//! What the per-event path allocates once its buffers have grown.
#![allow(clippy::unwrap_used)]

use bson::{DateTime, Document, RawDocumentBuf, Timestamp, doc, oid::ObjectId};
use cdc_event::{
    Encoder, Envelope, Fields, FullDocument, Member, Sampling, TraceContext, TypeIndex, Value, row_id_text,
};

fn event() -> RawDocumentBuf {
    let id = ObjectId::from_bytes([7; 12]);
    let mut document = doc! { "_id": id, "username": "player123", "score": 9_999_i64, "rate": 0.25, "tags": ["a", "b"], "created_at": DateTime::from_millis(1) };
    document.extend(
        (0..20)
            .map(|n| (format!("field_{n}"), bson::Bson::from("some text of moderate length")))
            .collect::<Document>(),
    );
    RawDocumentBuf::try_from(&doc! {
        "_id": { "_data": "826B045F8E000000082B022C0100296E5A1004B7A61B0EF2B94D6CA0F6A1B2C3D4E5F646645F69640064507F1F77BCF86CD7994390110004" },
        "operationType": "insert",
        "clusterTime": Timestamp { time: 5, increment: 1 },
        "fullDocument": document,
        "ns": { "db": "game_db", "coll": "players" },
        "documentKey": { "_id": id },
    })
    .unwrap()
}

#[test]
fn a_kilobyte_costs_next_to_no_allocation() {
    let event = event();
    assert!(event.as_bytes().len() > 1_000);
    let mut encoder = Encoder::new(1);
    let (mut out, mut tokens) = (Vec::new(), Vec::new());
    encoder.encode(&event, &mut out, &mut tokens).unwrap();
    out.clear();
    tokens.clear();
    let mut ranges = (0..0, 0..0);
    let mut position = None;
    let encoding = allocation_counter::measure(|| {
        let encoded = encoder.encode(&event, &mut out, &mut tokens).unwrap();
        ranges = (encoded.key, encoded.value);
        position = Some(encoded.position);
    });
    assert_eq!(encoding.count_total, 0);

    // Neither does the choice whether an event is followed, nor what its message's header says.
    let position = position.unwrap();
    let choosing = allocation_counter::measure(|| {
        assert!(!Sampling::of(0.0001).takes(&position));
        let text = TraceContext::of_event(&position, 1, true).text();
        assert!(TraceContext::parse(text.as_str().as_bytes()).is_some());
    });
    assert_eq!(choosing.count_total, 0);

    let mut types = TypeIndex::default();
    let mut decode = || {
        let envelope = Envelope::parse(&out[ranges.1.clone()]).unwrap();
        types.load(envelope.bson_types).unwrap();
        let FullDocument::Present(document) = envelope.full_document else { panic!("a document") };
        for (key, text) in Fields::of(document) {
            Value::read(text, types.get(Member::FullDocument, &[&key])).unwrap();
        }
        row_id_text(&out[ranges.0.clone()]).unwrap().len()
    };
    assert_eq!(decode(), 24);
    let decoding = allocation_counter::measure(|| _ = decode());
    // serde_json's stack of open brackets, a few bytes, while it passes over the document.
    assert_eq!(decoding.count_total, 1);
}
