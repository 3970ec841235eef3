//! A JSON Schema of a configuration file, for editors and other tools. It is stricter than the service: what stands
//! there between quotes, a number for instance, the service reads all the same.

use serde_json::{Map, Value, json};

use super::any::{Kind, described};
use super::described::{Described, Preset, Shape, bytes, duration};

/// The schema of a kind of file.
#[must_use]
pub fn schema(kind: Kind) -> Value {
    let mut root = section();
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    let name = match kind {
        Kind::Watcher => "watcher.yaml",
        Kind::Syncer => "syncer.yaml",
        Kind::Pipeline => "pipeline.yaml",
    };
    root.insert("title".to_owned(), json!(name));
    for option in described(kind) {
        let path: Vec<&str> = option.path.split('.').collect();
        insert(&mut root, &path, value(&option));
    }
    Value::Object(root)
}

/// A section: null means that every key has its default.
fn section() -> Map<String, Value> {
    let mut section = Map::new();
    section.insert("type".to_owned(), json!(["object", "null"]));
    section.insert("additionalProperties".to_owned(), json!(false));
    section.insert("properties".to_owned(), json!({}));
    section
}

fn insert(section_of: &mut Map<String, Value>, path: &[&str], option: Value) {
    let Some(Value::Object(properties)) = section_of.get_mut("properties") else { return };
    match path {
        [] => {}
        [name] => {
            properties.insert((*name).to_owned(), option);
        }
        [name, rest @ ..] => {
            let inner = properties.entry((*name).to_owned()).or_insert_with(|| Value::Object(section()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, option);
            }
        }
    }
}

fn value(option: &Described) -> Value {
    let mut schema = match &option.shape {
        Shape::Text(_) | Shape::Secret => json!({ "type": "string" }),
        Shape::List => json!({
            "anyOf": [{ "type": "string" }, { "type": "array", "minItems": 1, "items": { "type": "string" } }],
        }),
        Shape::Number { from, to } => {
            json!({ "type": "integer", "minimum": plain(from), "maximum": plain(to) })
        }
        Shape::Duration { .. } => json!({ "type": "string" }),
        Shape::Bytes { .. } => json!({ "type": ["string", "integer"] }),
        Shape::Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Shape::NumberOr { from, to, other } => json!({
            "anyOf": [{ "type": "integer", "minimum": from, "maximum": to }, { "const": plain(other) }],
        }),
        Shape::Words(words) => json!({ "enum": words.iter().map(|(word, _)| word).collect::<Vec<_>>() }),
        Shape::Switch => json!({ "type": "boolean" }),
        Shape::Sections(options) => {
            let mut entry = section();
            entry.insert("type".to_owned(), json!("object"));
            for option in options {
                insert(&mut entry, &[&option.path], value(option));
            }
            json!({ "type": "array", "items": entry })
        }
        Shape::Pairs { .. } => json!({
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean"] },
        }),
    };
    let legal = match &option.shape {
        Shape::Text(Some(legal)) => format!(" Legal: {legal}."),
        Shape::Duration { from, to } => {
            format!(" A duration with its unit, from {} to {}.", duration(*from), duration(*to))
        }
        Shape::Bytes { from, to } => format!(" A size, from {} to {}.", bytes(*from), bytes(*to)),
        Shape::Text(None)
        | Shape::List
        | Shape::Number { .. }
        | Shape::Share
        | Shape::NumberOr { .. }
        | Shape::Words(_)
        | Shape::Switch
        | Shape::Secret
        | Shape::Sections(_)
        | Shape::Pairs { .. } => String::new(),
    };
    schema["description"] = json!(format!("{}{legal}", option.text));
    if let Preset::Is(default) = &option.preset
        && !matches!(option.shape, Shape::Pairs { .. })
    {
        let is_plain = matches!(
            option.shape,
            Shape::Number { .. } | Shape::Share | Shape::NumberOr { .. } | Shape::Switch
        );
        schema["default"] = if is_plain { plain(default) } else { json!(default) };
    }
    schema
}

/// A number or `true` as JSON has it.
fn plain(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}
