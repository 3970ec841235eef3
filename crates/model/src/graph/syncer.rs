//! The Syncer's state diagram and its state × input table.

mod inputs;
mod outstanding;
#[cfg(test)]
mod tests;

use std::time::Duration;

use cdc_machine::{Effects, Machine, Retry, StateName};
use cdc_syncer::{
    CommitFailure, Config, Effect, Input, LedgerCheck, OffsetPolicy, OnBadRecord, OnTableError,
    OnUniqueViolation, Partition, Retries, RetryOutcome, StopAfter, Syncer, Taken, TimerKind, Topic,
    WorkerId, WriteOutcome,
};

use self::inputs::{GONE, MOVED_ON, Situation};
use self::outstanding::Outstanding;
use crate::explore::{Explore, Transitions, explore};

/// Situations that one exploration visits at most; the small machines have fewer.
const SITUATIONS_MAX: usize = 60_000;

/// A machine small enough to be explored to the end: one partition, one worker, handles without content; and what it
/// has ordered that is still to be answered.
#[derive(Clone, Debug)]
struct Small {
    machine: Syncer<()>,
    outstanding: Outstanding,
}

impl Small {
    fn new(config: &Config) -> Self {
        Self { machine: Syncer::new(config), outstanding: Outstanding::default() }
    }
}

impl Machine for Small {
    type Config = Config;
    type Input = Input<()>;
    type Effect = Effect<()>;

    fn step(&mut self, config: &Config, input: Input<()>, out: &mut Effects<Effect<()>>) {
        self.outstanding.answered(&input);
        self.machine.step(config, input, out);
        out.as_slice().iter().for_each(|effect| self.outstanding.ordered(effect));
    }
}

const PARTITION: Partition = Partition(0);
const TOPIC: Topic = Topic(0);
const WORKER: WorkerId = WorkerId(0);

/// Everything that small machines do: under each policy, with either way of batching, and with one retry of
/// one kind of operation at a time, so that the situations add up and do not multiply.
#[must_use]
pub fn transitions() -> Transitions {
    let mut found = Transitions::new();
    for config in small_configs() {
        explore(&config, Small::new(&config), SITUATIONS_MAX, &mut found);
    }
    found
}

fn small_configs() -> [Config; 9] {
    let once = Retry::times(1);
    let small = small();
    let retries = small.retries;
    let with_retries = |retries| Config { retries, ..small.clone() };
    [
        with_retries(Retries { kafka: once, ..retries }),
        with_retries(Retries { postgres_connect: once, ..retries }),
        with_retries(Retries { postgres_write: once, ..retries }),
        Config { linger: small.flush_interval, ..small.clone() },
        Config { on_bad_record: OnBadRecord::Skip, offset_reset: OffsetPolicy::Stop, ..small.clone() },
        Config { ledger_check: small.flush_interval, ..small.clone() },
        Config { on_bad_record: OnBadRecord::Stop, on_table_error: OnTableError::Stop, ..small.clone() },
        // The first bad record is one too many.
        Config { stop_after: StopAfter { share: 0, window: 1, at_least: 1 }, ..small.clone() },
        Config { on_unique_violation: OnUniqueViolation::Park, max_parked_rows: 1, ..small.clone() },
    ]
}

/// Batches of two rows, and none that wait behind them; no retries.
fn small() -> Config {
    let never = Retry::times(0);
    Config {
        buffer_size: 2,
        channel_buffer: 0,
        pool_size: 1,
        max_fetch_records: 2,
        linger: Duration::from_millis(5),
        retries: Retries { kafka: never, postgres_connect: never, postgres_write: never },
        on_unique_violation: OnUniqueViolation::Stop,
        ledger_check: Duration::ZERO,
        ..Config::default()
    }
}

impl Explore for Small {
    type Shape = Vec<u64>;

    fn shape(&self) -> Vec<u64> {
        let mut shape = self.machine.situation(TOPIC, WORKER);
        shape.push(self.outstanding.timers.bits(TimerKind::all(WORKER.0)));
        shape
    }

    fn state_name(&self) -> StateName {
        self.machine.state()
    }

    fn inputs(&self, config: &Config) -> Vec<Input<()>> {
        Situation { small: self, config }.inputs()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a new reply is told by its name and its failure")]
    fn input_label(input: &Input<()>) -> String {
        let detail = match input {
            Input::PartitionsAcquired { result: Ok(taken), .. } => match taken {
                Taken { held, .. } if !held.is_empty() => "the table cannot be written",
                Taken { partitions, .. } if partitions.is_empty() => "an answer without the partition",
                Taken { partitions, .. } if partitions.iter().all(|row| row.log == MOVED_ON) => {
                    "at an offset that the log does not hold"
                }
                Taken { .. } => return String::from(input.name()),
            },
            Input::LedgerChecked { result: Ok(LedgerCheck { held, .. }), .. } if !held.is_empty() => {
                "the table cannot be written"
            }
            Input::OffsetsMoved { result: Ok(refused), .. }
            | Input::LedgerChecked { result: Ok(LedgerCheck { refused, .. }), .. }
            | Input::OffsetsCommitted { result: Err(CommitFailure { refused, .. }), .. }
                if !refused.is_empty() =>
            {
                "refused"
            }
            Input::Records { records } => {
                if records.iter().all(|record| record.epoch == GONE) {
                    "of an assignment that is gone"
                } else {
                    "of the assignment"
                }
            }
            Input::BatchWritten { result: WriteOutcome::Written { parked, .. }, .. }
                if !parked.is_empty() =>
            {
                "one row parked"
            }
            Input::BatchWritten { result: WriteOutcome::Written { rejected, .. }, .. }
                if !rejected.is_empty() =>
            {
                "one row rejected"
            }
            Input::ParkedRetried { result: RetryOutcome::Done { is_changed, rejected, .. }, .. } => {
                match (rejected.as_slice(), is_changed) {
                    ([_, ..], _) => "one row rejected",
                    ([], true) => "none left",
                    ([], false) => "still blocked",
                }
            }
            Input::BatchWritten { result: WriteOutcome::Held { .. }, .. }
            | Input::ParkedRetried { result: RetryOutcome::Held { .. }, .. } => "the table cannot be written",
            Input::ConsumerFailed { fault } => fault.as_str(),
            // Of what has no words of its own, why it failed is said.
            _ => match input.answers().and_then(|answered| answered.failure) {
                Some(failure) => failure,
                None => return String::from(input.name()),
            },
        };
        [input.name(), ": ", detail].concat()
    }

    fn effect_name(effect: &Effect<()>) -> &'static str {
        effect.name()
    }

    fn check(&self, config: &Config) -> Result<(), &'static str> {
        self.machine.check_invariants(config)
    }
}
