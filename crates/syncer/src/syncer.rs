use alloc::collections::BTreeMap;

use cdc_machine::{Backoff, Cause, Effects, Fault, Machine, Retry, StateName};

use crate::facts::Facts;
use crate::outage::is_out_of_reach;
use crate::state::{Connecting, State};
use crate::turn::Turn;
use crate::window::Window;
use crate::{Config, Effect, Held, Input, Partition, WorkerId};

/// The Syncer: reads partitions as far as there is room, routes their records to workers by key, has each
/// worker's rows written in batches, and commits the offsets over what is written without a gap.
///
/// `R` is a record's handle, which passes through unseen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Syncer<R> {
    pub(crate) state: State,
    pub(crate) facts: Facts<R>,
}

impl<R: Clone> Syncer<R> {
    /// A Syncer that waits for [`Input::Start`].
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { state: State::Connecting(Connecting::NotStarted), facts: Facts::new(config) }
    }

    /// What the Syncer waits for.
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
            | State::Streaming
            | State::AwaitingAck
            | State::SavingToken
            | State::Draining(_) => None,
        }
    }

    /// Records from poll to offset commit.
    #[must_use]
    pub fn buffered_records(&self) -> u64 {
        self.facts.partitions.records()
    }

    /// Their bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        self.facts.partitions.bytes()
    }

    /// Of each partition of which records are settled, the offset below which all are.
    pub fn written(&self) -> impl Iterator<Item = (Partition, i64)> + '_ {
        self.facts.partitions.iter().filter_map(|(partition, assignment)| {
            assignment.window().and_then(Window::settled).map(|settled| (partition, settled))
        })
    }

    /// Rows that wait in the database for a unique value, of the partitions in hand.
    #[must_use]
    pub fn parked_rows(&self) -> u64 {
        self.facts.parked.rows()
    }

    /// The partitions whose table cannot be written, and why.
    #[must_use]
    pub const fn holds(&self) -> &BTreeMap<Partition, Held> {
        self.facts.holds.entries()
    }

    /// Inputs that answered what was gone, and changed nothing.
    #[must_use]
    pub const fn stale_inputs(&self) -> u64 {
        self.facts.ignored.stale
    }

    /// Inputs that nothing had asked for, and changed nothing.
    #[must_use]
    pub const fn unexpected_inputs(&self) -> u64 {
        self.facts.ignored.unexpected
    }

    /// Records and rows dropped because their assignment was gone or going.
    #[must_use]
    pub const fn stale_records(&self) -> u64 {
        self.facts.ignored.records
    }

    /// Retries used and allowed towards Kafka, for the log; `None` allows any number.
    #[must_use]
    pub fn kafka_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        let used = self.facts.retries;
        most_used([used.group, used.commit, used.dead_letter], config.retries.kafka)
    }

    /// Retries used and allowed towards PostgreSQL outside of writes, for the log.
    #[must_use]
    pub fn postgres_attempt(&self, config: &Config) -> (u32, Option<u32>) {
        let used = self.facts.retries;
        let used = [used.database, used.acquire, self.facts.outage.retries];
        most_used(used, config.retries.postgres_connect)
    }

    /// Retries used and allowed for a worker's batch that fails so, for the log.
    #[must_use]
    pub fn write_attempt(&self, worker: WorkerId, fault: Fault, config: &Config) -> (u32, Option<u32>) {
        if is_out_of_reach(fault) {
            return self.postgres_attempt(config);
        }
        let used = self.facts.workers.get(worker.0 as usize).map(|worker| worker.retries);
        most_used(used, config.retries.postgres_write)
    }
}

impl<R: Clone> Machine for Syncer<R> {
    type Config = Config;
    type Input = Input<R>;
    type Effect = Effect<R>;

    fn step(&mut self, config: &Config, input: Input<R>, out: &mut Effects<Effect<R>>) {
        if matches!(self.state, State::Stopped(_)) {
            self.facts.ignored.stale += 1;
            return;
        }
        let mut turn = Turn { config, facts: &mut self.facts, out };
        let next = turn.take(self.state, input).and_then(|state| turn.settle(state));
        self.state = next.unwrap_or_else(|cause| {
            out.push(Effect::Stop { cause });
            State::Stopped(cause)
        });
    }
}

fn most_used(used: impl IntoIterator<Item = Backoff>, allowed: Retry) -> (u32, Option<u32>) {
    (used.into_iter().map(|backoff| backoff.retries()).max().unwrap_or(0), allowed.max_retries)
}
