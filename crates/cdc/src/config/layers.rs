//! The layers above the defaults: OpenTelemetry's variables, then files, then `CDC__…` variables, then `--set`; the later
//! one wins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::problem::{ConfigError, Problem};
use super::standard_variables::{self, Given};
use super::tree::{Content, Entry, Node, Origin};
use super::yaml;

/// Environment variables with this prefix are keys. The second underscore keeps them apart from the
/// `CDC_SERVICE_HOST` and the like that Kubernetes injects for a service named `cdc`.
const PREFIX: &str = "CDC__";

/// Where a configuration comes from. Nothing else is looked at, the process's environment included.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The files, in the order of the command line.
    pub files: Vec<PathBuf>,
    /// The environment; variables without the prefix `CDC__` are not looked at, but for OpenTelemetry's own.
    pub environment: BTreeMap<String, String>,
    /// `key=value` as given with `--set`.
    pub overrides: Vec<String>,
}

impl Sources {
    /// These files and overrides, and this process's environment. Variables that are not Unicode are left
    /// out: no key is spelled so.
    #[must_use]
    pub fn from_process(files: Vec<PathBuf>, overrides: Vec<String>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { files, environment, overrides }
    }

    /// One tree out of all layers.
    pub(super) fn tree(&self) -> Result<Node, ConfigError> {
        let mut problems = Vec::new();
        let mut root = Node::section(Origin::Flag("".into()));
        for path in &self.files {
            match yaml::read_file(path) {
                Ok(file) => {
                    root.origin = file.origin.clone();
                    root.overlay(file);
                }
                Err(problem) => problems.push(problem),
            }
        }
        for (name, value) in &self.environment {
            if let Some(key) = name.strip_prefix(PREFIX) {
                let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
                let origin = Origin::Variable(name.as_str().into());
                problems.extend(set(&mut root, &path, value, &origin).err());
            }
        }
        for argument in &self.overrides {
            problems.extend(apply_override(&mut root, argument).err());
        }
        for Given { path, value, variable } in standard_variables::given(&root, &self.environment) {
            problems.extend(set(&mut root, &path, &value, &Origin::Variable(variable.into())).err());
        }
        if problems.is_empty() { Ok(root) } else { Err(ConfigError::new(problems)) }
    }
}

/// Sections whose keys are somebody else's and hold dots: librdkafka's properties, topics, attributes.
const FREE: [&str; 3] = ["properties", "namespaces", "resource_attributes"];

fn apply_override(root: &mut Node, argument: &str) -> Result<(), Problem> {
    let Some((key, value)) = argument.split_once('=') else {
        return Err(Problem::nowhere(format!(
            "--set {argument}: write --set key=value, such as kafka.topic=orders"
        )));
    };
    let mut path: Vec<String> = Vec::new();
    let mut rest = key;
    while path.last().is_none_or(|last| !FREE.contains(&last.as_str()))
        && let Some((head, tail)) = rest.split_once('.')
    {
        path.push(head.to_owned());
        rest = tail;
    }
    path.push(rest.to_owned());
    set(root, &path, value, &Origin::Flag(key.into()))
}

/// Puts one value into the tree, making the sections that it needs.
fn set(root: &mut Node, path: &[String], value: &str, origin: &Origin) -> Result<(), Problem> {
    let Some((last, sections)) = path.split_last().filter(|_| path.iter().all(|part| !part.is_empty()))
    else {
        return Err(Problem::at(origin, "the name of a key has an empty part"));
    };
    let mut node = root;
    for section in sections {
        node = child(node, section, origin)?;
        if matches!(node.content, Content::Null) {
            node.content = Content::Map(Vec::new());
        }
    }
    let target = child(node, last, origin)?;
    *target = Node { origin: origin.clone(), content: Content::Scalar(value.to_owned()) };
    Ok(())
}

fn child<'n>(node: &'n mut Node, key: &str, origin: &Origin) -> Result<&'n mut Node, Problem> {
    let Content::Map(entries) = &mut node.content else {
        let place = &node.origin;
        return Err(Problem::at(origin, format!("{key} has no place: {place} holds a value, not a section")));
    };
    let at = match entries.iter().position(|entry| entry.key == key) {
        Some(at) => at,
        None => {
            let node = Node { origin: origin.clone(), content: Content::Null };
            entries.push(Entry { key: key.to_owned(), origin: origin.clone(), node });
            entries.len() - 1
        }
    };
    Ok(&mut entries[at].node)
}

/// The environment variable that sets a key.
#[must_use]
pub fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// True where the origin of a key calls for the spelling of variables.
pub(super) fn is_variable(origin: &Origin) -> bool {
    matches!(origin, Origin::Variable(_))
}

/// A name for the place of what is missing.
pub(super) fn missing(root: &Node, text: impl Into<String>) -> Problem {
    match &root.origin {
        Origin::File { path, .. } => Problem::file(path, text),
        Origin::Variable(_) | Origin::Flag(_) => Problem::nowhere(text),
    }
}
