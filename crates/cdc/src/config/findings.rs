//! What reading finds out: what is wrong, which keys there are, and what each of them is.

use super::described::Described;
use super::layers::{is_variable, variable_of};
use super::problem::Problem;
use super::tree::{Content, Entry, Node};

/// How alike two keys must be for one to be suggested for the other, in Jaro-Winkler's measure.
const LIKENESS: f64 = 0.84;

/// What has been found while reading.
#[derive(Default)]
pub(super) struct Findings {
    problems: Vec<Problem>,
    known: Vec<String>,
    options: Vec<Described>,
}

impl Findings {
    /// A problem, once.
    pub(super) fn refuse(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// An option that was read.
    pub(super) fn describe(&mut self, option: Described) {
        self.options.push(option);
    }

    /// A key that is looked at, and with it whatever stands below.
    pub(super) fn know(&mut self, path: String) {
        if !self.known.contains(&path) {
            self.known.push(path);
        }
    }

    /// Everything that is wrong, the keys of the tree that nobody has looked at among it; and the options.
    pub(super) fn close(mut self, root: &Node) -> (Vec<Problem>, Vec<Described>) {
        if let Content::Map(entries) = &root.content {
            self.find_unknown(entries, "");
        }
        (self.problems, self.options)
    }

    /// The option that was read under a path.
    pub(super) fn option(&mut self, path: &str) -> Option<&mut Described> {
        self.options.iter_mut().find(|option| option.path == path)
    }

    fn is_section(&self, path: &str) -> bool {
        self.known.iter().any(|key| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Refuses the keys of a section that nobody has looked at.
    fn find_unknown(&mut self, entries: &[Entry], section: &str) {
        for entry in entries {
            let path =
                if section.is_empty() { entry.key.clone() } else { format!("{section}.{}", entry.key) };
            if self.known.contains(&path) {
                continue;
            }
            match &entry.node.content {
                Content::Map(inner) if self.is_section(&path) => self.find_unknown(inner, &path),
                // A section that is none was told of by whoever looked into it.
                Content::Null | Content::Scalar(_) | Content::List(_) if self.is_section(&path) => {}
                Content::Null | Content::Scalar(_) | Content::List(_) | Content::Map(_) => {
                    let problem = self.unknown(path, entry);
                    self.problems.push(problem);
                }
            }
        }
    }

    fn unknown(&self, mut path: String, mut entry: &Entry) -> Problem {
        // One variable makes a chain of sections; its last part is what was meant.
        while is_variable(&entry.origin)
            && let Content::Map(inner) = &entry.node.content
            && let [only] = inner.as_slice()
        {
            path = format!("{path}.{}", only.key);
            entry = only;
        }
        let text = match self.like(&path) {
            Some(meant) if is_variable(&entry.origin) => {
                format!("unknown key {path}; did you mean {}?", variable_of(meant))
            }
            Some(meant) => format!("unknown key {path}; did you mean {meant}?"),
            None => format!("unknown key {path}"),
        };
        Problem::at(&entry.origin, text)
    }

    /// The key that was meant, perhaps.
    fn like(&self, path: &str) -> Option<&String> {
        let leaf = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        // The same word in another section is a likelier slip than another word.
        let moved = self.known.iter().find(|key| leaf(key) == leaf(path)).map(|key| (1.0, key));
        let alike = self.known.iter().map(|key| (strsim::jaro_winkler(key, path), key));
        let best = alike.chain(moved).filter(|(likeness, _)| *likeness >= LIKENESS);
        best.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
    }
}
