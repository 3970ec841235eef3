//! The shipped sources, and the calls of macros in them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// Crates that are not part of the shipped program.
const OTHERS: [&str; 2] = ["devstack", "model"];

/// A source without its tests.
pub(crate) struct Source {
    pub(crate) text: String,
}

/// Every source of the shipped crates, in the order of the paths.
pub(crate) fn shipped() -> Vec<Source> {
    let crates = fs::read_dir(root().join("crates")).expect("the folder of crates");
    let mut paths = Vec::new();
    for entry in crates {
        let folder = entry.expect("a folder").path();
        if OTHERS.iter().all(|other| !folder.ends_with(other)) {
            collect(&folder.join("src"), &mut paths);
        }
    }
    paths.sort();
    paths.iter().map(|path| Source { text: without_tests(path) }).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            paths.push(path);
        }
    }
}

/// The text without comment lines, up to the tests at its end.
fn without_tests(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source");
    let shipped = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = shipped.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| [line, "\n"]).collect()
}

/// The arguments of each call of `name!(…)`, split at the commas outside of brackets and texts.
pub(crate) fn calls(source: &str, name: &str) -> Vec<Vec<String>> {
    let call = format!("{name}!(");
    let begins_word = |at: usize| {
        source[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '_')
    };
    let places = source.match_indices(&call).filter(|(at, _)| begins_word(*at));
    places.map(|(at, _)| arguments(&source[at + call.len()..])).collect()
}

/// Reads arguments up to the closing bracket.
fn arguments(source: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut current = String::new();
    let (mut depth, mut is_text, mut is_escaped) = (0, false, false);
    for next in source.chars() {
        if is_text {
            current.push(next);
            is_text = is_escaped || next != '"';
            is_escaped = !is_escaped && next == '\\';
            continue;
        }
        match next {
            '"' => is_text = true,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(current.trim().to_owned());
                current.clear();
                continue;
            }
            _ => {}
        }
        current.push(next);
    }
    if !current.trim().is_empty() {
        all.push(current.trim().to_owned());
    }
    all
}

/// The value of a literal of text; `None` for any other expression.
pub(crate) fn literal(expression: &str) -> Option<String> {
    let inner = expression.strip_prefix('"')?.strip_suffix('"')?;
    let mut value = String::new();
    let mut rest = inner.chars().peekable();
    while let Some(next) = rest.next() {
        match (next, rest.peek()) {
            ('\\', Some('\n')) => while rest.next_if(|it| it.is_whitespace()).is_some() {},
            ('\\', Some('n')) => {
                rest.next();
                value.push(' ');
            }
            ('\\', Some(_)) => value.extend(rest.next()),
            _ => value.push(next),
        }
    }
    Some(value)
}

/// The text of a constant that the source defines.
pub(crate) fn constant(source: &str, name: &str) -> Option<String> {
    let (_, rest) = source.split_once(&format!("const {name}: &str ="))?;
    literal(rest.split_once(';')?.0.trim())
}
