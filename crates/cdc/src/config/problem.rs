use std::fmt;
use std::path::Path;

use super::tree::Origin;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    text: String,
}

/// Files come first, in the order of their lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Written(Origin),
    WholeFile(String),
    Nowhere,
}

impl Problem {
    /// Something wrong at a known place. `text` never holds a value that may be a secret.
    pub(super) fn at(origin: &Origin, text: impl Into<String>) -> Self {
        Self { place: Place::Written(origin.clone()), text: text.into() }
    }

    /// Something wrong with a file as a whole.
    pub(super) fn file(path: &Path, text: impl Into<String>) -> Self {
        Self { place: Place::WholeFile(path.display().to_string()), text: text.into() }
    }

    /// Something that stands nowhere, since it is missing.
    pub(super) fn nowhere(text: impl Into<String>) -> Self {
        Self { place: Place::Nowhere, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Written(origin) => write!(f, "{origin}: {}", self.text),
            Place::WholeFile(path) => write!(f, "{path}: {}", self.text),
            Place::Nowhere => f.write_str(&self.text),
        }
    }
}

/// Everything that is wrong with a configuration, in the order in which it is written.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup();
        Self { problems }
    }

    /// Each problem on its own.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration is refused")?,
            n => write!(f, "the configuration is refused for {n} reasons")?,
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}
