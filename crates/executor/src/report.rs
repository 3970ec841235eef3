//! Failures, on their way into the log. A failure is logged once, here, where the machine has heard of it.

use std::fmt;

use cdc_machine::Dependency;

use cdc_ports::Failure;

/// Where a failed operation stands in its retry schedule.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempt {
    /// Retries used so far.
    pub(crate) retry: u32,
    /// The most retries; `None` for unlimited.
    pub(crate) max: Option<u32>,
}

/// The first try is not a retry: with five there are six.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried = self.retry.saturating_add(1);
        match self.max {
            Some(max) => write!(f, "try {tried} of {}", max.saturating_add(1)),
            None => write!(f, "try {tried}"),
        }
    }
}

impl From<(u32, Option<u32>)> for Attempt {
    fn from((retry, max): (u32, Option<u32>)) -> Self {
        Self { retry, max }
    }
}

/// Logs one failure with everything that the error tables ask for.
pub(crate) fn failure(service: &'static str, state: &'static str, failure: &Failure, attempt: Attempt) {
    let max_retries = attempt.max.map_or_else(|| "unlimited".to_owned(), |max| max.to_string());
    let class = if failure.fault.is_retryable() { "retryable" } else { "non_retryable" };
    tracing::error!(
        service,
        state,
        operation = failure.operation,
        error_type = class,
        fault = failure.fault.as_str(),
        error = %failure.chain(),
        stack_trace = %failure.stack_trace,
        retry_attempt = attempt.retry,
        max_retries = %max_retries,
        "operation failed"
    );
}

/// Logs that a neighbour with nothing to do did not answer. Nothing is retried for it: only health is told.
pub(crate) fn no_sign_of_life(service: &'static str, from: Dependency, failure: &Failure) {
    tracing::warn!(
        service,
        operation = failure.operation,
        dependency = from.as_str(),
        fault = failure.fault.as_str(),
        error = %failure.chain(),
        "no sign of life"
    );
}
