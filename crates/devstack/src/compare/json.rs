//! A document as `docs/message-format.md` spells it, as far as the workloads' documents go.

#![expect(clippy::wildcard_enum_match_arm, reason = "of BSON's types the workloads have few")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bson::{Bson, Document};
use serde_json::Value;

use super::Failure;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A document's JSON and its sidecar, as texts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spelled {
    pub(super) text: String,
    /// The types that the text does not show; `None` where it shows all.
    pub(super) types: Option<String>,
}

impl Spelled {
    pub(super) fn new(document: &Document) -> Result<Self, Failure> {
        let (mut text, mut types) = (String::new(), BTreeMap::new());
        spell(&mut text, &mut types, "/full_document", &Bson::Document(document.clone()))?;
        let types = (!types.is_empty()).then(|| serde_json::to_string(&types)).transpose()?;
        Ok(Self { text, types })
    }
}

/// Pointers by the name of their type.
type Types = BTreeMap<&'static str, Vec<String>>;

fn spell(out: &mut String, types: &mut Types, pointer: &str, value: &Bson) -> Result<(), Failure> {
    let quoted = |text: &str| Value::from(text).to_string();
    let mut typed = |name| types.entry(name).or_default().push(pointer.to_owned());
    match value {
        Bson::Null => out.push_str("null"),
        Bson::Boolean(value) => write!(out, "{value}")?,
        Bson::Int32(value) => write!(out, "{value}")?,
        Bson::Int64(value) => {
            if i32::try_from(*value).is_ok() {
                typed("long");
            }
            write!(out, "{value}")?;
        }
        Bson::Double(value) if value.is_finite() => write!(out, "{value:?}")?,
        Bson::String(text) => out.push_str(&quoted(text)),
        Bson::ObjectId(id) => {
            typed("objectId");
            out.push_str(&quoted(&id.to_hex()));
        }
        Bson::DateTime(at) => {
            typed("date");
            out.push_str(&quoted(&date(at.timestamp_millis())));
        }
        Bson::Array(items) => {
            let items = items.iter().enumerate().map(|(index, item)| (index.to_string(), item));
            spell_all(out, types, pointer, ['[', ']'], items, |_, _| {})?;
        }
        Bson::Document(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), value));
            spell_all(out, types, pointer, ['{', '}'], members, |out, name| {
                out.push_str(&quoted(name));
                out.push(':');
            })?;
        }
        other => return Err(format!("no workload has a {:?}", other.element_type()).into()),
    }
    Ok(())
}

fn spell_all<'a>(
    out: &mut String,
    types: &mut Types,
    pointer: &str,
    [open, close]: [char; 2],
    parts: impl Iterator<Item = (String, &'a Bson)>,
    label: impl Fn(&mut String, &str),
) -> Result<(), Failure> {
    out.push(open);
    for (index, (name, part)) in parts.enumerate() {
        if index > 0 {
            out.push(',');
        }
        label(out, &name);
        let escaped = name.replace('~', "~0").replace('/', "~1");
        spell(out, types, &format!("{pointer}/{escaped}"), part)?;
    }
    out.push(close);
    Ok(())
}

/// RFC 3339, with milliseconds where they are not zero.
fn date(millis: i64) -> String {
    let (mut days, of_day) = (millis.div_euclid(DAY_MS), millis.rem_euclid(DAY_MS));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    loop {
        let length = 365 + i64::from(is_leap(year));
        if (0..length).contains(&days) {
            break;
        }
        (year, days) = if days < 0 {
            (year - 1, days + 365 + i64::from(is_leap(year - 1)))
        } else {
            (year + 1, days - length)
        };
    }
    let lengths = [31, 28 + i64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        (month, days) = (month + 1, days - length);
    }
    let (seconds, fraction) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:03}") };
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z", days + 1)
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::{DateTime, doc};

    use super::*;

    #[test]
    fn a_document_is_spelled_with_the_types_that_json_hides() {
        let id = ObjectId::from_bytes([0xAB; 12]);
        let document = doc! {
            "_id": id, "a\"b": "x\ny", "few": 5_i64, "many": 1_i64 << 40, "n": 7, "share": 0.5, "whole": 2.0,
            "deep": { "at/~": [null, true, DateTime::from_millis(1_705_312_200_120)] },
        };
        let spelled = Spelled::new(&document).unwrap();
        let id = id.to_hex();
        assert_eq!(
            spelled.text,
            format!(
                "{{\"_id\":\"{id}\",\"a\\\"b\":\"x\\ny\",\"few\":5,\"many\":1099511627776,\"n\":7,\
                 \"share\":0.5,\"whole\":2.0,\"deep\":{{\"at/~\":[null,true,\"2024-01-15T09:50:00.120Z\"]}}}}"
            )
        );
        let types = "{\"date\":[\"/full_document/deep/at~1~0/2\"],\"long\":[\"/full_document/few\"],\
                     \"objectId\":[\"/full_document/_id\"]}";
        assert_eq!(spelled.types.as_deref(), Some(types));
        assert_eq!(Spelled::new(&doc! { "n": 1 }).unwrap().types, None);
    }

    #[test]
    fn dates_are_spelled_across_leap_years_and_before_1970() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ];
        for (millis, expected) in cases {
            assert_eq!(date(millis), expected);
        }
    }
}
