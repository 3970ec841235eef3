//! A configuration as it holds, all layers merged: what `cdc config print` says.

use std::fmt::Write as _;

use super::any::AnyConfig;
use super::described::{Described, Preset, Shape};
use super::layers::Sources;
use super::problem::ConfigError;
use super::tree::{Content, Node, pair};

/// What holds, as YAML, each key with the place where it was written; with the defaults, also those that nobody wrote.
/// Secrets are named and not shown.
///
/// # Errors
/// Everything that is wrong with the configuration.
pub fn print(sources: &Sources, with_defaults: bool) -> Result<String, ConfigError> {
    print_tree(&sources.tree()?, with_defaults)
}

/// The same of a tree.
pub(super) fn print_tree(root: &Node, with_defaults: bool) -> Result<String, ConfigError> {
    let reading = AnyConfig::read(root)?;
    reading.value?;
    let mut lines = Vec::new();
    for option in &reading.options {
        match find(root, &option.path) {
            Some(node) => lines.push((option, written(option, node))),
            None if with_defaults => lines.push((option, by_default(option))),
            None => {}
        }
    }
    Ok(nest(lines))
}

fn find<'n>(root: &'n Node, path: &str) -> Option<&'n Node> {
    let node = path.split('.').try_fold(root, |node, name| Some(&node.get(name)?.node))?;
    Some(node).filter(|node| !matches!(node.content, Content::Null))
}

/// What stands behind an option's name; without a value the line is a comment.
struct Line {
    value: Option<String>,
    comment: String,
}

fn written(option: &Described, node: &Node) -> Line {
    let origin = node.origin.to_string();
    if matches!(option.shape, Shape::Secret | Shape::Pairs { is_secret: true }) {
        return Line { value: None, comment: format!("not shown; {origin}") };
    }
    let value = match (&option.shape, node.between_commas()) {
        (Shape::List, Some(items)) => format!("[{}]", items.map(scalar).collect::<Vec<_>>().join(", ")),
        (Shape::Pairs { .. }, Some(pairs)) => {
            let shown =
                pairs.filter_map(pair).map(|(key, value)| format!("{}: {}", scalar(key), scalar(value)));
            format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
        }
        _ => flow(node),
    };
    Line { value: Some(value), comment: origin }
}

fn by_default(option: &Described) -> Line {
    let comment = "default".to_owned();
    match &option.preset {
        Preset::Is(value) if matches!(option.shape, Shape::Pairs { .. }) => {
            Line { value: Some(value.clone()), comment }
        }
        Preset::Is(value) => Line { value: Some(scalar(value)), comment },
        Preset::Said(words) => Line { value: None, comment: format!("default: {words}") },
        Preset::Required | Preset::Nothing => Line { value: None, comment: "default: none".to_owned() },
    }
}

/// A value on one line.
fn flow(node: &Node) -> String {
    match &node.content {
        Content::Null => "null".to_owned(),
        Content::Scalar(text) => scalar(text),
        Content::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Content::Map(entries) => {
            let pair = |entry: &super::tree::Entry| format!("{}: {}", scalar(&entry.key), flow(&entry.node));
            format!("{{{}}}", entries.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Plain where YAML reads the same text from it, else between double quotes.
fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-');
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    if begins && text.bytes().all(is_plain) && !text.eq_ignore_ascii_case("null") {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            '\n' => quoted.push_str("\\n"),
            char if char.is_control() => {
                let _infallible = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// Options under their sections, each section once, in the order in which they first appear.
fn nest(lines: Vec<(&Described, Line)>) -> String {
    let mut text = String::new();
    let paths = lines.into_iter().map(|(option, line)| (option.path.split('.').collect(), line));
    write_section(&mut text, paths.collect(), 0);
    text
}

fn write_section(text: &mut String, mut lines: Vec<(Vec<&str>, Line)>, depth: usize) {
    let indent = "  ".repeat(depth);
    while let Some(name) = lines.first().and_then(|(path, _)| path.get(depth).copied()) {
        let (mine, others) = lines.into_iter().partition::<Vec<_>, _>(|(path, _)| path[depth] == name);
        lines = others;
        if mine.first().is_some_and(|(path, _)| path.len() > depth + 1) {
            let _infallible = writeln!(text, "{indent}{name}:");
            write_section(text, mine, depth + 1);
            continue;
        }
        for (_, Line { value, comment }) in mine {
            let _infallible = match value {
                Some(value) => writeln!(text, "{indent}{name}: {value}  # {comment}"),
                None => writeln!(text, "{indent}# {name}: {comment}"),
            };
        }
    }
}
