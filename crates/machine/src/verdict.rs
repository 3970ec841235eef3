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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    proptest! {
        /// Feature: cdc-pipeline, Property 26: Error Type Classification
        /// Validates: Requirements 12.5
        ///
        /// Every fault is either tried again, with as many retries as there are, or the end, for one cause that says of
        /// whom.
        #[test]
        fn what_a_retry_mends_is_retried_as_often_as_allowed_and_all_else_ends(
            fault in select(Fault::ALL.to_vec()),
            from in select(Dependency::ALL.to_vec()),
            limit in 0_u32..8,
        ) {
            // What lies in another row's hands may pass, too.
            let may_pass = fault.is_retryable() || fault == Fault::Blocked;
            match Verdict::on(fault, from) {
                Verdict::Retry(exhausted) => {
                    prop_assert!(may_pass);
                    prop_assert!(matches!(
                        exhausted,
                        Cause::Unavailable(of) | Cause::Unsupported(of) if of == from
                    ));
                    let mut backoff = Backoff::new();
                    let retries = core::iter::from_fn(|| backoff.next(Retry::times(limit))).count();
                    prop_assert_eq!(retries, limit as usize);
                }
                Verdict::End(cause) => {
                    prop_assert!(!may_pass);
                    prop_assert_eq!(Verdict::on(fault, from).end(), Err(cause));
                    let expected = if fault == Fault::Auth {
                        Cause::Refused(from)
                    } else if fault == Fault::Bug {
                        Cause::ADAPTER_BUG
                    } else {
                        Cause::Failed(from)
                    };
                    prop_assert_eq!(cause, expected);
                }
            }
        }
    }
}
