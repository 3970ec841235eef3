//! Why a server or a service did not do what a test asked of it.

use std::{error, fmt, fs, io, path::Path};

/// Lines of a log shown with an error: enough for the cause, few enough to read.
const LOG_TAIL_LINES: usize = 25;

/// A server or service that did not start, stop or answer: which one, what happened, what to do, its last log lines.
#[derive(Debug)]
pub struct Error {
    subject: String,
    message: String,
    log: Option<String>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), message: message.into(), log: None, source: None }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the end of the log at `path`; one that cannot be read is named instead of shown.
    pub(crate) fn with_log(mut self, path: &Path) -> Self {
        self.log = Some(match fs::read(path) {
            Ok(bytes) => tail(&path.display().to_string(), &String::from_utf8_lossy(&bytes)),
            Err(error) => format!("its log {} cannot be read: {error}", path.display()),
        });
        self
    }

    pub(crate) fn io(subject: impl Into<String>, action: impl Into<String>, source: io::Error) -> Self {
        Self::new(subject, action).with_source(source)
    }
}

fn tail(name: &str, text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
    if shown.is_empty() {
        format!("its log {name} is empty")
    } else {
        format!("the last lines of {name}:\n  {}", shown.join("\n  "))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        if let Some(log) = &self.log {
            write!(f, "\n{log}")?;
        }
        Ok(())
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_only_the_end_of_a_long_log() {
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let shown = tail("kafka.log", &text);
        assert!(shown.starts_with("the last lines of kafka.log:\n  line 75\n"), "{shown}");
        assert!(shown.ends_with("line 99"), "{shown}");
    }

    #[test]
    fn names_the_server_the_cause_and_the_log() {
        let error = Error::io("redis", "could not be spawned", io::Error::other("no such file"))
            .with_log(Path::new("/nonexistent/redis.log"));
        let shown = error.to_string();
        assert!(shown.starts_with("redis: could not be spawned: no such file\n"), "{shown}");
        assert!(shown.contains("/nonexistent/redis.log cannot be read"), "{shown}");
    }
}
