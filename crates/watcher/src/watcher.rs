use cdc_machine::{Backoff, Cause, Effects, Lineage, Machine, Retry, StateName};

use crate::facts::Facts;
use crate::state::{Connecting, State};
use crate::turn::Turn;
use crate::{Config, Contents, Effect, Input, Known};

/// The Watcher: reads a change stream as far as there is room, hands each event to Kafka, and records the
/// position over what Kafka has acknowledged in order.
///
/// `R` is a message's handle, which passes through unseen; `T` is a resume token, of which only the order
/// matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watcher<R, T> {
    pub(crate) state: State,
    pub(crate) facts: Facts<R, T>,
}

impl<R: Clone, T: Clone + Ord> Watcher<R, T> {
    /// A Watcher that waits for [`Input::Start`].
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Connecting(Connecting::NotStarted), facts: Facts::new() }
    }

    /// What the Watcher waits for.
    #[must_use]
    pub const fn state(&self) -> StateName {
        self.state.name()
    }

    /// Why it stopped, once it has.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match self.state {
            State::Stopped(cause) => Some(cause),
            State::Connecting(_)
            | State::Streaming { .. }
            | State::AwaitingAck(_)
            | State::SavingToken { .. }
            | State::Draining { .. } => None,
        }
    }

    /// The lineage of the positions that are given out.
    #[must_use]
    pub const fn lineage(&self) -> Lineage {
        self.facts.lineage
    }

    /// Events read and not yet covered by a saved token: what a crash now would replay.
    #[must_use]
    pub const fn unsaved_events(&self) -> u64 {
        self.facts.window.unsaved_weight()
    }

    /// Messages handed to Kafka and not yet answered.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.facts.window.unsettled()
    }

    /// Of each watched collection, the partitions that its keys are spread among; `None` before its topic was
    /// looked at.
    pub fn recorded_partitions(&self) -> impl Iterator<Item = Option<u32>> + '_ {
        self.facts.known.iter().map(|known| known.and_then(|known| known.partitions))
    }

    /// Of each watched collection, whether it is on record with the position.
    pub fn is_recorded(&self) -> impl Iterator<Item = bool> + '_ {
        self.facts.known.iter().map(Option::is_some)
    }

    /// Of each watched collection, whether the position knows documents of it, or its topic holds messages of them.
    pub fn has_existed(&self) -> impl Iterator<Item = bool> + '_ {
        let is_known = |known: Known| known.holds_messages || matches!(known.contents, Contents::Uuid(_));
        self.facts.known.iter().map(move |known| known.is_some_and(is_known))
    }

    /// Answers to what was gone by then: late or doubled ones, expiries of timers that were replaced.
    #[must_use]
    pub const fn stale_inputs(&self) -> u64 {
        self.facts.ignored.stale
    }

    /// Answers to what was never asked for. Anything but 0 is a bug in whoever drives the machine.
    #[must_use]
    pub const fn unexpected_inputs(&self) -> u64 {
        self.facts.ignored.unexpected
    }

    /// Retries of the change stream used since its last progress, and the most there may be (`None`: no
    /// limit).
    #[must_use]
    pub fn mongodb_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        attempt(self.facts.retries.mongodb, config.retries.mongodb)
    }

    /// The same for Kafka.
    #[must_use]
    pub fn kafka_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        attempt(self.facts.retries.kafka, config.retries.kafka)
    }

    /// The same for the token store: of the lease before it is held, of saves after.
    #[must_use]
    pub fn store_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        let used = match self.state {
            State::Connecting(Connecting::Lease) => self.facts.retries.lease,
            State::Connecting(_)
            | State::Streaming { .. }
            | State::AwaitingAck(_)
            | State::SavingToken { .. }
            | State::Draining { .. }
            | State::Stopped(_) => self.facts.retries.save,
        };
        attempt(used, config.retries.token_store)
    }
}

const fn attempt(used: Backoff, retry: Retry) -> (u32, Option<u32>) {
    (used.retries(), retry.max_retries)
}

impl<R: Clone, T: Clone + Ord> Default for Watcher<R, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Clone, T: Clone + Ord> Machine for Watcher<R, T> {
    type Config = Config;
    type Input = Input<R, T>;
    type Effect = Effect<R, T>;

    fn step(&mut self, config: &Config, input: Input<R, T>, out: &mut Effects<Effect<R, T>>) {
        if let State::Stopped(_) = self.state {
            self.facts.ignore(true);
            return;
        }
        let mut turn = Turn { config, facts: &mut self.facts, out };
        let state = turn.take(self.state, input);
        self.state = turn.settle(state);
    }
}
