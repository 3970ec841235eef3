//! Messages turned back into the BSON of their events.

use bson::{doc, spec::ElementType};
use cdc_event::{BsonType, Documents, DocumentsError, Encoder, Envelope, FullDocument, Member, id_of_key};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use crate::common::{LINEAGE, insert, raw};
use crate::drawn_event::{Event, message};
use crate::generator::{self, Draw};

/// How many documents go through each of the properties, unless the variable says.
const DOCUMENTS: u32 = 20_000;
const DOCUMENTS_VARIABLE: &str = "CDC_CODEC_DOCUMENTS";

fn documents() -> u32 {
    std::env::var(DOCUMENTS_VARIABLE).map_or(DOCUMENTS, |count| count.parse().unwrap())
}

fn comes_back(event: &Event, encoder: &mut Encoder) -> TestCaseResult {
    let (key, value) = message(event, encoder);
    let envelope = Envelope::parse(&value).unwrap();
    let documents = Documents::decode(&key, &envelope).unwrap();
    prop_assert_eq!(&documents.document_key, &event.document_key());
    prop_assert_eq!(documents.full_document.as_ref(), event.document.as_ref().map(|(document, _)| document));
    let expected = event.description.as_ref().map(|(seen, told, raw)| if *raw { seen } else { told });
    prop_assert_eq!(documents.update_description.as_ref(), expected);
    // Whole documents travel exactly where JSON cannot carry them.
    let raw = [
        (Member::DocumentKey, event.key_needs_raw),
        (Member::FullDocument, event.document.as_ref().is_some_and(|(_, raw)| *raw)),
        (Member::UpdateDesc, event.description.as_ref().is_some_and(|(_, _, raw)| *raw)),
    ];
    for (member, expected) in raw {
        prop_assert_eq!(envelope.raw_bson_of(member).is_some(), expected, "{:?}", member);
    }
    Ok(())
}

fn for_each_draw(check: impl Fn(&[u8]) -> TestCaseResult) {
    let config = Config { source_file: Some(file!()), ..Config::with_cases(documents()) };
    TestRunner::new(config).run(&draws(), |bytes| check(&bytes)).unwrap();
}

/// What [`Draw`] draws from.
pub(crate) fn draws() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..160),
        1 => prop::collection::vec(any::<u8>(), 160..1_200),
    ]
}

/// Feature: cdc-pipeline, Property 9: Message Serialization Round-Trip
///
/// Validates: Requirements 3.5, 4.3
#[test]
fn any_event_comes_back_byte_for_byte() {
    let encoder = std::cell::RefCell::new(Encoder::new(LINEAGE));
    for_each_draw(|bytes| comes_back(&Event::draw(bytes), &mut encoder.borrow_mut()));
}

/// A key leads to an `_id` that has it, and that keeps its type but for numbers and symbols.
#[test]
fn any_key_leads_to_its_id() {
    let encoder = std::cell::RefCell::new(Encoder::new(LINEAGE));
    let key_of = |id: (u8, Vec<u8>)| {
        let event =
            Event { operation: "delete", id, document: None, description: None, key_needs_raw: false };
        message(&event, &mut encoder.borrow_mut()).0
    };
    for_each_draw(|bytes| {
        let (tag, value) = Draw::new(bytes).value(1);
        let key = key_of((tag, value.clone()));
        let found = id_of_key(&key)
            .map_err(|_| TestCaseError::fail(format!("no id: {:?}", String::from_utf8_lossy(&key))))?;
        let found_tag = found[4];
        let found_value = found[9..found.len() - 1].to_vec();
        prop_assert_eq!(key_of((found_tag, found_value.clone())), key);
        let class = |tag: u8| match ElementType::from(tag) {
            Some(ElementType::Int32 | ElementType::Int64 | ElementType::Double | ElementType::Decimal128) => {
                ElementType::Int32
            }
            Some(ElementType::Symbol | ElementType::String) => ElementType::String,
            Some(other) => other,
            None => panic!("a type of BSON"),
        };
        prop_assert_eq!(class(found_tag), class(tag));
        if matches!(tag, 0x02 | 0x05 | 0x07 | 0x09 | 0x0B | 0x0C | 0x0D | 0x11) {
            prop_assert_eq!(found_value, value);
        }
        Ok(())
    });
}

/// The values that once did not come back, or nearly.
#[test]
fn edges_come_back() {
    let mut encoder = Encoder::new(LINEAGE);
    let mut check = |elements: &[(u8, Vec<u8>, Vec<u8>)], raw: bool| {
        let event = Event {
            operation: "insert",
            id: (0x0A, Vec::new()),
            document: Some((generator::document_of(elements), raw)),
            description: None,
            key_needs_raw: false,
        };
        comes_back(&event, &mut encoder).unwrap();
    };
    let field = |tag: u8, value: Vec<u8>| (tag, b"a".to_vec(), value);
    check(&[], false);
    check(&[(0x09, Vec::new(), vec![0; 8])], false);
    check(&[field(0x13, (0x78_u128 << 120 | 1).to_le_bytes().to_vec())], true);
    check(&[field(0x13, (12_287_u128 << 113 | 1).to_le_bytes().to_vec())], false);
    // A binary whose text could pass for a UUID, were there dashes in base64.
    check(&[field(0x05, [&27_i32.to_le_bytes()[..], &[4], &[0xFB; 27]].concat())], false);
    // Two names that are one pointer unless each is escaped.
    check(&[(0x12, b"a/b".to_vec(), vec![0; 8]), (0x12, b"a~1b".to_vec(), vec![0; 8])], false);
    check(&[field(0x10, vec![1; 4]), field(0x10, vec![2; 4])], true);
}

/// A message whose document key is `{_id: 1}`.
fn read(rest: &str) -> Result<Documents, DocumentsError> {
    read_with(r#"{"$numberInt":"1"}"#, rest)
}

fn read_with(key: &str, rest: &str) -> Result<Documents, DocumentsError> {
    let message = format!(
        r#"{{"version":1,"id":"x","operation_type":"update","namespace":{{"database":"d","collection":"c"}},"document_key":{{"_id":1}},"cluster_time":{{"t":1,"i":1}},"position":"00"{rest}}}"#
    );
    Documents::decode(key.as_bytes(), &Envelope::parse(message.as_bytes()).unwrap())
}

#[test]
fn what_does_not_read_back_exactly_is_refused() {
    use DocumentsError as E;
    let document =
        |json: &str, types: &str| read(&format!(r#","full_document":{json},"bson_types":{types}"#));
    assert!(document(r#"{"a":1}"#, r#"{"long":["/full_document/a"]}"#).is_ok());
    for (json, types, error) in [
        (r#"{"a":1}"#, r#"{"strange":["/full_document/a"]}"#, E::Types),
        (r#"{"a":1}"#, r#"{"long":["/cluster_time/t"]}"#, E::Types),
        (r#"{"a":1}"#, r#"{"long":["/full_document"]}"#, E::Types),
        (
            r#"{"a":null}"#,
            r#"{"minKey":["/full_document/a"],"maxKey":["/full_document/a"]}"#,
            E::TwoTypes(Member::FullDocument),
        ),
        (r#"{"a":1}"#, r#"{"long":["/full_document/b"]}"#, E::Nowhere),
        (r#"{"a":{"b":1}}"#, r#"{"long":["/full_document/a/b/c"]}"#, E::Nowhere),
        (r#"{"a":1}"#, r#"{"long":["/update_desc/updated_fields/a"]}"#, E::Nowhere),
        (
            r#"{"a":"x"}"#,
            r#"{"date":["/full_document/a"]}"#,
            E::Value(Member::FullDocument, Some(BsonType::Date)),
        ),
        (
            r#"{"a":"1E+7000"}"#,
            r#"{"decimal":["/full_document/a"]}"#,
            E::Value(Member::FullDocument, Some(BsonType::Decimal)),
        ),
        (
            r#"{"a":"AAE"}"#,
            r#"{"binData:00":["/full_document/a"]}"#,
            E::Value(Member::FullDocument, Some(BsonType::Binary(0))),
        ),
        (r#"{"a":9223372036854775808}"#, "{}", E::Value(Member::FullDocument, None)),
        (r#"{"a":1,"a":2}"#, "{}", E::KeyTwice(Member::FullDocument)),
        (r#"{"a":{"b":1,"\u0062":2}}"#, "{}", E::KeyTwice(Member::FullDocument)),
        (r#"{"a\u0000":1}"#, "{}", E::ZeroByte(Member::FullDocument)),
        (
            r#"{"a":{"pattern":"\u0000","options":""}}"#,
            r#"{"regex":["/full_document/a"]}"#,
            E::ZeroByte(Member::FullDocument),
        ),
    ] {
        assert_eq!(document(json, types).unwrap_err(), error, "{json} {types}");
        assert!(!error.to_string().is_empty());
    }
    let deep =
        |levels: usize| document(&format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels)), "{}");
    assert!(deep(254).is_ok());
    assert_eq!(deep(255).unwrap_err(), E::TooDeep(Member::FullDocument));
}

#[test]
fn raw_documents_are_taken_only_where_they_belong() {
    let empty = "BQAAAAA=";
    let raw = |json: &str| read(&format!(r#","full_document":{{"a":1}},"raw_bson":{json}"#));
    let whole = raw(&format!(r#"{{"/full_document":"{empty}"}}"#)).unwrap();
    assert_eq!(whole.full_document.as_deref(), Some(&[5, 0, 0, 0, 0][..]));
    for wrong in [
        format!(r#"{{"/full_document/a":"{empty}"}}"#),
        format!(r#"{{"/update_desc":"{empty}"}}"#),
        format!(r#"{{"/full_document":"{empty}","/full_document":"{empty}"}}"#),
        r#"{"/full_document":"BQAAAAA"}"#.to_owned(),
        r#"{"/full_document":"BQAAAAE="}"#.to_owned(),
        r#"{"/full_document":null}"#.to_owned(),
    ] {
        assert_eq!(raw(&wrong).unwrap_err(), DocumentsError::Raw, "{wrong}");
    }
    // A type inside of what travels whole is a view, and asked for nowhere.
    let view = read(&format!(
        r#","full_document":{{"a":1}},"bson_types":{{"long":["/full_document/b"]}},"raw_bson":{{"/full_document":"{empty}"}}"#
    ));
    assert!(view.is_ok());
}

#[test]
fn a_key_of_another_document_and_a_control_message_are_refused() {
    for key in [r#"{"$numberInt":"2"}"#, r#"{"$numberLong":"1"}"#, "1", "", "cdc.control"] {
        assert_eq!(read_with(key, "").unwrap_err(), DocumentsError::Key, "{key}");
    }
    let control = r#"{"version":1,"id":"x","operation_type":"drop","namespace":{"database":"d","collection":"c"},"cluster_time":{"t":1,"i":1},"position":"00"}"#;
    let control = Envelope::parse(control.as_bytes()).unwrap();
    assert_eq!(Documents::decode(b"cdc.control", &control).unwrap_err(), DocumentsError::Control);
}

#[test]
fn what_is_no_key_leads_nowhere() {
    for wrong in [
        "",
        "1",
        "tru",
        "cdc.control",
        r#"{"$oid":"507F1f77bcf86cd799439011"}"#,
        r#"{"$numberInt":"01"}"#,
        r#"{"$numberLong":"1"}"#,
        r#"{"$numberDouble":"1.0"}"#,
        r#"{"$numberDecimal":"1"}"#,
        r#"{"$numberDouble":"inf"}"#,
        r#"{"$strange":1}"#,
        r#"{"$date":{"$numberInt":"1"}}"#,
        r#"{"a":1}"#,
        r#"{ "a":true}"#,
        r#"{"a":true,"$b":true}"#,
        r#"{"$bson":{"type":"02","base64":"AgAAAGEA"}}"#,
        r#"{"$bson":{"type":"00","base64":""}}"#,
        r#""\u0041""#,
        &"[".repeat(300),
        &format!("{}{}", "[".repeat(300), "]".repeat(300)),
    ] {
        assert!(id_of_key(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert!(id_of_key(b"\"\xFF\"").is_err());
    assert!(id_of_key(format!("{}{}", "[".repeat(255), "]".repeat(255)).as_bytes()).is_ok());
}

/// Of an update that found no document there is none, and its description is in its one form.
#[test]
fn an_update_s_description_has_one_form() {
    let read = read(
        r#","full_document":null,"update_desc":{"updated_fields":{"a":1},"removed_fields":["b"],"truncated_arrays":[{"field":"c","new_size":2}]},"bson_types":{"long":["/update_desc/updated_fields/a"]}"#,
    )
    .unwrap();
    assert_eq!(read.full_document, None);
    let expected = raw(&doc! {
        "updatedFields": { "a": 1_i64 },
        "removedFields": ["b"],
        "truncatedArrays": [{ "field": "c", "newSize": 2 }],
    });
    assert_eq!(read.update_description.as_deref(), Some(expected.as_bytes()));
    let insert = insert(doc! { "a": 1 });
    assert!(matches!(Envelope::parse(insert.as_bytes()).unwrap().full_document, FullDocument::Present(_)));
}
