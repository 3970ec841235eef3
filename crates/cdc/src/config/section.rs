//! Reading keys out of the tree, each with its type, its legal values and its default. Nothing stops at the
//! first error: a reader always returns something, and [`finish`] refuses the whole if anything was wrong.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use cdc_machine::Retry;
use secrecy::SecretString;

use super::layers::{is_variable, missing, variable_of};
use super::problem::{ConfigError, Problem};
use super::tree::{Content, Node, Origin};

/// The longest piece of a wrong value that an error repeats, in characters.
const QUOTED_CHARS: usize = 60;

/// How alike two keys must be for one to be suggested for the other, in Jaro-Winkler's measure.
const LIKENESS: f64 = 0.84;

/// What has been found while reading.
#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    known: Vec<String>,
    unknown: Vec<Unknown>,
}

struct Unknown {
    origin: Origin,
    path: String,
}

/// Reads a whole tree: `read` gets the top section. Returns what it made, or everything that was wrong.
pub(super) fn finish<T>(root: &Node, read: impl FnOnce(&mut Section<'_>) -> T) -> Result<T, ConfigError> {
    let findings = RefCell::new(Findings::default());
    let mut top =
        Section { root, findings: &findings, path: String::new(), node: Some(root), known: Vec::new() };
    let value = read(&mut top);
    top.close();
    let Findings { mut problems, known, unknown } = findings.into_inner();
    problems.extend(unknown.iter().map(|unknown| unknown.describe(&known)));
    if problems.is_empty() { Ok(value) } else { Err(ConfigError::new(problems)) }
}

/// One section of the configuration, perhaps absent: then every key has its default.
pub(super) struct Section<'r> {
    root: &'r Node,
    findings: &'r RefCell<Findings>,
    path: String,
    node: Option<&'r Node>,
    known: Vec<&'static str>,
}

impl<'r> Section<'r> {
    /// Reads a section below this one.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let node = self.node(key).filter(|node| {
            let is_map = matches!(node.content, Content::Map(_));
            if !is_map {
                self.refuse(key, node, "a section with keys of its own is expected here");
            }
            is_map
        });
        let mut section = Section {
            root: self.root,
            findings: self.findings,
            path: self.path_of(key),
            node,
            known: Vec::new(),
        };
        let value = read(&mut section);
        section.close();
        value
    }

    /// Keys whose mechanism does not exist yet: refused with these words, never ignored.
    pub(super) fn not_available(&mut self, keys: &[&'static str]) {
        for key in keys {
            if let Some(node) = self.node(key) {
                self.refuse(key, node, "not available yet; take this key out");
            }
        }
    }

    /// A single value of any type. `None` where it is absent or was refused.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        legal: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let Content::Scalar(text) = &node.content else {
            self.refuse(key, node, &format!("a single value is expected; legal: {legal}"));
            return None;
        };
        let value = parse(text.trim());
        if value.is_none() {
            self.refuse(key, node, &format!("{} is not legal; legal: {legal}", quoted(text)));
        }
        value
    }

    /// Text that is not empty. `None` where it is absent or was refused.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.value(key, "text that is not empty", |text| (!text.is_empty()).then(|| text.to_owned()))
    }

    /// Text that must be given. What is returned without it never leaves: the configuration is refused.
    pub(super) fn required_text(&mut self, key: &'static str) -> String {
        self.require(key);
        self.text(key).unwrap_or_default()
    }

    /// One value or a list. `None` where it is absent or was refused.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        let items: Option<Vec<String>> = match &node.content {
            Content::Null | Content::Map(_) => None,
            // There is no other way to spell a list outside a file.
            Content::Scalar(text) if !matches!(node.origin, Origin::File { .. }) => {
                Some(text.split(',').map(|item| item.trim().to_owned()).collect())
            }
            Content::Scalar(text) => Some(vec![text.clone()]),
            Content::List(items) => items
                .iter()
                .map(|item| match &item.content {
                    Content::Scalar(text) => Some(text.clone()),
                    Content::Null | Content::List(_) | Content::Map(_) => None,
                })
                .collect(),
        };
        let items = items.filter(|items| !items.is_empty() && items.iter().all(|item| !item.is_empty()));
        if items.is_none() {
            self.refuse(key, node, "legal: one value, or a list of values that are not empty");
        }
        items
    }

    /// A list that must be given.
    pub(super) fn required_list(&mut self, key: &'static str) -> Vec<String> {
        self.require(key);
        self.list(key).unwrap_or_default()
    }

    /// A whole number.
    pub(super) fn integer<T>(&mut self, key: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: std::str::FromStr + PartialOrd + Display + Copy,
    {
        let legal = format!("a whole number from {} to {}", range.start(), range.end());
        self.value(key, &legal, |text| text.parse().ok().filter(|number| range.contains(number)))
            .unwrap_or(default)
    }

    /// A share of a whole, from 0 to 1, in millionths. Written as plain digits: `0.5`.
    pub(super) fn share(&mut self, key: &'static str, default: u32) -> u32 {
        self.value(key, "a share from 0 to 1, such as 0.5", millionths).unwrap_or(default)
    }

    /// A duration with its unit.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let text = humantime::format_duration;
        let (from, to, example) = (text(*range.start()), text(*range.end()), text(default));
        let legal = format!("a duration with its unit, such as \"{example}\", from {from} to {to}");
        self.value(key, &legal, |text| humantime::parse_duration(text).ok().filter(|it| range.contains(it)))
            .unwrap_or(default)
    }

    /// A size in bytes, with or without a unit.
    pub(super) fn bytes(
        &mut self,
        key: &'static str,
        range: RangeInclusive<ByteSize>,
        default: ByteSize,
    ) -> u64 {
        let legal = format!("a size such as \"{default}\", from {} to {}", range.start(), range.end());
        self.value(key, &legal, |text| text.parse().ok().filter(|size| range.contains(size)))
            .unwrap_or(default)
            .as_u64()
    }

    /// `true` or `false`, and none of YAML's other spellings.
    pub(super) fn switch(&mut self, key: &'static str, default: bool) -> bool {
        self.value(key, "true, false", |text| text.parse().ok()).unwrap_or(default)
    }

    /// How often an operation is tried again.
    pub(super) fn retries(&mut self, key: &'static str, default: u32) -> Retry {
        const MOST: u32 = 1_000_000;
        let legal = format!("a whole number from 0 to {MOST}, or \"unlimited\"");
        self.value(key, &legal, |text| match text {
            "unlimited" => Some(Retry::UNLIMITED),
            number => number.parse().ok().filter(|times| *times <= MOST).map(Retry::times),
        })
        .unwrap_or(Retry::times(default))
    }

    /// One of a few words. `later` are words that will mean something one day and are refused until then.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        later: &[&str],
        default: T,
    ) -> T {
        let legal = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let soon = self.node(key).filter(|node| match &node.content {
            Content::Scalar(text) => later.contains(&text.as_str()),
            Content::Null | Content::List(_) | Content::Map(_) => false,
        });
        if let Some(node) = soon {
            self.refuse(key, node, &format!("this value is not available yet; legal: {legal}"));
            return default;
        }
        self.value(key, &legal, |text| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value))
            .unwrap_or(default)
    }

    /// A secret, written here or in the file that `file_key` names; empty counts as absent. Where both are
    /// given, the higher layer holds. No error repeats it.
    pub(super) fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<SecretString> {
        let is_set = |node: &&Node| !matches!(&node.content, Content::Scalar(text) if text.is_empty());
        let (inline, file) = (self.node(key).filter(is_set), self.node(file_key).filter(is_set));
        let node = match (inline, file) {
            (None, None) => return None,
            (Some(inline), Some(file)) if layer(&inline.origin) == layer(&file.origin) => {
                let other = self.path_of(key);
                self.refuse(file_key, file, &format!("{other} is given too; keep one of the two"));
                return None;
            }
            (Some(inline), Some(file)) if layer(&inline.origin) < layer(&file.origin) => {
                return self.secret_file(file_key, file);
            }
            (None, Some(file)) => return self.secret_file(file_key, file),
            (Some(inline), _) => inline,
        };
        if matches!(node.origin, Origin::Flag(_)) {
            let (file, variable) = (self.path_of(file_key), variable_of(&self.path_of(key)));
            self.refuse(key, node, &format!("everybody can read a command line; use {file} or {variable}"));
            return None;
        }
        let Content::Scalar(text) = &node.content else {
            self.refuse(key, node, "a single value is expected");
            return None;
        };
        Some(text.clone().into())
    }

    fn secret_file(&self, key: &str, node: &Node) -> Option<SecretString> {
        let Content::Scalar(path) = &node.content else {
            self.refuse(key, node, "the path of a file is expected");
            return None;
        };
        match std::fs::read_to_string(Path::new(path)) {
            // Editors and `kubectl create secret --from-file` leave a line break at the end.
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned().into()),
            Err(error) => {
                self.refuse(key, node, &format!("{path} cannot be read: {error}"));
                None
            }
        }
    }

    /// Keys that are not ours, each with one value.
    pub(super) fn free_keys(&mut self, key: &'static str) -> Vec<(String, String)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        self.pairs_of(key, node)
    }

    /// The same, and outside a file `key=value,key=value`: names with dots and capitals are no part of a
    /// variable's.
    pub(super) fn free_pairs(&mut self, key: &'static str) -> Vec<(String, String)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Content::Scalar(text) = &node.content else { return self.pairs_of(key, node) };
        let pairs: Option<Vec<_>> = text
            .split(',')
            .map(|pair| pair.split_once('=').map(|(key, value)| (key.trim().into(), value.trim().into())))
            .collect();
        match pairs.filter(|_| !matches!(node.origin, Origin::File { .. })) {
            Some(pairs) => pairs,
            None => {
                self.refuse(
                    key,
                    node,
                    "legal: a section with keys of its own; outside a file key=value,key=value",
                );
                Vec::new()
            }
        }
    }

    fn pairs_of(&self, key: &str, node: &Node) -> Vec<(String, String)> {
        let Content::Map(entries) = &node.content else {
            self.refuse(key, node, "a section with keys of its own is expected here");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for entry in entries {
            match &entry.node.content {
                Content::Scalar(text) => pairs.push((entry.key.clone(), text.clone())),
                Content::Null | Content::List(_) | Content::Map(_) => {
                    let path = format!("{key}.{}", entry.key);
                    self.refuse(&path, &entry.node, "a single value is expected");
                }
            }
        }
        pairs
    }

    /// Refuses a key of this section for a reason that lies in several keys, at the place of the first one
    /// that is written anywhere.
    pub(super) fn contradiction(&self, keys: &[&str], text: &str) {
        let written = keys.iter().find_map(|key| Some((key, &self.node?.get(key)?.node)));
        let first = keys.first().copied().unwrap_or_default();
        let problem = match written {
            Some((key, node)) => Problem::at(&node.origin, format!("{}: {text}", self.path_of(key))),
            None => missing(self.root, format!("{}: {text}", self.path_of(first))),
        };
        self.findings.borrow_mut().problems.push(problem);
    }

    /// Refuses what lacks a key.
    pub(super) fn require(&mut self, key: &'static str) {
        if self.node(key).is_none() {
            let (path, variable) = (self.path_of(key), variable_of(&self.path_of(key)));
            let text = format!("{path} is missing; write it in the file or set {variable}");
            self.findings.borrow_mut().problems.push(missing(self.root, text));
        }
    }

    /// The node under a key, which is known from now on; `None` also for YAML's null, which means the
    /// default.
    fn node(&mut self, key: &'static str) -> Option<&'r Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
            let path = self.path_of(key);
            self.findings.borrow_mut().known.push(path);
        }
        self.node?.get(key).map(|entry| &entry.node).filter(|node| !matches!(node.content, Content::Null))
    }

    fn refuse(&self, key: &str, node: &Node, text: &str) {
        let problem = Problem::at(&node.origin, format!("{}: {text}", self.path_of(key)));
        self.findings.borrow_mut().problems.push(problem);
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn close(self) {
        let Some(Node { content: Content::Map(entries), .. }) = self.node else { return };
        let unknown = entries.iter().filter(|entry| !self.known.contains(&entry.key.as_str()));
        let unknown = unknown.map(|entry| {
            let (mut path, mut entry) = (self.path_of(&entry.key), entry);
            // One variable makes a chain of sections; its last part is what was meant.
            while is_variable(&entry.origin)
                && let Content::Map(inner) = &entry.node.content
                && let [only] = inner.as_slice()
            {
                path = format!("{path}.{}", only.key);
                entry = only;
            }
            Unknown { origin: entry.origin.clone(), path }
        });
        self.findings.borrow_mut().unknown.extend(unknown);
    }
}

impl Unknown {
    fn describe(&self, known: &[String]) -> Problem {
        let spell = |path: &str| if is_variable(&self.origin) { variable_of(path) } else { path.to_owned() };
        let leaf = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        // The same word in another section is a likelier slip than another word.
        let moved = known.iter().find(|path| leaf(path) == leaf(&self.path)).map(|path| (1.0, path));
        let alike = known.iter().map(|path| (strsim::jaro_winkler(path, &self.path), path));
        let best = alike
            .chain(moved)
            .filter(|(likeness, _)| *likeness >= LIKENESS)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let text = match best {
            Some((_, path)) => format!("unknown key {}; did you mean {}?", self.path, spell(path)),
            None => format!("unknown key {}", self.path),
        };
        Problem::at(&self.origin, text)
    }
}

/// Reads a share with at most six decimal places exactly, which a floating-point number would not.
fn millionths(text: &str) -> Option<u32> {
    const PLACES: usize = 6;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > PLACES {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<PLACES$}").parse().ok()?;
    let share = whole.parse::<u32>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)?;
    (share <= 1_000_000).then_some(share)
}

/// Which layer a value comes from; the greater one wins.
fn layer(origin: &Origin) -> u8 {
    match origin {
        Origin::File { .. } => 0,
        Origin::Variable(_) => 1,
        Origin::Flag(_) => 2,
    }
}

/// A wrong value, for an error; cut, and left out where it may hold credentials.
fn quoted(text: &str) -> String {
    if text.contains('@') {
        return "this value".to_owned();
    }
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(QUOTED_CHARS).collect();
    let rest = if chars.next().is_some() { "…" } else { "" };
    format!("\"{}{rest}\"", start.escape_debug())
}
