//! The configuration before it has types: a tree whose every node knows where it came from, so that each
//! error can name a file, a line and a column.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a key or a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// In a file; line and column count from 1.
    File { path: Arc<Path>, line: usize, column: usize },
    /// In an environment variable of this name.
    Variable(Arc<str>),
    /// On the command line, with `--set`.
    Flag(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(key) => write!(f, "--set {key}"),
        }
    }
}

/// A value and where it was written.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) content: Content,
}

/// What a node holds. Scalars stay text until a key's own type reads them: YAML's guesses (`no`, `1e5`,
/// `0123`) would alter a password before anybody saw it.
#[derive(Clone)]
pub(super) enum Content {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a section.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) origin: Origin,
    pub(super) node: Node,
}

impl Node {
    /// An empty section.
    pub(super) fn section(origin: Origin) -> Self {
        Self { origin, content: Content::Map(Vec::new()) }
    }

    /// The value under a key of a section.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Content::Null | Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// What stands between commas, where this was written outside a file: a list has no other spelling there.
    pub(super) fn between_commas(&self) -> Option<impl Iterator<Item = &str>> {
        match (&self.content, &self.origin) {
            (Content::Scalar(text), Origin::Variable(_) | Origin::Flag(_)) => {
                Some(text.split(',').map(str::trim))
            }
            _ => None,
        }
    }

    /// Lays another tree over this one: sections merge key by key, everything else is replaced.
    pub(super) fn overlay(&mut self, over: Self) {
        match (&mut self.content, over.content) {
            (Content::Map(entries), Content::Map(overs)) => {
                for over in overs {
                    match entries.iter_mut().find(|entry| entry.key == over.key) {
                        Some(entry) => entry.node.overlay(over.node),
                        None => entries.push(over),
                    }
                }
            }
            (content, over_content) => {
                *content = over_content;
                self.origin = over.origin;
            }
        }
    }
}

/// A key with its value, as both are written outside a file.
pub(super) fn pair(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
}
