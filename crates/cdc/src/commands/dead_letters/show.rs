use cdc_kafka::HeadersIter;
use serde_json::{Map, Value};

use super::describe::{fields, insert_bytes, readable};
use super::desk::{Desk, Letter};
use super::selection::Place;
use crate::cli::DeadLettersShowArgs;
use crate::commands::output::{print, write};
use crate::exit::Failed;

/// `cdc dead-letters show`: one dead letter with its headers; key and body only where they are asked for.
///
/// # Errors
/// As `list`; exit 65 where there is no such letter.
pub fn dead_letters_show(arguments: DeadLettersShowArgs) -> Result<(), Failed> {
    let DeadLettersShowArgs { letter, config, body, json } = arguments;
    let place = Place::parse(&letter)?;
    let letter = Desk::open(config)?.at(&place)?;
    if json {
        print(&format!("{:#}", Value::Object(whole(&letter, body))))
    } else {
        print_lines(&letter, body)
    }
}

fn whole(letter: &Letter, with_body: bool) -> Map<String, Value> {
    let record = &letter.dead.record;
    let mut all = fields(letter);
    let mut headers = Map::new();
    for (name, value) in HeadersIter::new(&record.headers) {
        insert_bytes(&mut headers, name, value);
    }
    all.insert("headers".to_owned(), Value::Object(headers));
    if with_body {
        insert_bytes(&mut all, "key", Some(&record.key));
        insert_bytes(&mut all, "body", record.value.as_deref());
    }
    all
}

fn print_lines(letter: &Letter, with_body: bool) -> Result<(), Failed> {
    let record = &letter.dead.record;
    let all = fields(letter);
    let shown = all.iter().filter(|(_, value)| !value.is_null());
    let width = all.keys().map(String::len).max().unwrap_or_default();
    let mut text: String = shown
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name:width$}  {text}\n"),
            None => format!("{name:width$}  {value}\n"),
        })
        .collect();
    text.push_str("headers\n");
    for (name, value) in HeadersIter::new(&record.headers) {
        text.push_str(&format!("  {name}: {}\n", readable(value)));
    }
    if !with_body {
        return print(&text);
    }
    text.push_str(&format!("key\n  {}\nbody\n", readable(Some(&record.key))));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(record.value.as_deref().unwrap_or_default());
    bytes.push(b'\n');
    write(&bytes).map(drop)
}
