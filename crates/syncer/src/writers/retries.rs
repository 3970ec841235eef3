use core::time::Duration;

use cdc_machine::{Backoff, Cause, Dependency, Fault};

use crate::Config;

/// How often in a row a worker's retries start over because others have gone on. Beyond that the rows will hardly ever
/// get their turn, and a lag that grows in silence is worse than an end that says why.
pub(crate) const OVERTAKEN_MAX: u32 = 20;

/// Retries in a row without a wait: two workers that deadlock again and again must not spin.
const IMMEDIATE_RETRIES_MAX: u32 = 2;

/// How often one worker's batch was tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct WriteRetries {
    used: Backoff,
    /// Whether another worker has written since the first of these retries.
    is_overtaken: bool,
    /// How often these retries have started over for that since rows of its own last went through.
    overtaken: u32,
}

impl WriteRetries {
    /// Uses up one; the wait in front of it, where it is not made at once.
    pub(crate) fn next(&mut self, fault: Fault, config: &Config) -> Result<Option<Duration>, Cause> {
        let retry = config.retries.postgres_write;
        let is_contended = fault == Fault::RetryNow;
        let is_used_up = retry.max_retries.is_some_and(|max| self.used.retries() >= max);
        if is_contended && is_used_up && self.is_overtaken && self.overtaken < OVERTAKEN_MAX {
            // Those that were in the way have gone on: that is the pipeline's progress, if not this worker's.
            self.overtaken += 1;
            self.forget();
        }
        let is_immediate = is_contended && !self.is_deadlocked_again();
        let wait = self.used.next(retry);
        let wait = wait.ok_or_else(|| Cause::after_retries(fault, Dependency::Postgres))?;
        Ok((!is_immediate).then_some(wait))
    }

    pub(super) const fn used(&self) -> Backoff {
        self.used
    }

    /// Two workers may deadlock over the same rows again and again.
    pub(crate) const fn is_deadlocked_again(&self) -> bool {
        self.used.retries() >= IMMEDIATE_RETRIES_MAX
    }

    /// The schedule starts over.
    pub(crate) fn forget(&mut self) {
        self.used.reset();
        self.is_overtaken = false;
    }

    /// Rows of the worker's own went through.
    pub(super) fn go_on(&mut self) {
        self.overtaken = 0;
        self.forget();
    }

    /// Another worker's transaction went through.
    pub(super) const fn be_overtaken(&mut self) {
        self.is_overtaken |= self.used.retries() > 0;
    }
}
