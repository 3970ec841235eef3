//! Envelopes, fields and typed values as the Syncer reads them.

use std::borrow::Cow;

use bson::{Bson, doc};
use cdc_event::{
    BsonType, DecodeError, Envelope, Fields, FullDocument, Member, Operation, TypeIndex, Value, lookup,
};

use crate::common::{encode_document, envelope, event, insert, oid};

#[test]
fn an_insert_reads_back() {
    let id = oid("507f1f77bcf86cd799439011");
    let message = insert(doc! { "_id": id, "stats": { "level": 5_i64 }, "we\"ird/~": Bson::MinKey });
    let read = envelope(&message);
    assert_eq!(read.operation, Operation::Insert);
    assert_eq!((&*read.database, &*read.collection), ("game_db", "players"));
    assert!(matches!(read.database, Cow::Borrowed(_)));
    assert_eq!((read.cluster_time.t, read.cluster_time.i), (1_705_318_200, 1));
    assert_eq!(read.position.to_string(), "6b045f0065a51738000000012c0100296e");
    assert_eq!(read.id.len(), 32);
    assert_eq!(read.document_key, Some(r#"{"_id":"507f1f77bcf86cd799439011"}"#));
    assert_eq!((read.update_desc, read.raw_bson), (None, None));
    let FullDocument::Present(document) = read.full_document else { panic!("a document") };
    let fields: Vec<_> = Fields::of(document).collect();
    assert_eq!(fields[0], (Cow::Borrowed("_id"), r#""507f1f77bcf86cd799439011""#));
    assert_eq!(fields[1], (Cow::Borrowed("stats"), r#"{"level":5}"#));
    assert_eq!(fields[2].0, "we\"ird/~");
    assert_eq!(fields.len(), 3);
    let mut types = TypeIndex::default();
    types.load(read.bson_types).unwrap();
    assert_eq!(types.get(Member::FullDocument, &["_id"]), Some(BsonType::ObjectId));
    assert_eq!(types.get(Member::DocumentKey, &["_id"]), Some(BsonType::ObjectId));
    assert_eq!(types.get(Member::FullDocument, &["stats", "level"]), Some(BsonType::Long));
    assert_eq!(types.get(Member::FullDocument, &["we\"ird/~"]), Some(BsonType::MinKey));
    assert_eq!(types.get(Member::FullDocument, &["stats"]), None);
    assert_eq!(types.get(Member::FullDocument, &["stats/level"]), None);
    assert_eq!(types.get(Member::FullDocument, &[]), None);
    assert_eq!(types.get(Member::UpdateDesc, &["_id"]), None);
    assert_eq!(lookup(document, &["stats", "level"]), Some("5"));
    assert_eq!(lookup(document, &["stats", "no"]), None);
    assert_eq!(lookup(document, &["_id", "x"]), None);
    types.load(None).unwrap();
    assert!(types.is_empty());
}

#[test]
fn absent_null_and_present_differ() {
    let delete = encode_document(&event("delete", 1, doc! {})).value;
    assert_eq!(envelope(&delete).full_document, FullDocument::Absent);
    let description = doc! { "updatedFields": {}, "removedFields": [] };
    let gone = event("update", 1, doc! { "fullDocument": null, "updateDescription": description });
    let gone = encode_document(&gone).value;
    assert_eq!(envelope(&gone).full_document, FullDocument::Null);
    assert_eq!(envelope(&gone).update_desc, Some(r#"{"updated_fields":{},"removed_fields":[]}"#));
}

/// Another producer's spelling: spaces, escapes, other order, unknown fields.
#[test]
fn any_json_spelling_is_read() {
    let message = concat!(
        "\n{ \"operation_type\" : \"snap\\u0073hot\", \"extra\": [1, {\"a\": \"}\"}], \"version\": 1,\r\n",
        "\"position\":\"00ff\", \"cluster_time\":{\"i\":2,\"t\":1}, \"id\":\"x\",",
        "\"bson_types\" : { \"lo\\u006eg\" : [ \"/full_document/\\u0061\" , \"/full_document/b\" ] },",
        "\"full_document\": { \"a\" : 1 , \"b\":[ ] , \"a\" : { \"x\" : \"\\\"]\" } },",
        "\"document_key\":{}, \"namespace\":{\"database\":\"d\",\"collection\":\"c\\\"\"} }\t",
    );
    let read = envelope(message);
    assert_eq!(read.operation, Operation::Snapshot);
    assert_eq!(read.collection, "c\"");
    let FullDocument::Present(document) = read.full_document else { panic!("a document") };
    let fields: Vec<_> = Fields::of(document).map(|(key, value)| (key.into_owned(), value)).collect();
    let expected = [("a", "1"), ("b", "[ ]"), ("a", r#"{ "x" : "\"]" }"#)];
    assert_eq!(fields, expected.map(|(key, value)| (key.to_owned(), value)));
    assert_eq!(lookup(document, &["a", "x"]), Some(r#""\"]""#), "the last of equal keys counts");
    let mut types = TypeIndex::default();
    types.load(read.bson_types).unwrap();
    let all: Vec<_> = types.iter().collect();
    assert_eq!(all, [("/full_document/a", BsonType::Long), ("/full_document/b", BsonType::Long)]);
}

#[test]
fn control_messages_have_no_document() {
    for operation in ["drop", "rename", "gap", "snapshot_begin", "snapshot_end"] {
        let message = format!(
            r#"{{"version":1,"id":"x","operation_type":"{operation}","namespace":{{"database":"d","collection":"c"}},"cluster_time":{{"t":1,"i":1}},"position":"00"}}"#
        );
        let read = envelope(&message);
        assert!(read.operation.is_control());
        assert_eq!(read.operation.name(), operation);
    }
}

#[test]
fn what_is_no_message_of_this_version_is_refused() {
    let good = insert(doc! { "a": 1_i64 });
    let refused = |message: &str| Envelope::parse(message.as_bytes()).unwrap_err();
    let newer = good.replace("\"version\":1", "\"version\":2").replace("\"id\"", "\"identity\"");
    assert_eq!(refused(&newer), DecodeError::NewerVersion(2));
    assert_eq!(refused(&good.replace("\"version\":1,", "")), DecodeError::Missing("version"));
    assert_eq!(refused(&good.replace(":\"insert\"", ":\"upsert\"")), DecodeError::UnknownOperation);
    let keyless = good.replace("document_key\"", "document_kex\"");
    assert_eq!(refused(&keyless), DecodeError::Missing("document_key"));
    let no_document = good.replace("\"full_document\":", "\"other\":");
    assert_eq!(refused(&no_document), DecodeError::Missing("full_document"));
    let null_document = good.replace("\"full_document\":{\"a\":1}", "\"full_document\":null");
    assert_eq!(refused(&null_document), DecodeError::Missing("full_document"));
    let list = good.replace("\"full_document\":{\"a\":1}", "\"full_document\":[]");
    assert_eq!(refused(&list), DecodeError::Invalid("full_document"));
    assert_eq!(refused(&good.replace("6b045f00", "6B045f00")), DecodeError::Invalid("position"));
    for text in ["", "{", "[]", "null", "{}", "x", &good[..good.len() - 1], &format!("{good}x")] {
        assert!(matches!(refused(text), DecodeError::Json { .. }), "{text}");
    }
    let mut types = TypeIndex::default();
    for wrong in
        [r#"{"strange":["/full_document/a"]}"#, r#"{"long":"/full_document/a"}"#, r#"{"long":[1]}"#, "[]"]
    {
        assert!(types.load(Some(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn raw_bson_is_found_by_member() {
    let duplicate = crate::common::document_of(&[
        crate::common::element(0x0A, b"a", b""),
        crate::common::element(0x0A, b"a", b""),
    ]);
    let message = crate::common::encode(&crate::common::insert_of(&duplicate)).unwrap().value;
    let read = envelope(&message);
    let base64 = read.raw_bson_of(Member::FullDocument).unwrap();
    assert_eq!(cdc_event::decode_base64(&base64).unwrap(), duplicate);
    assert_eq!(read.raw_bson_of(Member::DocumentKey), None);
}

#[test]
fn a_text_that_is_not_its_type_is_refused() {
    use BsonType as T;
    for (text, kind) in [
        ("1.5", Some(T::Long)),
        ("\"1\"", Some(T::Long)),
        ("9223372036854775808", None),
        ("+1", None),
        ("inf", None),
        ("1e999", None),
        ("tru", None),
        ("", None),
        ("\"1.5\"", Some(T::Double)),
        ("\"NaN(0x7ff0000000000000)\"", Some(T::Double)),
        ("\"yesterday\"", Some(T::Date)),
        ("\"507F1f77bcf86cd799439011\"", Some(T::ObjectId)),
        ("\"507f1f77bcf86cd79943901\"", Some(T::ObjectId)),
        ("{\"t\":1}", Some(T::Timestamp)),
        ("{\"t\":1,\"i\":-1}", Some(T::Timestamp)),
        ("1", Some(T::Binary(0))),
        ("\"1..5\"", Some(T::Decimal)),
        ("\"1e\"", Some(T::Decimal)),
        ("\"x\"", Some(T::MinKey)),
        ("{\"code\":\"x\"}", Some(T::JavaScriptWithScope)),
    ] {
        assert!(Value::read(text, kind).is_err(), "{text} {kind:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[\\[\\]{}:,\"\\\\a-c0-9. eE+/~é-]{0,40}", bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
        _ = Envelope::parse(&bytes);
        _ = Fields::of(&text).count();
        _ = lookup(&text, &["a", "b"]);
        _ = TypeIndex::default().load(Some(&text));
        for kind in [None, Some(BsonType::Double), Some(BsonType::Date), Some(BsonType::Decimal), Some(BsonType::Binary(4)), Some(BsonType::DbPointer)] {
            _ = Value::read(&text, kind);
        }
    }
}
