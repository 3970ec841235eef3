//! Reading keys, each with its type, its legal values and its default: what `options!` names after the arrow.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;
use cdc_machine::{Key, Number, Retry, Visitor, Word};

use super::described::{self, Described, Preset, Shape, first_paragraph};
use super::section::Section;
use super::tree::{Content, Node, pair};

/// The longest piece of a wrong value that an error repeats, in characters.
const QUOTED_CHARS: usize = 60;

/// The most retries that are not unlimited.
const RETRIES_MAX: u32 = 1_000_000;

/// The word for retries without a bound.
const UNLIMITED: &str = "unlimited";

/// A share that is all, in millionths.
const WHOLE: u32 = 1_000_000;

impl Section<'_> {
    /// A single value of any type. `None` where it is absent or was refused.
    pub(super) fn scalar<T>(
        &mut self,
        key: &str,
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

    /// Says what a key is; `value` is what was read.
    pub(super) fn tell(&self, key: &str, text: &str, shape: Shape, preset: Preset, value: impl Display) {
        let (path, text, value) = (self.path_of(key), first_paragraph(text), value.to_string());
        self.describe(Described { path, text, shape, preset, cap: None, value });
    }

    /// Text that not every text is. `None` where it is absent or was refused.
    pub(super) fn value<T>(
        &mut self,
        key: Key,
        legal: &str,
        preset: Preset,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.tell(key.path, key.text, Shape::Text(Some(legal.to_owned())), preset, "");
        self.scalar(key.path, legal, parse)
    }

    /// Text that is not empty, where there is any.
    pub(super) fn text(&mut self, key: Key, value: &mut Option<String>, preset: Preset) {
        self.tell(key.path, key.text, Shape::Text(None), preset, "");
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        *value = self.scalar(key.path, "text that is not empty", text).or_else(|| value.take());
    }

    /// Text that must be given. What is left without it never leaves: the configuration is refused.
    pub(super) fn required_text(&mut self, key: Key, value: &mut String) {
        self.require(key.path);
        let mut text = None;
        self.text(key, &mut text, Preset::Required);
        *value = text.unwrap_or_default();
    }

    /// One value or a list, that must be given.
    pub(super) fn required_list(&mut self, key: Key, value: &mut Vec<String>) {
        self.require(key.path);
        self.tell(key.path, key.text, Shape::List, Preset::Required, "");
        *value = self.list(key.path).unwrap_or_default();
    }

    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        let items: Option<Vec<String>> = match (node.between_commas(), &node.content) {
            (Some(items), _) => Some(items.map(str::to_owned).collect()),
            (None, Content::Null | Content::Map(_)) => None,
            (None, Content::Scalar(text)) => Some(vec![text.clone()]),
            (None, Content::List(items)) => items
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

    /// Keys that are not ours, each with one value that may be a password.
    pub(super) fn free_keys(&mut self, key: Key, preset: Preset) -> Vec<(String, String)> {
        self.tell(key.path, key.text, Shape::Pairs { is_secret: true }, preset, "");
        let Some(node) = self.node(key.path) else { return Vec::new() };
        self.pairs_of(key.path, node)
    }

    /// Keys that are not ours, and outside a file `key=value,key=value`: names with dots and capitals are no part of a
    /// variable's.
    pub(super) fn free_pairs(&mut self, key: Key, preset: Preset) -> Vec<(String, String)> {
        self.tell(key.path, key.text, Shape::Pairs { is_secret: false }, preset, "");
        let Some(node) = self.node(key.path) else { return Vec::new() };
        if !matches!(node.content, Content::Scalar(_)) {
            return self.pairs_of(key.path, node);
        }
        let pairs: Option<Vec<_>> = node.between_commas().and_then(|pairs| {
            pairs.map(|it| pair(it).map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
        });
        match pairs {
            Some(pairs) => pairs,
            None => {
                let text = "legal: a section with keys of its own; outside a file key=value,key=value";
                self.refuse(key.path, node, text);
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

    /// Refuses words that will mean something one day; true if it did.
    fn refuse_later(&mut self, key: &str, later: &[&str], legal: &str) -> bool {
        let soon = self.node(key).filter(|node| match &node.content {
            Content::Scalar(text) => later.contains(&text.as_str()),
            Content::Null | Content::List(_) | Content::Map(_) => false,
        });
        if let Some(node) = soon {
            self.refuse(key, node, &format!("this value is not available yet; legal: {legal}"));
        }
        soon.is_some()
    }
}

impl Visitor for Section<'_> {
    fn number<N: Number>(&mut self, key: Key, value: &mut N, legal: RangeInclusive<N>) {
        let (from, to) = (legal.start().to_string(), legal.end().to_string());
        let (text, preset) = (format!("a whole number from {from} to {to}"), Preset::Is(value.to_string()));
        let read = self.scalar(key.path, &text, |text| text.parse().ok().filter(|it| legal.contains(it)));
        *value = read.unwrap_or(*value);
        self.tell(key.path, key.text, Shape::Number { from, to }, preset, *value);
    }

    fn duration(&mut self, key: Key, value: &mut Duration, legal: RangeInclusive<Duration>) {
        let (from, to) = (*legal.start(), *legal.end());
        let say = humantime::format_duration;
        let (example, first, last) = (say(*value), say(from), say(to));
        let text = format!("a duration with its unit, such as \"{example}\", from {first} to {last}");
        let preset = Preset::Is(described::duration(*value));
        let read = self.scalar(key.path, &text, |text| {
            humantime::parse_duration(text).ok().filter(|it| legal.contains(it))
        });
        *value = read.unwrap_or(*value);
        self.tell(key.path, key.text, Shape::Duration { from, to }, preset, say(*value));
    }

    fn bytes(&mut self, key: Key, value: &mut u64, legal: RangeInclusive<u64>) {
        let (from, to) = (*legal.start(), *legal.end());
        let (example, first, last) = (ByteSize(*value), ByteSize(from), ByteSize(to));
        let text = format!("a size such as \"{example}\", from {first} to {last}");
        let preset = Preset::Is(described::bytes(*value));
        let size = |text: &str| text.parse().ok().map(|size: ByteSize| size.as_u64());
        let read = self.scalar(key.path, &text, |text| size(text).filter(|size| legal.contains(size)));
        *value = read.unwrap_or(*value);
        self.tell(key.path, key.text, Shape::Bytes { from, to }, preset, ByteSize(*value));
    }

    /// Written as plain digits: `0.5`.
    fn share(&mut self, key: Key, value: &mut u32) {
        let preset = Preset::Is(described::share(*value));
        let read = self.scalar(key.path, "a share from 0 to 1, such as 0.5", millionths);
        *value = read.unwrap_or(*value);
        self.tell(key.path, key.text, Shape::Share, preset, described::share(*value));
    }

    fn retries(&mut self, key: Key, value: &mut Retry) {
        let say = |it: Retry| it.max_retries.map_or_else(|| UNLIMITED.to_owned(), |times| times.to_string());
        let legal = format!("a whole number from 0 to {RETRIES_MAX}, or \"{UNLIMITED}\"");
        let preset = Preset::Is(say(*value));
        let read = self.scalar(key.path, &legal, |text| match text {
            UNLIMITED => Some(Retry::UNLIMITED),
            number => number.parse().ok().filter(|times| *times <= RETRIES_MAX).map(Retry::times),
        });
        *value = read.unwrap_or(*value);
        let shape = Shape::NumberOr { from: 0, to: RETRIES_MAX, other: UNLIMITED };
        self.tell(key.path, key.text, shape, preset, say(*value));
    }

    fn word<W: Word>(&mut self, key: Key, value: &mut W) {
        let legal = W::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", ");
        let words = W::ALL.iter().map(|word| (word.as_str(), first_paragraph(word.text()))).collect();
        let preset = Preset::Is(value.as_str().to_owned());
        if !self.refuse_later(key.path, W::LATER, &legal) {
            let named = |text: &str| W::ALL.iter().copied().find(|word| word.as_str() == text);
            *value = self.scalar(key.path, &legal, named).unwrap_or(*value);
        }
        self.tell(key.path, key.text, Shape::Words(words), preset, value.as_str());
    }

    /// `true` or `false`, and none of YAML's other spellings.
    fn switch(&mut self, key: Key, value: &mut bool) {
        let preset = Preset::Is(value.to_string());
        *value = self.scalar(key.path, "true, false", |text| text.parse().ok()).unwrap_or(*value);
        self.tell(key.path, key.text, Shape::Switch, preset, *value);
    }

    fn at_most(&mut self, path: &'static str, cap: &'static str, is_greater: bool) {
        self.cap(path, cap, is_greater);
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
    let share = whole.parse::<u32>().ok()?.checked_mul(WHOLE)?.checked_add(fraction)?;
    (share <= WHOLE).then_some(share)
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
