//! The message key: one text exactly for what MongoDB calls one `_id`.

use std::cmp::Ordering;

use crate::common::{document_of, element, encode, event, key_of, oid, raw};
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Regex, Timestamp, doc};
use cdc_event::row_id_text;
use proptest::prelude::*;

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().unwrap())
}

#[test]
fn canonical_texts() {
    let bytes = |subtype| Bson::Binary(Binary { subtype, bytes: vec![1, 2] });
    let regex = Regex { pattern: "a".try_into().unwrap(), options: "i".try_into().unwrap() };
    for (id, key) in [
        (Bson::from(oid("507f1f77bcf86cd799439011")), r#"{"$oid":"507f1f77bcf86cd799439011"}"#),
        ("507f1f77bcf86cd799439011".into(), r#""507f1f77bcf86cd799439011""#),
        ("".into(), r#""""#),
        ("a\"\n".into(), r#""a\"\n""#),
        (Bson::Symbol("s".into()), r#""s""#),
        (1.into(), r#"{"$numberInt":"1"}"#),
        (1_i64.into(), r#"{"$numberInt":"1"}"#),
        (1.0.into(), r#"{"$numberInt":"1"}"#),
        (decimal("1.00"), r#"{"$numberInt":"1"}"#),
        ((-0.0).into(), r#"{"$numberInt":"0"}"#),
        (decimal("-0E+10"), r#"{"$numberInt":"0"}"#),
        (2_147_483_648_i64.into(), r#"{"$numberLong":"2147483648"}"#),
        (2_147_483_648.0.into(), r#"{"$numberLong":"2147483648"}"#),
        ((-9_223_372_036_854_775_808.0).into(), r#"{"$numberLong":"-9223372036854775808"}"#),
        (9_223_372_036_854_775_808.0.into(), r#"{"$numberDouble":"9.223372036854776e18"}"#),
        (decimal("9223372036854775808"), r#"{"$numberDouble":"9.223372036854776e18"}"#),
        (decimal("9223372036854775809"), r#"{"$numberDecimal":"9223372036854775809"}"#),
        (1.5.into(), r#"{"$numberDouble":"1.5"}"#),
        (decimal("1.5000"), r#"{"$numberDouble":"1.5"}"#),
        (0.1.into(), r#"{"$numberDouble":"0.1"}"#),
        (decimal("0.10"), r#"{"$numberDecimal":"0.1"}"#),
        (f64::NAN.into(), r#"{"$numberDouble":"NaN"}"#),
        (f64::from_bits(0xFFF8_0000_0000_0001).into(), r#"{"$numberDouble":"NaN"}"#),
        (decimal("NaN"), r#"{"$numberDouble":"NaN"}"#),
        (decimal("-Infinity"), r#"{"$numberDouble":"-Infinity"}"#),
        (true.into(), "true"),
        (Bson::Null, "null"),
        (Bson::MinKey, r#"{"$minKey":1}"#),
        (Bson::MaxKey, r#"{"$maxKey":1}"#),
        (Bson::Undefined, r#"{"$undefined":true}"#),
        (DateTime::from_millis(1).into(), r#"{"$date":{"$numberLong":"1"}}"#),
        (Timestamp { time: 1, increment: 2 }.into(), r#"{"$timestamp":{"t":1,"i":2}}"#),
        (bytes(BinarySubtype::Generic), r#"{"$binary":{"base64":"AQI=","subType":"00"}}"#),
        (bytes(BinarySubtype::BinaryOld), r#"{"$binary":{"base64":"AQI=","subType":"02"}}"#),
        (bytes(BinarySubtype::Uuid), r#"{"$binary":{"base64":"AQI=","subType":"04"}}"#),
        (regex.into(), r#"{"$regularExpression":{"pattern":"a","options":"i"}}"#),
        (Bson::JavaScriptCode("f".into()), r#"{"$code":"f"}"#),
        (
            doc! { "b": 2.0, "a": [1_i64, { "c": decimal("0.5") }] }.into(),
            r#"{"b":{"$numberInt":"2"},"a":[{"$numberInt":"1"},{"c":{"$numberDouble":"0.5"}}]}"#,
        ),
        (doc! { "$oid": "507f1f77bcf86cd799439011" }.into(), r#"{"$$oid":"507f1f77bcf86cd799439011"}"#),
    ] {
        assert_eq!(key_of(id.clone()), key, "{id:?}");
    }
}

#[test]
fn an_id_without_a_text_is_its_bytes() {
    let mut elements = raw(&event("delete", 1, doc! {})).into_bytes();
    elements.truncate(elements.len() - 1);
    let broken = element(2, b"_id", b"\x02\0\0\0\xFF\0");
    elements.extend_from_slice(&element(3, b"documentKey", &document_of(&[broken])));
    let event = bson::RawDocumentBuf::from_bytes(document_of(&[elements[4..].to_vec()])).unwrap();
    let key = encode(&event).unwrap().key;
    assert_eq!(key, r#"{"$bson":{"type":"02","base64":"AgAAAP8A"}}"#);
    assert_eq!(row_id_text(key.as_bytes()).unwrap(), key);
}

#[test]
fn row_ids() {
    for (id, text) in [
        (Bson::from(oid("507f1f77bcf86cd799439011")), "507f1f77bcf86cd799439011"),
        ("player".into(), "player"),
        ("".into(), ""),
        ("a\"b\\é".into(), "a\"b\\é"),
        ("507f1f77bcf86cd799439011".into(), r#""507f1f77bcf86cd799439011""#),
        ("507F1F77BCF86CD799439011".into(), r#""507F1F77BCF86CD799439011""#),
        ("{}".into(), r#""{}""#),
        ("[".into(), r#""[""#),
        ("\"x".into(), r#""\"x""#),
        ("true".into(), r#""true""#),
        (true.into(), "true"),
        ("null".into(), r#""null""#),
        (Bson::Null, "null"),
        (1.into(), r#"{"$numberInt":"1"}"#),
        ("1".into(), "1"),
        (doc! { "a": "b" }.into(), r#"{"a":"b"}"#),
    ] {
        assert_eq!(row_id_text(key_of(id.clone()).as_bytes()).unwrap(), text, "{id:?}");
    }
    for key in [&b""[..], b"cdc.control", b"\xFF", b"\"open", b"12", b"{\"$oid\":\"short\"}", b"\"a\"b\""] {
        assert!(row_id_text(key).is_err());
    }
}

/// A number's value, apart from its type: NaN, an infinity, or digits × 10^exponent exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Number {
    Nan,
    Infinite(bool),
    Exact { negative: bool, digits: String, exponent: i64 },
}

/// The value by text alone: Rust prints a double's exact decimal expansion when asked for enough places.
fn number(id: &Bson) -> Number {
    let text = match id {
        Bson::Int32(value) => value.to_string(),
        Bson::Int64(value) => value.to_string(),
        Bson::Double(value) if value.is_finite() => format!("{value:.1100}"),
        Bson::Double(value) => value.to_string(),
        Bson::Decimal128(value) => value.to_string(),
        other => panic!("{other:?} is no number"),
    };
    match text.as_str() {
        "NaN" => return Number::Nan,
        "inf" | "Infinity" => return Number::Infinite(false),
        "-inf" | "-Infinity" => return Number::Infinite(true),
        _ => {}
    }
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let negative = mantissa.starts_with('-');
    let (whole, fraction) =
        mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0').trim_end_matches('0').to_owned();
    if digits.is_empty() {
        return Number::Exact { negative: false, digits, exponent: 0 };
    }
    let zeros = all.len() - all.trim_end_matches('0').len();
    let exponent = exponent.parse::<i64>().unwrap() - fraction.len() as i64 + zeros as i64;
    Number::Exact { negative, digits, exponent }
}

/// Numbers that often equal one another in different types.
fn numbers() -> impl Strategy<Value = Bson> {
    let small = -20_i64..20;
    let edge = prop_oneof![
        small,
        prop::sample::select(vec![
            i64::MIN,
            i64::MAX,
            i64::MAX - 1,
            1 << 31,
            (1 << 31) - 1,
            -(1 << 31),
            -(1 << 31) - 1,
            1 << 53,
            (1 << 53) + 1,
            1 << 62
        ]),
        any::<i64>(),
    ];
    (edge, 0_u8..7, 0_u32..4, any::<[u8; 16]>()).prop_map(|(value, form, shift, bytes)| match form {
        0 => i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32),
        1 => Bson::Int64(value),
        2 => Bson::Double(value as f64),
        3 => Bson::Double(value as f64 / f64::from(1 << shift)),
        4 => decimal(&value.to_string()),
        5 => decimal(&format!("{}", value as f64 / f64::from(1 << shift))),
        _ => Bson::Decimal128(Decimal128::from_bytes(bytes)),
    })
}

fn ids() -> impl Strategy<Value = Bson> {
    let leaf = prop_oneof![
        4 => numbers(),
        2 => "[a-z0-9$\"{\\[]{0,3}".prop_map(Bson::String),
        1 => "[a-z]{0,2}".prop_map(Bson::Symbol),
        1 => prop::sample::select(vec![Bson::Null, Bson::Boolean(true), Bson::Boolean(false), Bson::MinKey, Bson::MaxKey, Bson::Undefined]),
        1 => any::<[u8; 12]>().prop_map(|bytes| Bson::ObjectId(bson::oid::ObjectId::from_bytes(bytes))),
        1 => (0_i64..3).prop_map(|millis| Bson::DateTime(DateTime::from_millis(millis))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Bson::Array),
            prop::collection::vec(("[ab$]{0,2}|\\$oid|\\$numberInt", inner), 0..3)
                .prop_map(|fields| Bson::Document(fields.into_iter().collect())),
        ]
    })
}

/// MongoDB's equality of two ids, by its documented rules, on the driver's values.
fn same(a: &Bson, b: &Bson) -> bool {
    let is_number =
        |id: &Bson| matches!(id, Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_));
    match (a, b) {
        (Bson::String(a) | Bson::Symbol(a), Bson::String(b) | Bson::Symbol(b)) => a.cmp(b) == Ordering::Equal,
        (Bson::Array(a), Bson::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Bson::Document(a), Bson::Document(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((ka, a), (kb, b))| ka == kb && same(a, b))
        }
        _ if is_number(a) && is_number(b) => number(a) == number(b),
        _ => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn keys_are_equal_exactly_for_equal_ids(a in ids(), b in ids()) {
        let (key_a, key_b) = (key_of(a.clone()), key_of(b.clone()));
        prop_assert_eq!(key_a == key_b, same(&a, &b), "{} {}", key_a, key_b);
        prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&key_a).is_ok());
        let rows = (row_id_text(key_a.as_bytes()).unwrap(), row_id_text(key_b.as_bytes()).unwrap());
        prop_assert_eq!(rows.0 == rows.1, same(&a, &b));
    }

    #[test]
    fn equal_numbers_share_a_key(a in numbers(), b in numbers()) {
        prop_assert_eq!(key_of(a.clone()) == key_of(b.clone()), number(&a) == number(&b), "{:?} {:?}", a, b);
    }

    #[test]
    fn no_key_panics(key in prop::collection::vec(any::<u8>(), 0..40), text in "[{\"$oid:\\\\}a]{0,12}") {
        _ = row_id_text(&key);
        _ = row_id_text(text.as_bytes());
    }
}

proptest::proptest! {
    /// Feature: cdc-pipeline, Property 14: Worker Message Distribution
    /// Validates: Requirements 6.2
    ///
    /// Keys as they come: ObjectIds that one process makes one after the other, and numbers that count up.
    #[test]
    fn the_hash_spreads_real_keys_over_all_workers(
        process: [u8; 9],
        first in 0_u32..0xFF_0000,
        workers in 2_u64..=10,
        counts in proptest::bool::ANY,
    ) {
        let mut used = std::collections::BTreeSet::new();
        for count in first..first + 256 {
            let key = if counts {
                key_of(i64::from(count))
            } else {
                let [_, low @ ..] = count.to_be_bytes();
                let bytes: Vec<u8> = process.iter().chain(&low).copied().collect();
                key_of(bson::oid::ObjectId::from_bytes(bytes.try_into().unwrap()))
            };
            used.insert(cdc_event::route(key.as_bytes()) % workers);
        }
        proptest::prop_assert_eq!(used.len() as u64, workers);
    }
}
