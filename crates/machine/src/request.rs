//! A request as an observer sees it: what it is recognised by, what answers it, and whether the answer is a failure.

use crate::{EffectId, Epoch, Fault};

/// Whether the reply to a request tells of a failure. Diagrams, logs and traces tell the two apart.
pub trait Reply {
    /// The failure in one word of a closed list; `None` where there was none.
    fn failure(&self) -> Option<&'static str>;

    /// True for a failure.
    fn is_failure(&self) -> bool {
        self.failure().is_some()
    }
}

impl<T, E: FailureWord> Reply for Result<T, E> {
    fn failure(&self) -> Option<&'static str> {
        self.as_ref().err().map(FailureWord::word)
    }
}

/// A reply that comes either way, or only with what was asked for.
impl Reply for () {
    fn failure(&self) -> Option<&'static str> {
        None
    }
}

/// Why a request was not met, in one word of a closed list.
pub trait FailureWord {
    /// The word.
    fn word(&self) -> &'static str;
}

impl FailureWord for Fault {
    fn word(&self) -> &'static str {
        self.as_str()
    }
}

/// A request, for whoever follows from outside what is out: [`requests!`](crate::requests) tells of each effect which
/// one it is, and of each input which one it answers. The end of a back-off is waited for like a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The effect's name; of a back-off `BackOff` and its timer.
    pub name: &'static str,
    /// Tells it from others of its name.
    pub key: u64,
    /// Part of the work itself, such as a fetch or a write: there are as many as batches.
    pub is_of_batch: bool,
}

/// An input that ends what a [`Request`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The request.
    pub request: Request,
    /// Why it was not met, where it was not.
    pub failure: Option<&'static str>,
}

/// What a request is recognised by.
pub trait RequestKey {
    /// The key of a request that was never made.
    const NEVER: Self;

    /// A number; of several parts, one that tells their combinations apart.
    fn number(&self) -> u64;
}

impl RequestKey for EffectId {
    const NEVER: Self = Self(u64::MAX);

    fn number(&self) -> u64 {
        self.0
    }
}

impl RequestKey for Epoch {
    const NEVER: Self = Self(u64::MAX);

    fn number(&self) -> u64 {
        self.0
    }
}

/// One number for the parts of a request's key. The first is a small one (a worker, or the place of a timer), the last
/// one counts.
#[must_use]
pub fn request_key(parts: &[u64]) -> u64 {
    const FIRST_PART_SHIFT: u32 = 48;
    parts.iter().fold(0, |key, part| key.rotate_left(FIRST_PART_SHIFT) ^ part)
}
