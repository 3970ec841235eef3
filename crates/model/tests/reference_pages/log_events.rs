//! `docs/log-events.md`: each event that the services log as an error, a warning or information, with its operation and
//! its fields from the code, and with what to do from the page itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::sources::{Source, calls, constant, literal, shipped};
use crate::{cells, check, root};

const PAGE: &str = "docs/log-events.md";
const LEVELS: [(&str, &str); 3] = [("error", "Errors"), ("warn", "Warnings"), ("info", "Information")];
const HEAD: &str = "# Log events

`make specs` writes everything here but the last column, which is kept: message, operation and fields come from the code. A
new event fails the test until somebody has said what to do about it. Braces stand for what is filled in.

Each line of the log is one JSON object with `timestamp`, `level`, `message`, the `service` whose it is, and the fields below.
Where spans are made it has the `trace_id` and `span_id` of its state. Errors carry `error_type`, `error` and `stack_trace`
besides. A failure that is retried has the number of its try.
";
/// Fields that every line may have.
const COMMON: [&str; 5] = ["service", "operation", "error_type", "error", "stack_trace"];

struct Event {
    operations: BTreeSet<String>,
    fields: BTreeSet<String>,
}

/// The events of one level, by their messages.
fn events(sources: &[Source], level: &str) -> BTreeMap<String, Event> {
    let mut events: BTreeMap<String, Event> = BTreeMap::new();
    for Source { text } in sources {
        for arguments in calls(text, level) {
            let operation = arguments.iter().find_map(|it| operation(text, it));
            // What follows the message is filled into it.
            let in_front = arguments.iter().take_while(|it| literal(it).is_none());
            let mut fields: Vec<String> = in_front.clone().filter_map(|it| field(it)).collect();
            if in_front.into_iter().any(|it| it == "..counts") {
                fields.extend(write_counters(sources));
            }
            for message in messages(text, &arguments) {
                let event = events
                    .entry(message)
                    .or_insert_with(|| Event { operations: BTreeSet::new(), fields: BTreeSet::new() });
                event.operations.extend(operation.clone());
                event.fields.extend(fields.iter().filter(|it| !COMMON.contains(&it.as_str())).cloned());
            }
        }
    }
    events
}

/// The message; those of its callers where the call stands in a local macro.
fn messages(source: &str, arguments: &[String]) -> Vec<String> {
    let direct = arguments.iter().find_map(|it| literal(it));
    let handed_on = arguments.iter().any(|it| it.starts_with('$') && !it.contains('='));
    if !handed_on {
        return direct.into_iter().collect();
    }
    let macros = source.split("macro_rules! ").skip(1);
    let names = macros.filter_map(|rest| rest.split_whitespace().next());
    names.flat_map(|name| calls(source, name)).filter_map(|it| it.iter().find_map(|it| literal(it))).collect()
}

fn operation(source: &str, argument: &str) -> Option<String> {
    let value = argument.strip_prefix("operation =")?.trim();
    literal(value).or_else(|| constant(source, value))
}

/// The name of a field: in front of an equals sign, or a variable of its name.
fn field(argument: &str) -> Option<String> {
    let name = argument.split_once(" =").map_or(argument, |(name, _)| name);
    let name = name.trim().trim_start_matches(['%', '?']);
    let is_name = name.starts_with(|it: char| it.is_ascii_lowercase())
        && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_');
    is_name.then(|| name.to_owned())
}

/// The counters that `..counts` stands for.
fn write_counters(sources: &[Source]) -> Vec<String> {
    let table = sources.iter().find_map(|source| {
        let (_, table) = source.text.split_once("macro_rules! write_counters {")?;
        Some(table.split_once("others {")?.0)
    });
    let lines = table.unwrap_or_default().lines().map(str::trim).filter(|line| line.ends_with(';'));
    lines.filter_map(|line| field(line.split([':', ';']).next()?)).collect()
}

/// What the page says to do, by message.
fn advice() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let rows = page.lines().filter(|line| line.starts_with("| ")).map(cells).filter(|row| row.len() == 4);
    rows.map(|row| (row[0].to_owned(), row[3].to_owned())).collect()
}

fn page(advice: &BTreeMap<String, String>) -> String {
    let sources = shipped();
    let mut text = HEAD.to_owned();
    for (level, title) in LEVELS {
        write!(text, "\n## {title}\n\n| message | operation | fields | what to do |\n|---|---|---|---|\n")
            .expect("a String takes everything");
        for (message, Event { operations, fields }) in events(&sources, level) {
            let message = message.replace('|', "\\|");
            let code = |names: BTreeSet<String>| {
                names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            };
            let advice = advice.get(&message).map_or("", String::as_str);
            writeln!(text, "| {message} | {} | {} | {advice} |", code(operations), code(fields))
                .expect("a String takes everything");
        }
    }
    text
}

#[test]
fn the_page_of_log_events_has_each_event_and_no_other_and_says_what_to_do() {
    let page = page(&advice());
    check(PAGE, &page);
    let rows = page.lines().filter(|line| line.starts_with("| ")).map(cells);
    let silent: Vec<_> =
        rows.filter(|row| row.len() != 4 || row[3].is_empty()).map(|row| row[0].to_owned()).collect();
    assert!(silent.is_empty(), "{PAGE} does not say what to do about: {}", silent.join("\n"));
}

/// Feature: cdc-pipeline, Property 22: Error Log Stack Trace Inclusion
/// Validates: Requirements 10.5
///
/// Every place in the shipped code that logs an error, as it is written there.
#[test]
fn each_error_says_what_failed_and_why_with_its_own_stack_trace() {
    /// Lines that are a library's: the log gives them what they lack.
    const LIBRARIES: &str = "\"librdkafka: {line}\"";
    let mut places = 0;
    for Source { text } in &shipped() {
        for arguments in calls(text, "error") {
            if arguments.iter().any(|it| it == LIBRARIES) {
                continue;
            }
            let fields: Vec<String> = arguments.iter().filter_map(|it| field(it)).collect();
            // A panic's words are its message.
            let is_panic = arguments.iter().any(|it| it == "\"{panic}\"");
            for wanted in ["operation", "error_type", "stack_trace", "error"] {
                let is_there = fields.iter().any(|it| it == wanted) || (wanted == "error" && is_panic);
                assert!(is_there, "{arguments:?} has no {wanted}");
            }
            places += 1;
        }
    }
    assert!(places >= 8, "only {places} places are found");
}
