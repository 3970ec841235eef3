//! Requests that the world answers without seeing to anything: any that has no arm of its own in `orders.rs`.

use cdc_machine::{Fault, Sampled};
use cdc_syncer::{CommitFailure, FailedBy, LedgerCheck, Partition, RetryOutcome, Taken, WriteOutcome};

use super::{Message, Outcome, World};

/// How such a request fails, where it does.
struct Plain(Option<Fault>);

impl Sampled<Plain> for Fault {
    fn samples(plain: &Plain) -> Vec<Self> {
        plain.0.into_iter().collect()
    }
}

/// What the world makes itself, to answer the requests that it sees to.
macro_rules! made_elsewhere {
    ($($Reply:ty),+) => {$(
        impl Sampled<Plain> for $Reply {
            fn samples(_: &Plain) -> Vec<Self> {
                Vec::new()
            }
        }
    )+};
}

made_elsewhere!(CommitFailure, FailedBy, LedgerCheck, Partition, RetryOutcome<Message>, Taken, WriteOutcome);

impl World {
    /// Answers one of them; false where none is pending.
    pub(crate) fn answer(&mut self, which: u8, outcome: Outcome) -> bool {
        let pending = self.pending.plain.len();
        if pending == 0 {
            return false;
        }
        let request = self.pending.plain.remove(usize::from(which) % pending);
        let fault = if let Outcome::Bad(fault, _) = outcome { Some(fault) } else { None };
        let mut replies = Vec::new();
        request.replies(&Plain(fault), |reply| replies.push(reply));
        // What was asked for comes first, a failure last.
        let reply = if fault.is_some() { replies.pop() } else { replies.into_iter().next() };
        self.step(reply.expect("the world sees to what it has no samples for"));
        true
    }
}
