//! A place in the tree, and what can be found and said there. Nothing stops at the first error: a reader always returns
//! something, and [`read_tree`] refuses the whole if anything was wrong.

use std::cell::RefCell;

use super::described::Described;
use super::findings::Findings;
use super::layers::{missing, variable_of};
use super::problem::{ConfigError, Problem};
use super::tree::{Content, Node};

/// What reading a whole tree came to.
pub(super) struct Reading<T> {
    /// What was made, or everything that is wrong.
    pub(super) value: Result<T, ConfigError>,
    /// The options, in the order in which they were read.
    pub(super) options: Vec<Described>,
}

/// Reads a whole tree: `read` gets the top section.
pub(super) fn read_tree<T>(root: &Node, read: impl FnOnce(&mut Section<'_>) -> T) -> Reading<T> {
    let findings = RefCell::new(Findings::default());
    let value = read(&mut Section { root, findings: &findings, path: String::new() });
    let (problems, options) = findings.into_inner().close(root);
    let value = if problems.is_empty() { Ok(value) } else { Err(ConfigError::new(problems)) };
    Reading { value, options }
}

/// One section of the configuration, perhaps absent: then every key has its default. Keys are paths below it.
pub(super) struct Section<'r> {
    root: &'r Node,
    findings: &'r RefCell<Findings>,
    path: String,
}

impl<'r> Section<'r> {
    /// Reads a section below this one.
    pub(super) fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        read(&mut Section { root: self.root, findings: self.findings, path: self.path_of(key) })
    }

    /// Keys whose mechanism does not exist yet: refused with these words, never ignored.
    pub(super) fn not_available(&mut self, keys: &[&str]) {
        for key in keys {
            if let Some(node) = self.node(key) {
                self.refuse(key, node, "not available yet; take this key out");
            }
        }
    }

    /// The node under a key, which is known from now on; `None` also for YAML's null, which means the default.
    pub(super) fn node(&mut self, key: &str) -> Option<&'r Node> {
        let path = self.path_of(key);
        self.findings.borrow_mut().know(path.clone());
        let mut node = self.root;
        for (at, _) in path.match_indices('.').chain([(path.len(), "")]) {
            let name = path[..at].rsplit('.').next().unwrap_or_default();
            match &node.content {
                Content::Map(_) => node = &node.get(name)?.node,
                Content::Null => return None,
                Content::Scalar(_) | Content::List(_) => {
                    let section = path[..at].rsplit_once('.').map_or("", |(section, _)| section);
                    let text = format!("{section}: a section with keys of its own is expected here");
                    self.findings.borrow_mut().refuse(Problem::at(&node.origin, text));
                    return None;
                }
            }
        }
        Some(node).filter(|node| !matches!(node.content, Content::Null))
    }

    /// What stands under a key, YAML's null included.
    fn written(&self, key: &str) -> Option<&'r Node> {
        self.path_of(key).split('.').try_fold(self.root, |node, name| Some(&node.get(name)?.node))
    }

    /// Refuses a key of this section for a reason that lies in several keys, at the place of the first one
    /// that is written anywhere.
    pub(super) fn contradiction(&self, keys: &[&str], text: &str) {
        let written = keys.iter().find_map(|key| Some((key, self.written(key)?)));
        let first = keys.first().copied().unwrap_or_default();
        let problem = match written {
            Some((key, node)) => Problem::at(&node.origin, format!("{}: {text}", self.path_of(key))),
            None => missing(self.root, format!("{}: {text}", self.path_of(first))),
        };
        self.findings.borrow_mut().refuse(problem);
    }

    /// Refuses what lacks a key.
    pub(super) fn require(&mut self, key: &str) {
        if self.node(key).is_none() {
            let (path, variable) = (self.path_of(key), variable_of(&self.path_of(key)));
            let text = format!("{path} is missing; write it in the file or set {variable}");
            self.findings.borrow_mut().refuse(missing(self.root, text));
        }
    }

    /// Takes over what is wrong with a part that was read by itself.
    pub(super) fn adopt(&self, problem: Problem) {
        self.findings.borrow_mut().refuse(problem);
    }

    /// Refuses what is written under a key.
    pub(super) fn refuse(&self, key: &str, node: &Node, text: &str) {
        let problem = Problem::at(&node.origin, format!("{}: {text}", self.path_of(key)));
        self.findings.borrow_mut().refuse(problem);
    }

    /// Says what an option is.
    pub(super) fn describe(&self, option: Described) {
        self.findings.borrow_mut().describe(option);
    }

    /// The option at a path is capped by another one: says so, and refuses it if it is greater.
    pub(super) fn cap(&mut self, key: &'static str, cap: &'static str, is_greater: bool) {
        let value_of =
            |key| self.findings.borrow_mut().option(&self.path_of(key)).map(|option| option.value.clone());
        let (value, most) = (value_of(key).unwrap_or_default(), value_of(cap).unwrap_or_default());
        if let Some(option) = self.findings.borrow_mut().option(&self.path_of(key)) {
            option.cap = Some(cap);
        }
        if is_greater {
            self.contradiction(&[key, cap], &format!("{value} is more than {cap} ({most})"));
        }
    }

    /// A key's path from the top.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
