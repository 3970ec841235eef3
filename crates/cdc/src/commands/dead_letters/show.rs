use cdc_kafka::HeadersIter;
use serde_json::{Map, Value};

use super::describe::{fields, insert_bytes, readable};
use super::desk::{Desk, Letter};
use super::selection::Selection;
use crate::cli::{DeadLettersShowArgs, LetterFilter};
use crate::commands::output::{field_lines, print, write};
use crate::exit::Failed;

/// `cdc dead-letters show`: one dead letter with its headers; key and body only where they are asked for.
///
/// # Errors
/// As `list`; exit 65 where there is no such letter.
pub fn dead_letters_show(arguments: DeadLettersShowArgs) -> Result<(), Failed> {
    let DeadLettersShowArgs { letter, config, body, json } = arguments;
    let selection = Selection::parse(&[letter], LetterFilter::default())?;
    let show = |letter: &Letter| {
        if json {
            print(&format!("{:#}", Value::Object(whole(letter, body))))
        } else {
            print_lines(letter, body)
        }
    };
    let desk = Desk::open(config, &selection)?;
    desk.for_each(&selection, true, |letters| letters.iter().try_for_each(show).map(|()| true))?;
    Ok(())
}

fn whole(letter: &Letter, with_body: bool) -> Map<String, Value> {
    let record = &letter.dead.record;
    let mut all = fields(letter);
    let mut headers = Map::new();
    for (name, value) in HeadersIter::new(record.headers()) {
        insert_bytes(&mut headers, name, value);
    }
    all.insert("headers".to_owned(), Value::Object(headers));
    if with_body {
        insert_bytes(&mut all, "key", Some(record.key()));
        insert_bytes(&mut all, "body", record.value());
    }
    all
}

fn print_lines(letter: &Letter, with_body: bool) -> Result<(), Failed> {
    let record = &letter.dead.record;
    let mut shown = fields(letter);
    shown.retain(|_, value| !value.is_null());
    let mut text = field_lines(&shown);
    text.push_str("headers\n");
    for (name, value) in HeadersIter::new(record.headers()) {
        text.push_str(&format!("  {name}: {}\n", readable(value)));
    }
    if !with_body {
        return print(&text);
    }
    text.push_str(&format!("key\n  {}\nbody\n", readable(Some(record.key()))));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(record.value().unwrap_or_default());
    bytes.push(b'\n');
    write(&bytes).map(drop)
}
