//! The messages of each kind of event, and of each BSON type and edge value, letter by letter.

use crate::common::{
    document_of, element, encode, encode_document, event, field, insert, insert_of, oid, raw,
};
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, JavaScriptCodeWithScope, Regex, Timestamp, doc};
use cdc_event::{ClusterTime, Control, Encoder, Envelope, GapNotice, Kind, Position};

/// The position of `token(1705318200, 1)` under `LINEAGE`.
const POSITION: &str = "6b045f0065a51738000000012c0100296e";

/// The seed's sample message, with what this format adds to it.
#[test]
fn the_seeds_sample() {
    let id = oid("507f1f77bcf86cd799439011");
    let created = DateTime::from_millis(1_705_314_600_000);
    let document =
        doc! { "_id": id, "username": "player123", "level": 42, "score": 9999, "created_at": created };
    let encoded = encode_document(&event("insert", id, doc! { "fullDocument": document }));
    assert_eq!(encoded.key, r#"{"$oid":"507f1f77bcf86cd799439011"}"#);
    let data = crate::common::token(1_705_318_200, 1).get_str("_data").unwrap().to_owned();
    let hash = xxhash_rust::xxh3::xxh3_128(data.as_bytes());
    let expected = [
        r#"{"version":1,"id":""#,
        &format!("{hash:032x}"),
        r#"","operation_type":"insert","namespace":{"database":"game_db","collection":"players"},"#,
        r#""document_key":{"_id":"507f1f77bcf86cd799439011"},"#,
        r#""full_document":{"_id":"507f1f77bcf86cd799439011","username":"player123","level":42,"score":9999,"#,
        r#""created_at":"2024-01-15T10:30:00Z"},"cluster_time":{"t":1705318200,"i":1},"position":""#,
        POSITION,
        r#"","bson_types":{"objectId":["/document_key/_id","/full_document/_id"],"#,
        r#""date":["/full_document/created_at"]}}"#,
    ];
    assert_eq!(encoded.value, expected.concat());
    assert_eq!(encoded.token, raw(&crate::common::token(1_705_318_200, 1)).as_bytes());
}

#[test]
fn a_delete_has_no_document() {
    let encoded = encode_document(&event("delete", 7, doc! {}));
    assert_eq!(encoded.key, r#"{"$numberInt":"7"}"#);
    let fields: Vec<_> = crate::common::pairs(&encoded.value).into_iter().map(|(key, _)| key).collect();
    assert_eq!(
        fields,
        ["version", "id", "operation_type", "namespace", "document_key", "cluster_time", "position"]
    );
}

#[test]
fn an_update_says_what_changed() {
    let description = doc! {
        "updatedFields": { "stats.level": 5_i64, "a/b~c": DateTime::from_millis(0) },
        "removedFields": ["old", "quote\""],
        "truncatedArrays": [{ "field": "scores", "newSize": 3 }],
    };
    let encoded = encode_document(&event(
        "update",
        1,
        doc! { "fullDocument": { "_id": 1 }, "updateDescription": description },
    ));
    assert_eq!(
        field(&encoded.value, "update_desc").unwrap(),
        concat!(
            r#"{"updated_fields":{"stats.level":5,"a/b~c":"1970-01-01T00:00:00Z"},"#,
            r#""removed_fields":["old","quote\""],"truncated_arrays":[{"field":"scores","new_size":3}]}"#
        )
    );
    assert_eq!(
        field(&encoded.value, "bson_types").unwrap(),
        concat!(
            r#"{"long":["/update_desc/updated_fields/stats.level"],"#,
            r#""date":["/update_desc/updated_fields/a~1b~0c"]}"#
        )
    );
}

#[test]
fn an_update_of_a_document_that_is_gone_has_a_null() {
    let description = doc! { "updatedFields": {}, "removedFields": [], "truncatedArrays": [] };
    let gone = event("update", 1, doc! { "fullDocument": null, "updateDescription": &description });
    let message = encode_document(&gone).value;
    assert_eq!(field(&message, "full_document").unwrap(), "null");
    assert_eq!(field(&message, "update_desc").unwrap(), r#"{"updated_fields":{},"removed_fields":[]}"#);
    let unasked = encode_document(&event("update", 1, doc! { "updateDescription": description }));
    assert_eq!(field(&unasked.value, "full_document"), None);
}

#[test]
fn the_shard_key_stays_in_the_document_key_and_out_of_the_message_key() {
    let mut sharded = event("delete", "x", doc! {});
    sharded.insert("documentKey", doc! { "region": "eu", "_id": "x" });
    let encoded = encode_document(&sharded);
    assert_eq!(field(&encoded.value, "document_key").unwrap(), r#"{"region":"eu","_id":"x"}"#);
    assert_eq!(encoded.key, r#""x""#);
}

#[test]
fn events_without_a_document_give_no_message() {
    for (name, kind) in
        [("drop", "drop"), ("invalidate", "invalidate"), ("rename", "rename"), ("newer", "unknown")]
    {
        let event = raw(
            &doc! { "_id": crate::common::token(5, 6), "operationType": name, "ns": { "db": "game_db" } },
        );
        let (mut out, mut tokens) = (Vec::new(), Vec::new());
        let encoded = Encoder::new(1).encode(&event, &mut out, &mut tokens).unwrap();
        assert_eq!(encoded.kind, Kind::Other(kind));
        assert_eq!((encoded.database, encoded.collection), ("game_db", ""));
        assert_eq!((encoded.cluster_time.t, encoded.cluster_time.i), (5, 6));
        assert!(encoded.key.is_empty() && encoded.value.is_empty() && out.is_empty());
        assert_eq!(&tokens[encoded.token], raw(&crate::common::token(5, 6)).as_bytes());
    }
}

#[test]
fn what_is_missing_is_named() {
    for (event, expected) in [
        (event("insert", 1, doc! {}), "the change event has no field fullDocument"),
        (event("update", 1, doc! {}), "the change event has no field updateDescription"),
        (event("insert", 1, doc! { "fullDocument": null }), "field fullDocument has an unexpected type"),
        (event("delete", 1, doc! { "documentKey": {} }), "no field documentKey._id"),
        (event("delete", 1, doc! { "_id": {} }), "no field _data"),
        (doc! { "_id": crate::common::token(1, 1) }, "no field operationType"),
    ] {
        let error = encode(&raw(&event)).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn binary(subtype: BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype, bytes: bytes.to_vec() })
}

fn date(millis: i64) -> Bson {
    Bson::DateTime(DateTime::from_millis(millis))
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().unwrap())
}

/// Value, its JSON, its type in `bson_types` (empty: none).
fn table() -> Vec<(Bson, &'static str, &'static str)> {
    let int = |value: i32| Bson::Int32(value);
    let long = |value: i64| Bson::Int64(value);
    let double = |value: f64| Bson::Double(value);
    let text = |value: &str| Bson::String(value.to_owned());
    vec![
        (int(0), "0", ""),
        (int(i32::MIN), "-2147483648", ""),
        (int(i32::MAX), "2147483647", ""),
        (long(0), "0", "long"),
        (long(i32::MAX.into()), "2147483647", "long"),
        (long(i32::MIN.into()), "-2147483648", "long"),
        (long(2_147_483_648), "2147483648", ""),
        (long(-2_147_483_649), "-2147483649", ""),
        (long(i64::MIN), "-9223372036854775808", ""),
        (long(i64::MAX), "9223372036854775807", ""),
        (double(5.0), "5.0", ""),
        (double(-0.0), "-0.0", ""),
        (double(0.1), "0.1", ""),
        (double(1e300), "1e300", ""),
        (double(1e16), "1e16", ""),
        (double(5e-324), "5e-324", ""),
        (double(f64::MAX), "1.7976931348623157e308", ""),
        (double(f64::NAN), r#""NaN""#, "double"),
        (double(f64::from_bits(0xFFF8_0000_0000_0001)), r#""NaN(0xfff8000000000001)""#, "double"),
        (double(f64::INFINITY), r#""Infinity""#, "double"),
        (double(f64::NEG_INFINITY), r#""-Infinity""#, "double"),
        (decimal("1.50"), r#""1.50""#, "decimal"),
        (decimal("-1E+6144"), r#""-1.000000000000000000000000000000000E+6144""#, "decimal"),
        (decimal("NaN"), r#""NaN""#, "decimal"),
        (decimal("-Infinity"), r#""-Infinity""#, "decimal"),
        (decimal("-0"), r#""-0""#, "decimal"),
        (text(""), r#""""#, ""),
        (
            text("a\"\\\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}é\u{2028}😀"),
            "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}é\u{2028}😀\"",
            "",
        ),
        (Bson::Boolean(true), "true", ""),
        (Bson::Boolean(false), "false", ""),
        (Bson::Null, "null", ""),
        (Bson::Document(doc! {}), "{}", ""),
        (Bson::Document(doc! { "b": 1, "a": { "c": [] } }), r#"{"b":1,"a":{"c":[]}}"#, ""),
        (Bson::Array(vec![]), "[]", ""),
        (Bson::Array(vec![int(1), text("x"), Bson::Array(vec![Bson::Null])]), r#"[1,"x",[null]]"#, ""),
        (Bson::ObjectId(oid("507f1f77bcf86cd79943901a")), r#""507f1f77bcf86cd79943901a""#, "objectId"),
        (date(0), r#""1970-01-01T00:00:00Z""#, "date"),
        (date(1), r#""1970-01-01T00:00:00.001Z""#, "date"),
        (date(-62_135_596_800_000), r#""0001-01-01T00:00:00Z""#, "date"),
        (date(-62_135_596_800_001), "-62135596800001", "date"),
        (date(253_402_300_799_999), r#""9999-12-31T23:59:59.999Z""#, "date"),
        (date(253_402_300_800_000), "253402300800000", "date"),
        (date(i64::MIN), "-9223372036854775808", "date"),
        (
            Bson::Timestamp(Timestamp { time: u32::MAX, increment: 1 }),
            r#"{"t":4294967295,"i":1}"#,
            "timestamp",
        ),
        (binary(BinarySubtype::Generic, b""), r#""""#, "binData:00"),
        (binary(BinarySubtype::Generic, &[0xFF, 0xFE, 0xFD]), r#""//79""#, "binData:00"),
        (binary(BinarySubtype::BinaryOld, b"old"), r#""b2xk""#, "binData:02"),
        (binary(BinarySubtype::Uuid, &[0x11; 16]), r#""11111111-1111-1111-1111-111111111111""#, "binData:04"),
        (binary(BinarySubtype::Uuid, &[0x11; 3]), r#""ERER""#, "binData:04"),
        (binary(BinarySubtype::UuidOld, &[0; 16]), r#""AAAAAAAAAAAAAAAAAAAAAA==""#, "binData:03"),
        (binary(BinarySubtype::UserDefined(0xFE), b"a"), r#""YQ==""#, "binData:fe"),
        (
            Bson::RegularExpression(Regex {
                pattern: "^a/\"".try_into().unwrap(),
                options: "im".try_into().unwrap(),
            }),
            r#"{"pattern":"^a/\"","options":"im"}"#,
            "regex",
        ),
        (Bson::JavaScriptCode("f()".into()), r#""f()""#, "javascript"),
        (Bson::Symbol("s".into()), r#""s""#, "symbol"),
        (
            Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
                code: "x".into(),
                scope: doc! { "y": 1 },
            }),
            r#"{"code":"x","scope":{"y":1}}"#,
            "javascriptWithScope",
        ),
        (Bson::Undefined, "null", "undefined"),
        (Bson::MinKey, "null", "minKey"),
        (Bson::MaxKey, "null", "maxKey"),
    ]
}

#[test]
fn every_type_and_edge() {
    for (value, json, kind) in table() {
        let message = insert(doc! { "v": value.clone() });
        let document = field(&message, "full_document").unwrap();
        assert_eq!(document, format!(r#"{{"v":{json}}}"#), "{value:?}");
        let types = field(&message, "bson_types").unwrap_or_default();
        let expected =
            if kind.is_empty() { String::new() } else { format!(r#"{{"{kind}":["/full_document/v"]}}"#) };
        assert_eq!(types, expected, "{value:?}");
        assert_eq!(field(&message, "raw_bson"), None, "{value:?}");
    }
}

#[test]
fn a_db_pointer() {
    let pointer = insert_of(&document_of(&[element(0x0C, b"v", b"\x05\0\0\0db.c\0ABCDEFGHIJKL")]));
    let value = pointer.get_document("fullDocument").unwrap().get("v").unwrap().unwrap();
    assert!(matches!(value, bson::RawBsonRef::DbPointer(_)), "the bytes made by hand are one");
    let message = encode(&pointer).unwrap().value;
    let expected = r#"{"v":{"ref":"db.c","id":"4142434445464748494a4b4c"}}"#;
    assert_eq!(field(&message, "full_document").unwrap(), expected);
    assert_eq!(field(&message, "bson_types").unwrap(), r#"{"dbPointer":["/full_document/v"]}"#);
}

#[test]
fn pointers_are_in_document_order_under_types_in_table_order() {
    let scope = JavaScriptCodeWithScope { code: "x".into(), scope: doc! { "d": 2_i64 } };
    let message = insert(doc! {
        "max": Bson::MaxKey, "z": [1_i64, [Bson::MinKey, 3_i64]], "a b": { "~/\"": 2_i64 }, "js": scope, "bin": binary(BinarySubtype::Generic, b""),
    });
    assert_eq!(
        field(&message, "bson_types").unwrap(),
        concat!(
            r#"{"long":["/full_document/z/0","/full_document/z/1/1","/full_document/a b/~0~1\"","/full_document/js/scope/d"],"#,
            r#""binData:00":["/full_document/bin"],"javascriptWithScope":["/full_document/js"],"#,
            r#""minKey":["/full_document/z/1/0"],"maxKey":["/full_document/max"]}"#
        )
    );
}

/// What JSON cannot address travels whole; the JSON beside it is a view.
#[test]
fn raw_bson_carries_what_json_cannot() {
    let int = |key: &[u8], value: i32| element(0x10, key, &value.to_le_bytes());
    let id = element(0x07, b"a", b"ABCDEFGHIJKL");
    for (document, view, types) in [
        (document_of(&[id, int(b"b", 1), int(b"a", 2)]), r#"{"b":1,"a":2}"#, None),
        (document_of(&[element(2, b"s", b"\x03\0\0\0\xFFx\0")]), "{\"s\":\"\u{FFFD}x\"}", None),
        (document_of(&[int(b"\xFF", 1), int(b"\xFE", 2)]), "{\"\u{FFFD}\":2}", None),
        (
            document_of(&[element(4, b"v", &document_of(&[int(b"1", 7), int(b"0", 8)]))]),
            r#"{"v":[7,8]}"#,
            None,
        ),
        (
            document_of(&[element(5, b"b", b"\x05\0\0\0\x02\x09\0\0\0x")]),
            r#"{"b":"CQAAAHg="}"#,
            Some(r#"{"binData:02":["/full_document/b"]}"#),
        ),
        (document_of(&[element(8, b"t", &[2])]), r#"{"t":true}"#, None),
        (
            document_of(&[element(0x13, b"d", &(1_u128 | 0x7C << 120).to_le_bytes())]),
            r#"{"d":"NaN"}"#,
            Some(r#"{"decimal":["/full_document/d"]}"#),
        ),
    ] {
        let message = encode(&insert_of(&document)).unwrap().value;
        assert_eq!(field(&message, "full_document").unwrap(), view);
        assert_eq!(field(&message, "bson_types").as_deref(), types, "{view}");
        let raw = crate::common::pairs(&field(&message, "raw_bson").unwrap());
        let [(pointer, base64)] = &raw[..] else { panic!("one member travels whole: {raw:?}") };
        assert_eq!(pointer, "/full_document");
        assert_eq!(cdc_event::decode_base64(base64.trim_matches('"')).unwrap(), document);
    }
}

#[test]
fn nesting_is_bounded() {
    // One level is the document itself.
    let bytes =
        |levels| (0..levels).fold(document_of(&[]), |inner, _| document_of(&[element(3, b"n", &inner)]));
    let fits = encode(&insert_of(&bytes(254))).unwrap().value;
    assert_eq!(field(&fits, "raw_bson"), None);
    let deeper = encode(&insert_of(&bytes(255))).unwrap().value;
    assert!(field(&deeper, "raw_bson").is_some());
    assert!(deeper.contains(r#"{"n":null}"#));
    let far = encode(&insert_of(&bytes(5_000))).unwrap().value;
    assert!(field(&far, "raw_bson").is_some());
}

/// Paths of long keys over many small values would multiply the document: it travels whole instead.
#[test]
fn pointers_are_bounded() {
    let many: Vec<Bson> = (0..2_000).map(|_| Bson::MinKey).collect();
    let message = insert(doc! { "k".repeat(20_000): many });
    assert_eq!(field(&message, "bson_types"), None);
    assert!(field(&message, "raw_bson").is_some());
    assert!(message.len() < 200_000, "{}", message.len());
}

#[test]
fn control_messages_letter_by_letter() {
    let position = Position::from_hex(POSITION).unwrap();
    let time = ClusterTime { t: 1_705_318_200, i: 1 };
    let id =
        |text: &str| format!("{:032x}", xxhash_rust::xxh3::xxh3_128(format!("{text}:{POSITION}").as_bytes()));
    let collections = ["players".to_owned(), "a \"b\"".to_owned()];
    let gap = GapNotice { from: None, to: position, cause: "history_lost", collections: &collections };
    let cases = [
        (Control::Drop { collection: "players" }, "drop:", "drop", "players", String::new()),
        (
            Control::Rename { collection: "players", to: ("game_db", "old") },
            "rename:",
            "rename",
            "players",
            r#","renamed_to":{"database":"game_db","collection":"old"}"#.to_owned(),
        ),
        (
            Control::Gap(gap),
            "gap:history_lost",
            "gap",
            "",
            format!(
                r#","gap":{{"from":null,"to":"{POSITION}","cause":"history_lost","collections":["players","a \"b\""]}}"#
            ),
        ),
    ];
    for (control, id_text, operation, collection, member) in cases {
        let message = control.message("game_db", position, time);
        assert_eq!((message.key(), &*message.topic, message.position), (&b"cdc.control"[..], "", position));
        let expected = [
            r#"{"version":1,"id":""#,
            &id(id_text),
            r#"","operation_type":""#,
            operation,
            r#"","namespace":{"database":"game_db","collection":""#,
            collection,
            r#""}"#,
            &member,
            r#","cluster_time":{"t":1705318200,"i":1},"position":""#,
            POSITION,
            r#""}"#,
        ];
        assert_eq!(std::str::from_utf8(message.value()).unwrap(), expected.concat());
        let envelope = Envelope::parse(message.value()).unwrap();
        assert!(envelope.operation.is_control() && envelope.operation.name() == operation);
        assert_eq!(envelope.gap.is_some(), operation == "gap");
        if let Some(gap) = envelope.gap {
            assert_eq!((gap.from, &*gap.to, &*gap.cause), (None, POSITION, "history_lost"));
            assert_eq!(gap.collections, collections);
        }
    }
}

#[test]
fn a_rename_says_what_the_name_is_now() {
    let event = raw(&doc! {
        "_id": crate::common::token(5, 6),
        "operationType": "rename",
        "ns": { "db": "game_db", "coll": "players" },
        "to": { "db": "other_db", "coll": "old" },
    });
    let encoded = Encoder::new(1).encode(&event, &mut Vec::new(), &mut Vec::new()).unwrap();
    assert_eq!((encoded.collection, encoded.renamed_to), ("players", ("other_db", "old")));
}

#[test]
fn an_event_whose_documents_were_left_out_has_a_key_and_their_size() {
    let mut stripped = event("update", "x", doc! {});
    stripped.insert(cdc_event::OMITTED_FIELD, 18_000_000_i64);
    let (mut out, mut tokens) = (Vec::new(), Vec::new());
    let event = raw(&stripped);
    let encoded = Encoder::new(1).encode(&event, &mut out, &mut tokens).unwrap();
    assert_eq!((encoded.omitted_bytes, encoded.value.len()), (Some(18_000_000), 0));
    assert_eq!(&out[encoded.key], br#""x""#);
}
