use std::error::Error;
use std::fmt;

use cdc_machine::Fault;

use crate::StackTrace;

/// A failure at a port: what the machine has to know, and what a person has to read.
pub struct Failure {
    /// The classification, which is all that a machine sees.
    pub fault: Fault,
    /// What was being done, in snake case: `kafka_publish`, `token_save`.
    pub operation: &'static str,
    /// What happened, to what, and what to do next. Never a document's contents, never a credential.
    pub message: String,
    /// The same in a few words for `/health`: `127.0.0.1:1: connection refused`. The whole chain where there are none.
    pub brief: Option<Box<str>>,
    /// The driver's own error, whose chain is logged.
    pub source: Option<Box<dyn Error + Send + Sync>>,
    /// Where the failure was classified.
    pub stack_trace: StackTrace,
}

impl Failure {
    /// A failure without a driver's error beneath it.
    #[must_use]
    pub fn new(fault: Fault, operation: &'static str, message: impl Into<String>) -> Self {
        let (message, stack_trace) = (message.into(), StackTrace::capture());
        Self { fault, operation, message, brief: None, source: None, stack_trace }
    }

    /// The same, with a few words for `/health`.
    #[must_use]
    pub fn in_brief(mut self, words: impl Into<Box<str>>) -> Self {
        self.brief = Some(words.into());
        self
    }

    /// What `/health` says of it, after the neighbour's name.
    #[must_use]
    pub fn words(&self) -> String {
        self.brief.as_ref().map_or_else(|| format!(": {}", self.chain()), |brief| format!(" {brief}"))
    }

    /// The same, caused by a driver's error.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The chain of causes, outermost first, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.message.clone();
        let mut next: Option<&(dyn Error + 'static)> = self.source.as_deref().map(|e| e as _);
        while let Some(error) = next {
            // Some drivers' errors repeat what is beneath them.
            let text = error.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            next = error.source();
        }
        line
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.operation, self.fault, self.chain())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Failure {}
