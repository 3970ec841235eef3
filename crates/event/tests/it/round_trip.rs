//! Random documents: what stands in the message is what stood in the event, by a walk of the driver's values
//! beside the message's JSON.

use bson::spec::BinarySubtype;
use bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, RawDocument, RawDocumentBuf,
    Regex, Timestamp, doc,
};
use cdc_event::{Documents, FullDocument, Member, TypeIndex, Value, decode_base64, token_position};
use proptest::prelude::*;

use crate::common::{
    LINEAGE, encode, encode_document, envelope, event, insert, insert_of, items, pairs, raw, token,
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z]{0,9}", 1 => any::<String>(), 1 => "[\"\\\\/~\u{0}-\u{20}é😀]{0,20}"]
}

fn without_nul(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    text.prop_map(|text| text.replace('\0', "~"))
}

fn binary() -> impl Strategy<Value = Bson> {
    let subtype = prop_oneof![
        Just(BinarySubtype::Generic),
        Just(BinarySubtype::BinaryOld),
        Just(BinarySubtype::Uuid),
        Just(BinarySubtype::Vector),
        (0x80_u8..).prop_map(BinarySubtype::UserDefined),
    ];
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..40), any::<[u8; 16]>().prop_map(Vec::from)];
    (subtype, bytes).prop_map(|(subtype, bytes)| Bson::Binary(Binary { subtype, bytes }))
}

fn values() -> impl Strategy<Value = Bson> {
    let edges =
        prop::sample::select(vec![i64::MIN, i64::MAX, i64::from(i32::MAX), i64::from(i32::MIN), 1 << 31, 0]);
    let leaf = prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        prop_oneof![any::<i64>(), -9_i64..9, edges].prop_map(Bson::Int64),
        prop_oneof![any::<f64>(), any::<u64>().prop_map(f64::from_bits), (-9_i8..9).prop_map(f64::from)]
            .prop_map(Bson::Double),
        text().prop_map(Bson::String),
        any::<bool>().prop_map(Bson::Boolean),
        any::<[u8; 12]>().prop_map(|bytes| Bson::ObjectId(bson::oid::ObjectId::from_bytes(bytes))),
        prop_oneof![any::<i64>(), 0_i64..4_000_000_000_000]
            .prop_map(|millis| Bson::DateTime(DateTime::from_millis(millis))),
        any::<(u32, u32)>().prop_map(|(time, increment)| Bson::Timestamp(Timestamp { time, increment })),
        (any::<i64>(), -400_i16..400).prop_map(|(digits, exponent)| {
            Bson::Decimal128(format!("{digits}E{exponent}").parse::<Decimal128>().unwrap())
        }),
        binary(),
        (without_nul(text()), "i?m?s?").prop_map(|(pattern, options)| Bson::RegularExpression(Regex {
            pattern: pattern.try_into().unwrap(),
            options: options.try_into().unwrap(),
        })),
        text().prop_map(Bson::JavaScriptCode),
        text().prop_map(Bson::Symbol),
        prop::sample::select(vec![Bson::Null, Bson::Undefined, Bson::MinKey, Bson::MaxKey]),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let document = prop::collection::vec((without_nul(text()), inner.clone()), 0..6)
            .prop_map(|fields| fields.into_iter().collect::<Document>())
            .boxed();
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Bson::Array),
            document.clone().prop_map(Bson::Document),
            (text(), document).prop_map(|(code, scope)| {
                Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code, scope })
            }),
        ]
    })
}

fn documents() -> impl Strategy<Value = Document> {
    prop::collection::vec((without_nul(text()), values()), 0..10)
        .prop_map(|fields| fields.into_iter().collect())
}

/// Compares a value with its JSON, following `path` into `bson_types`; counts the entries that it used.
fn compare(value: &Bson, json: &str, types: &TypeIndex, path: &mut Vec<String>, used: &mut usize) {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    let kind = types.get(Member::FullDocument, &keys);
    *used += usize::from(kind.is_some());
    let read = Value::read(json, kind).unwrap();
    match (value, &read) {
        (Bson::Document(document), Value::Document(json)) => {
            compare_document(document, json, types, path, used);
        }
        (Bson::Array(values), Value::Array(json)) => {
            let items = items(json);
            assert_eq!(items.len(), values.len());
            for (index, (value, item)) in values.iter().zip(&items).enumerate() {
                path.push(index.to_string());
                compare(value, item, types, path, used);
                path.pop();
            }
        }
        (Bson::JavaScriptCodeWithScope(theirs), Value::JavaScriptWithScope { code, scope }) => {
            assert_eq!(&theirs.code, code);
            path.push("scope".to_owned());
            compare_document(&theirs.scope, scope, types, path, used);
            path.pop();
        }
        _ => compare_leaf(value, &read),
    }
}

fn compare_document(
    document: &Document,
    json: &str,
    types: &TypeIndex,
    path: &mut Vec<String>,
    used: &mut usize,
) {
    let fields = pairs(json);
    assert!(document.keys().eq(fields.iter().map(|(key, _)| key)), "keys and their order");
    for ((key, value), (_, json)) in document.iter().zip(&fields) {
        path.push(key.clone());
        compare(value, json, types, path, used);
        path.pop();
    }
}

fn compare_leaf(value: &Bson, read: &Value<'_>) {
    let equal = match (value, read) {
        (Bson::Null, Value::Null) | (Bson::Undefined, Value::Undefined) => true,
        (Bson::MinKey, Value::MinKey) | (Bson::MaxKey, Value::MaxKey) => true,
        (Bson::Int32(a), Value::Int32(b)) => a == b,
        (Bson::Int64(a), Value::Int64(b)) => a == b,
        (Bson::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        (Bson::Boolean(a), Value::Bool(b)) => a == b,
        (Bson::String(a), Value::String(b))
        | (Bson::JavaScriptCode(a), Value::JavaScript(b))
        | (Bson::Symbol(a), Value::Symbol(b)) => a == b,
        (Bson::ObjectId(a), Value::ObjectId(b)) => a.to_hex() == *b,
        (Bson::DateTime(a), Value::Date(b)) => a.timestamp_millis() == *b,
        (Bson::Timestamp(a), Value::Timestamp(b)) => (a.time, a.increment) == (b.t, b.i),
        (Bson::Decimal128(a), Value::Decimal(b)) => a.to_string() == b.to_string(),
        (Bson::Binary(a), Value::Binary { subtype, base64 }) => {
            u8::from(a.subtype) == *subtype && decode_base64(base64).unwrap() == a.bytes
        }
        (Bson::Binary(a), Value::Uuid(b)) => a.to_uuid().unwrap().to_string() == *b,
        (Bson::RegularExpression(a), Value::Regex { pattern, options }) => {
            a.pattern.as_str() == pattern && a.options.as_str() == options
        }
        _ => false,
    };
    assert!(equal, "{value:?} is not {read:?}");
}

fn check(document: &Document, message: &str) {
    let read = envelope(message);
    assert_eq!(read.raw_bson, None);
    let FullDocument::Present(json) = read.full_document else { panic!("a document") };
    let mut types = TypeIndex::default();
    types.load(read.bson_types).unwrap();
    let mut used = 0;
    compare_document(document, json, &types, &mut Vec::new(), &mut used);
    let listed = types.iter().filter(|(pointer, _)| pointer.starts_with("/full_document/")).count();
    assert_eq!(used, listed, "no pointer leads nowhere");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Feature: cdc-pipeline, Property 2: Change Event Data Extraction Correctness
    ///
    /// Validates: Requirements 1.3
    #[test]
    fn every_member_is_the_event_s(
        document in documents(),
        shard_key in values(),
        operation in prop::sample::select(vec!["insert", "update", "replace", "delete"]),
        database in "[a-zé\"-]{1,8}",
        collection in "[a-z.\\\\]{1,8}",
        (t, i) in (1_u32.., any::<u32>()),
        removed in prop::collection::vec(text(), 0..3),
        truncated in prop::collection::vec((text(), 0_i32..), 0..3),
    ) {
        let document_key = doc! { "shard": shard_key, "_id": t };
        let mut event = event(operation, 1, doc! {});
        event.insert("_id", token(t, i));
        event.insert("clusterTime", Timestamp { time: t, increment: i });
        event.insert("ns", doc! { "db": &database, "coll": &collection });
        event.insert("documentKey", document_key.clone());
        if operation != "delete" {
            event.insert("fullDocument", document.clone());
        }
        let arrays: Vec<Document> =
            truncated.iter().map(|(field, size)| doc! { "field": field, "newSize": *size }).collect();
        let mut description = doc! { "updatedFields": document.clone(), "removedFields": removed };
        if !arrays.is_empty() {
            description.insert("truncatedArrays", arrays);
        }
        if operation == "update" {
            event.insert("updateDescription", description.clone());
        }
        let encoding = encode_document(&event);
        let read = envelope(&encoding.value);
        prop_assert_eq!(read.operation.name(), operation);
        prop_assert_eq!((&*read.database, &*read.collection), (&*database, &*collection));
        prop_assert_eq!((read.cluster_time.t, read.cluster_time.i), (t, i));
        prop_assert_eq!(read.position, token_position(raw(&token(t, i)).as_bytes(), LINEAGE).unwrap());
        let data = token(t, i).get_str("_data").unwrap().to_owned();
        prop_assert_eq!(&*read.id, format!("{:032x}", xxhash_rust::xxh3::xxh3_128(data.as_bytes())));
        let documents = Documents::decode(encoding.key.as_bytes(), &read).unwrap();
        prop_assert_eq!(documents.document_key, raw(&document_key).into_bytes());
        let full_document = (operation != "delete").then(|| raw(&document).into_bytes());
        prop_assert_eq!(documents.full_document, full_document);
        let description = (operation == "update").then(|| raw(&description).into_bytes());
        prop_assert_eq!(documents.update_description, description);
        prop_assert_eq!(encoding.token, raw(&token(t, i)).into_bytes());
    }

    /// Feature: cdc-pipeline, Property 9: Message Serialization Round-Trip
    ///
    /// Validates: Requirements 3.5, 4.3
    #[test]
    fn values_types_and_order_survive(document in documents()) {
        check(&document, &insert(document.clone()));
    }

    /// Damaged documents give a message in JSON or an error, and never a panic.
    #[test]
    fn damage_is_survived(document in documents(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = raw(&document).into_bytes();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(encoding) = encode(&insert_of(&bytes)) {
            let read = envelope(&encoding.value);
            prop_assert!(matches!(read.full_document, FullDocument::Present(_)));
            TypeIndex::default().load(read.bson_types).unwrap();
            if let Some(base64) = read.raw_bson_of(Member::FullDocument) {
                prop_assert_eq!(decode_base64(&base64).unwrap(), bytes);
            }
        }
    }

    /// As the last one, the whole event being damaged or invented.
    #[test]
    fn no_event_panics(document in documents(), noise in prop::collection::vec(any::<u8>(), 0..80), place: prop::sample::Index) {
        let mut bytes = raw(&event("insert", 1, doc! { "fullDocument": document })).into_bytes();
        let place = 4 + place.index(bytes.len() - 5);
        let end = bytes.len() - 1;
        for (slot, byte) in bytes[place..end].iter_mut().zip(&noise) {
            *slot = *byte;
        }
        if let Ok(event) = RawDocument::from_bytes(&bytes) {
            _ = encode(event);
        }
        let invented = crate::common::document_of(&[noise]);
        _ = encode(&RawDocumentBuf::from_bytes(invented).unwrap());
    }
}
