use crate::{Backoff, Cause, Context, Dependency, Fault, Retry, TimerEffects, TimerKey};

/// What to do about a fault. Each machine has a `verdict.rs` that says where a fault of a neighbour's means something
/// else than [`Verdict::on`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after a back-off; where no retry is left, end for this cause.
    Retry(Cause),
    /// End, for this cause.
    End(Cause),
}

impl Verdict {
    /// What a fault means by itself, whichever neighbour it came from.
    #[must_use]
    pub const fn on(fault: Fault, from: Dependency) -> Self {
        match fault {
            Fault::Transient | Fault::Unreachable | Fault::RetryNow | Fault::Blocked | Fault::Unfit => {
                Self::again(fault, from)
            }
            Fault::Auth => Self::End(Cause::Refused(from)),
            Fault::Bug => Self::End(Cause::ADAPTER_BUG),
            Fault::Poison | Fault::TooLarge | Fault::HistoryLost | Fault::Fenced | Fault::Fatal => {
                Self::End(Cause::Failed(from))
            }
        }
    }

    /// Another try, as long as there are retries left.
    #[must_use]
    pub const fn again(fault: Fault, from: Dependency) -> Self {
        Self::Retry(Cause::after_retries(fault, from))
    }

    /// Waits for another try as far as there are retries left.
    ///
    /// # Errors
    /// The cause of the end, where there is no other try.
    pub fn back_off<C, K: TimerKey, E: TimerEffects<K>>(
        self,
        timer: K,
        used: &mut Backoff,
        retry: Retry,
        cx: &mut Context<'_, C, K, E>,
    ) -> Result<(), Cause> {
        let exhausted = match self {
            Self::Retry(exhausted) => exhausted,
            Self::End(cause) => return Err(cause),
        };
        let wait = used.next(retry).ok_or(exhausted)?;
        cx.set_timer(timer, wait);
        Ok(())
    }

    /// Waits for nothing: another try comes by itself.
    ///
    /// # Errors
    /// The cause of the end, where there is no other try.
    pub const fn end(self) -> Result<(), Cause> {
        if let Self::End(cause) = self { Err(cause) } else { Ok(()) }
    }
}
