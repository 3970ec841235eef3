use cdc_event::BsonType;
use postgres_types::{FromSql, Type};
use proptest::prelude::*;

use super::*;

const TEXT: ColumnType = ColumnType::Text { max_chars: None, padded: false };
const NUMERIC: ColumnType = ColumnType::Numeric { limit: None };
const TIMESTAMP: ColumnType = ColumnType::Timestamp { digits: 6 };
const TIMESTAMPTZ: ColumnType = ColumnType::TimestampTz { digits: 6 };

fn converted(json: &str, bson_type: Option<&str>, column: &ColumnType) -> Result<Vec<u8>, Reject> {
    let value = read(json, bson_type).unwrap();
    let mut out = Vec::new();
    write(&value, json, column, &mut out).map(|()| out).map_err(|mismatch| mismatch.reason)
}

fn read<'a>(json: &'a str, bson_type: Option<&str>) -> Option<Value<'a>> {
    Value::read(json, bson_type.map(|name| BsonType::from_name(name).unwrap())).ok()
}

fn plain(json: &str, column: &ColumnType) -> Result<Vec<u8>, Reject> {
    converted(json, None, column)
}

fn columns() -> Vec<ColumnType> {
    vec![
        TEXT,
        ColumnType::Int2,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Float4,
        ColumnType::Float8,
        NUMERIC,
        ColumnType::Bool,
        TIMESTAMP,
        TIMESTAMPTZ,
        ColumnType::Date,
        ColumnType::Uuid,
        ColumnType::Bytea,
        ColumnType::Json,
        ColumnType::Jsonb,
        ColumnType::Unsupported("point".to_owned()),
    ]
}

/// One small value of each BSON type, and the columns beside `json` and `jsonb` that take it. All others
/// have to refuse it as another type.
#[test]
fn each_type_has_its_list_of_columns() {
    let numbers: &[&str] = &["smallint", "integer", "bigint", "real", "double precision", "numeric"];
    let times: &[&str] = &["timestamp", "timestamp with time zone", "date"];
    let table: [(&str, Option<&str>, &[&str]); 22] = [
        ("1", None, numbers),
        ("1", Some("long"), numbers),
        ("1.0", None, numbers),
        ("\"1\"", Some("decimal"), numbers),
        ("1.5", None, &["real", "double precision", "numeric"]),
        ("\"1.5\"", Some("decimal"), &["real", "double precision", "numeric"]),
        ("\"NaN\"", Some("double"), &["real", "double precision", "numeric"]),
        ("\"Infinity\"", Some("double"), &["real", "double precision", "numeric"]),
        ("\"NaN\"", Some("decimal"), &["real", "double precision", "numeric"]),
        ("\"1\"", None, &["text"]),
        ("true", None, &["boolean"]),
        ("\"507f1f77bcf86cd799439011\"", Some("objectId"), &["text"]),
        ("\"2024-01-15T00:00:00Z\"", Some("date"), times),
        ("\"00112233-4455-6677-8899-aabbccddeeff\"", Some("binData:04"), &["text", "uuid", "bytea"]),
        ("\"AQI=\"", Some("binData:00"), &["bytea"]),
        ("\"s\"", Some("symbol"), &["text"]),
        ("\"s\"", Some("javascript"), &["text"]),
        ("{\"t\":1,\"i\":1}", Some("timestamp"), &[]),
        ("{\"pattern\":\"a\",\"options\":\"\"}", Some("regex"), &[]),
        ("null", Some("minKey"), &[]),
        ("{}", None, &[]),
        ("[]", None, &[]),
    ];
    for (json, bson_type, accepted) in table {
        for column in columns() {
            let name = column.name();
            let expected = accepted.contains(&name) || matches!(name, "json" | "jsonb");
            match converted(json, bson_type, &column) {
                Ok(_) => assert!(expected, "{json} {bson_type:?} went into {name}"),
                Err(reason) => {
                    assert!(!expected, "{json} {bson_type:?} was refused by {name}");
                    assert_eq!(reason, Reject::TypeConflict, "{json} {bson_type:?} {name}");
                }
            }
        }
    }
}

#[test]
fn integers_keep_to_their_ranges() {
    let out_of_range = Err(Reject::OutOfRange);
    assert_eq!(plain("32767", &ColumnType::Int2), Ok(vec![0x7f, 0xff]));
    assert_eq!(plain("32768", &ColumnType::Int2), out_of_range);
    assert_eq!(plain("-32768", &ColumnType::Int2), Ok(vec![0x80, 0]));
    assert_eq!(plain("2147483648", &ColumnType::Int4), out_of_range);
    assert_eq!(plain("5.0", &ColumnType::Int4), Ok(vec![0, 0, 0, 5]));
    assert_eq!(plain("-0.0", &ColumnType::Int4), Ok(vec![0, 0, 0, 0]));
    assert_eq!(plain("1e300", &ColumnType::Int8), out_of_range);
    assert_eq!(plain("9223372036854775807", &ColumnType::Int8), Ok(i64::MAX.to_be_bytes().to_vec()));
    assert_eq!(plain("9.223372036854775807e18", &ColumnType::Int8), out_of_range);
    assert_eq!(plain("-9.223372036854775808e18", &ColumnType::Int8), Ok(i64::MIN.to_be_bytes().to_vec()));
    assert_eq!(converted("\"9.3E+18\"", Some("decimal"), &ColumnType::Int8), out_of_range);
    assert_eq!(converted("\"4.20E+1\"", Some("decimal"), &ColumnType::Int4), Ok(vec![0, 0, 0, 42]));
}

#[test]
fn floats_are_exact_or_refused() {
    assert_eq!(plain("0.1", &ColumnType::Float8), Ok(0.1_f64.to_be_bytes().to_vec()));
    assert_eq!(plain("0.1", &ColumnType::Float4), Err(Reject::OutOfRange));
    assert_eq!(plain("0.5", &ColumnType::Float4), Ok(0.5_f32.to_be_bytes().to_vec()));
    assert_eq!(plain("1e300", &ColumnType::Float4), Err(Reject::OutOfRange));
    assert_eq!(plain("-0.0", &ColumnType::Float8), Ok((-0.0_f64).to_be_bytes().to_vec()));
    assert_eq!(plain("9007199254740993", &ColumnType::Float8), Err(Reject::OutOfRange));
    assert_eq!(plain("9223372036854775807", &ColumnType::Float8), Err(Reject::OutOfRange));
    assert_eq!(converted("\"0.1\"", Some("decimal"), &ColumnType::Float8), Err(Reject::OutOfRange));
}

#[test]
fn numerics_keep_to_their_limits() {
    let limited = ColumnType::Numeric { limit: Some(NumericLimit { precision: 5, scale: 2 }) };
    assert!(plain("0.1", &limited).is_ok());
    assert!(plain("123.45", &limited).is_ok());
    assert_eq!(plain("123.456", &limited), Err(Reject::OutOfRange));
    assert_eq!(plain("1234", &limited), Err(Reject::OutOfRange));
    assert!(converted("\"NaN\"", Some("double"), &limited).is_ok());
    assert_eq!(converted("\"Infinity\"", Some("double"), &limited), Err(Reject::TypeConflict));
    // 0.1 goes in as 0.1, not as the binary fraction that is nearest to it.
    assert_eq!(plain("0.1", &NUMERIC), converted("\"0.1\"", Some("decimal"), &NUMERIC));
}

#[test]
fn texts_keep_to_their_length_in_characters() {
    let three = ColumnType::Text { max_chars: Some(3), padded: false };
    assert_eq!(plain("\"äöü\"", &three), Ok("äöü".as_bytes().to_vec()));
    assert_eq!(plain("\"abcd\"", &three), Err(Reject::OutOfRange));
    // PostgreSQL's own cast would cut these spaces off silently.
    assert_eq!(plain("\"abc  \"", &three), Err(Reject::OutOfRange));
    assert_eq!(plain("\"a\\u0000\"", &TEXT), Err(Reject::OutOfRange));
    assert_eq!(plain("\"\"", &TEXT), Ok(Vec::new()));
}

#[test]
fn dates_are_exact_or_refused() {
    let second = ColumnType::Timestamp { digits: 0 };
    let date = Some("date");
    let noon = "\"2024-01-15T12:00:00.500Z\"";
    assert_eq!(converted("\"2000-01-01T00:00:00Z\"", date, &TIMESTAMP), Ok(vec![0; 8]));
    assert_eq!(
        converted("\"1999-12-31T23:59:59.999Z\"", date, &TIMESTAMPTZ),
        Ok((-1000_i64).to_be_bytes().to_vec())
    );
    assert_eq!(converted(noon, date, &second), Err(Reject::OutOfRange));
    assert_eq!(converted(noon, date, &ColumnType::Date), Err(Reject::OutOfRange));
    assert_eq!(converted("\"2000-01-02T00:00:00Z\"", date, &ColumnType::Date), Ok(vec![0, 0, 0, 1]));
    assert_eq!(
        converted("\"1969-12-31T00:00:00Z\"", date, &ColumnType::Date),
        Ok((-10_958_i32).to_be_bytes().to_vec())
    );
    // The last millisecond of the year 294276, and the next one.
    assert!(converted("9224318015999999", date, &TIMESTAMP).is_ok());
    assert_eq!(converted("9224318016000000", date, &TIMESTAMP), Err(Reject::OutOfRange));
    assert_eq!(converted(&i64::MAX.to_string(), date, &TIMESTAMP), Err(Reject::OutOfRange));
    assert_eq!(converted(&i64::MIN.to_string(), date, &TIMESTAMP), Err(Reject::OutOfRange));
    assert_eq!(converted(&i64::MIN.to_string(), date, &ColumnType::Date), Err(Reject::OutOfRange));
    assert_eq!(plain("\"2024-01-15T00:00:00Z\"", &TIMESTAMP), Err(Reject::TypeConflict));
}

#[test]
fn json_travels_as_it_is() {
    assert_eq!(plain("{\"a\":[1,2.0]}", &ColumnType::Json), Ok(b"{\"a\":[1,2.0]}".to_vec()));
    assert_eq!(plain("[1]", &ColumnType::Jsonb), Ok(b"\x01[1]".to_vec()));
    assert_eq!(plain("\"a\\u0000b\"", &ColumnType::Jsonb), Err(Reject::OutOfRange));
    assert_eq!(plain("\"a\\\\u0000b\"", &ColumnType::Jsonb), Ok(b"\x01\"a\\\\u0000b\"".to_vec()));
}

#[test]
fn a_mirror_s_document_shows_the_nearest_character() {
    let mut out = Vec::new();
    write_document(r#"{"a":"\u0000x\\u0000\\\u0000"}"#, &mut out);
    assert_eq!(out, b"\x01{\"a\":\"\\ufffdx\\\\u0000\\\\\\ufffd\"}");
    out.clear();
    write_document(r#"{"a":"\\u0000"}"#, &mut out);
    assert_eq!(
        out,
        br#"{"a":"\\u0000"}"#.iter().fold(vec![1], |mut all, byte| {
            all.push(*byte);
            all
        })
    );
}

#[test]
fn uuids_and_bytes() {
    let uuid = "\"00112233-4455-6677-8899-aabbccddeeff\"";
    let bytes: Vec<u8> = (0..16).map(|index| index * 0x11).collect();
    assert_eq!(converted(uuid, Some("binData:04"), &ColumnType::Uuid), Ok(bytes.clone()));
    assert_eq!(converted(uuid, Some("binData:04"), &ColumnType::Bytea), Ok(bytes));
    assert_eq!(plain(uuid, &ColumnType::Uuid), Err(Reject::TypeConflict));
    assert_eq!(converted("\"\"", Some("binData:80"), &ColumnType::Bytea), Ok(Vec::new()));
    assert_eq!(converted("\"!\"", Some("binData:00"), &ColumnType::Bytea), Err(Reject::TypeConflict));
}

proptest! {
    /// Whatever an integer column takes is the number that the document holds.
    #[test]
    fn doubles_in_integer_columns_are_the_same_number(bits in any::<u64>()) {
        let number = f64::from_bits(bits);
        if let Ok(integer) = integer_of_double(number) {
            // i128 holds every integral double below 2^63 exactly.
            let exact = number as i128;
            prop_assert_eq!(i128::from(integer), exact);
            prop_assert_eq!(number.fract(), 0.0);
        }
    }

    #[test]
    fn longs_in_double_columns_are_the_same_number(number in any::<i64>()) {
        match double_of(&Value::Int64(number)) {
            Ok(double) => prop_assert_eq!(double as i128, i128::from(number)),
            Err(_) => {
                let low = number.unsigned_abs().trailing_zeros();
                let width = 64 - number.unsigned_abs().leading_zeros();
                prop_assert!(width - low > 53, "{} fits a double", number);
            }
        }
    }

    /// Arbitrary text is either refused or arrives unchanged.
    #[test]
    fn strings_arrive_unchanged(text in "\\PC*", max in 0_usize..40) {
        let json = serde_json::to_string(&text).unwrap();
        let column = ColumnType::Text { max_chars: Some(max), padded: false };
        match plain(&json, &column) {
            Ok(bytes) => prop_assert_eq!(String::from_sql(&Type::TEXT, &bytes).unwrap(), text),
            Err(_) => prop_assert!(text.chars().count() > max || text.contains('\0')),
        }
    }

    /// No value and no column make it panic.
    #[test]
    fn no_pair_panics(json in "\\PC*", index in 0_usize..16) {
        for bson_type in [None, Some("long"), Some("double"), Some("decimal"), Some("date"), Some("binData:04")] {
            if let Some(value) = read(&json, bson_type) {
                let _refused_or_not = write(&value, &json, &columns()[index], &mut Vec::new());
            }
        }
    }
}
