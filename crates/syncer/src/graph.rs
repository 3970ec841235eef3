//! The Syncer's state diagram and its state × input table, read off the code by exploring small machines.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use cdc_machine::{
    Backoff, Dependency, EffectId, Epoch, Explore, Fault, Retry, Signal, StateName, TimerId, Transitions,
    explore,
};

use crate::facts::Polling;
use crate::parked::Phase;
use crate::partitions::{Assignment, Stage};
use crate::state::{Connecting, Draining, Group, State};
use crate::worker::{Worker, Writer};
use crate::{
    Acquired, Config, Effect, Input, LogBounds, OffsetPolicy, OnBadRecord, OnUniqueViolation, ParkedRows,
    Partition, Record, Reject, Rejected, Retries, RetryOutcome, StopAfter, Syncer, TimerKind, WorkerId,
    WriteOutcome,
};

/// Situations that one exploration visits at most; the small machines have fewer.
const SITUATIONS_MAX: usize = 60_000;

/// The state diagram for Mermaid.
#[must_use]
pub fn mermaid() -> String {
    transitions().mermaid()
}

/// The state diagram for Graphviz.
#[must_use]
pub fn dot() -> String {
    transitions().dot("syncer")
}

/// The state × input table in Markdown.
#[must_use]
pub fn table() -> String {
    transitions().markdown()
}

/// A machine small enough to be explored to the end: one partition, one worker, handles without content.
type Small = Syncer<()>;

const PARTITION: Partition = Partition(0);
const WORKER: WorkerId = WorkerId(0);

/// Everything that small machines do: under each policy, with either way of batching, and with one retry of
/// one kind of operation at a time, so that the situations add up and do not multiply.
fn transitions() -> Transitions {
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
        Config { on_bad_record: OnBadRecord::Stop, ..small.clone() },
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
        retries: Retries { kafka: never, postgres_connect: never, postgres_write: never },
        on_unique_violation: OnUniqueViolation::Stop,
        ledger_check: Duration::ZERO,
        ..Config::default()
    }
}

impl Explore for Small {
    type Shape = Vec<u64>;

    fn shape(&self) -> Vec<u64> {
        let mut shape = vec![state_shape(self.state), self.polling_shape()];
        if matches!(self.state, State::Stopped(_)) {
            return shape;
        }
        let facts = &self.facts;
        shape.extend(self.partition_shape());
        shape.extend(self.worker_shape());
        shape.extend(self.parked_shape());
        let commits = facts.commit.iter().flat_map(|commit| &commit.offsets);
        shape.extend([
            u64::from(facts.acquisition.is_some()),
            facts.ledger_check.iter().map(|check| 1 + self.current(&check.partitions)).sum(),
            commits.map(|commit| 1 + u64::from(self.is_current(commit.epoch))).sum(),
            facts.dead_letters.waiting.len() as u64,
            self.dead_letters_shape(),
            facts.revocations.iter().map(|revocation| 1 + revocation.partitions.len() as u64).sum(),
            kinds().fold(0, |bits, kind| (bits << 1) | u64::from(facts.timers.is_running(kind))),
        ]);
        let used = facts.retries;
        shape.extend(
            [used.database, used.group, used.acquire, used.commit, used.dead_letter].map(retries_shape),
        );
        shape
    }

    fn state_name(&self) -> StateName {
        self.state()
    }

    fn inputs(&self, config: &Config) -> Vec<Input<()>> {
        let mut inputs = vec![Input::Start, Input::Signal(Signal::Drain), Input::Signal(Signal::Abort)];
        self.push_timers(&mut inputs);
        self.push_connection_replies(&mut inputs);
        self.push_group_events(&mut inputs);
        if config.on_unique_violation == OnUniqueViolation::Park {
            self.push_acquired_parked(&mut inputs);
        }
        self.push_records(&mut inputs);
        self.push_write_replies(&mut inputs);
        self.push_retry_replies(&mut inputs);
        self.push_dead_letter_replies(&mut inputs);
        let id = self.facts.commit.as_ref().map_or(NOBODY, |commit| commit.id);
        inputs.push(Input::Committed { id });
        for fault in [Fault::Transient, Fault::Fenced, Fault::Auth, Fault::Fatal] {
            inputs.push(Input::CommitFailed { id, from: Dependency::Kafka, fault, refused: Vec::new() });
        }
        let from = Dependency::Postgres;
        inputs.push(Input::CommitFailed { id, from, fault: Fault::Fenced, refused: vec![PARTITION] });
        inputs
    }

    fn input_label(input: &Input<()>) -> String {
        let detail = match input {
            Input::Acquired { partitions, .. } if partitions.is_empty() => "an answer without the partition",
            Input::Acquired { partitions, .. } if partitions.iter().all(|row| row.log == MOVED_ON) => {
                "at an offset that the log does not hold"
            }
            Input::OffsetsMoved { refused, .. } | Input::LedgerChecked { refused, .. }
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
            Input::BatchDone { outcome, .. } => match outcome {
                WriteOutcome::Written { parked, .. } if !parked.is_empty() => "written, one row parked",
                WriteOutcome::Written { rejected, .. } if rejected.is_empty() => "written",
                WriteOutcome::Written { .. } => "written, one row rejected",
                WriteOutcome::Refused { .. } => "refused",
                WriteOutcome::Failed { fault, .. } => fault.as_str(),
            },
            Input::ParkedRetried { outcome, .. } => match outcome {
                RetryOutcome::Done { is_changed: true, .. } => "none left",
                RetryOutcome::Done { .. } => "still blocked",
                RetryOutcome::Refused { .. } => "refused",
                RetryOutcome::Failed { fault } => fault.as_str(),
            },
            Input::CommitFailed { refused, .. } if !refused.is_empty() => "refused",
            Input::DatabaseFailed { fault, .. }
            | Input::JoinFailed { fault, .. }
            | Input::ConsumerFailed { fault }
            | Input::AcquireFailed { fault, .. }
            | Input::LedgerCheckFailed { fault, .. }
            | Input::DeadLetterFailed { fault, .. }
            | Input::CommitFailed { fault, .. } => fault.as_str(),
            Input::Start
            | Input::DatabaseReady { .. }
            | Input::Joined { .. }
            | Input::Assigned { .. }
            | Input::Revoking { .. }
            | Input::Lost { .. }
            | Input::Acquired { .. }
            | Input::OffsetsMoved { .. }
            | Input::LedgerChecked { .. }
            | Input::DeadLettered { .. }
            | Input::Committed { .. }
            | Input::Left { .. }
            | Input::Timer(_)
            | Input::Signal(_) => return String::from(input.name()),
        };
        [input.name(), ": ", detail].concat()
    }

    fn effect_name(effect: &Effect<()>) -> &'static str {
        effect.name()
    }
}

/// A request that was never made: what answers it must be ignored.
const NOBODY: EffectId = EffectId(u64::MAX);

/// A log that has moved on behind the ledger's offset.
const MOVED_ON: LogBounds = LogBounds { first: 5, end: 9 };

const fn parked(rows: u64) -> ParkedRows {
    ParkedRows { partition: PARTITION, rows }
}

/// True where the answer may tell of a parked row.
const fn writes_parking(worker: &Worker<()>) -> bool {
    matches!(&worker.writer, Writer::Writing { piece, .. } if piece.parks)
}

/// An assignment that never was.
const GONE: Epoch = Epoch(u64::MAX);

const FAULTS: [Fault; 4] = [Fault::Transient, Fault::Fenced, Fault::Auth, Fault::Fatal];

fn kinds() -> impl Iterator<Item = TimerKind> {
    [
        TimerKind::Reconnect,
        TimerKind::WriteRetry(WORKER),
        TimerKind::CommitRetry,
        TimerKind::DeadLetterRetry,
        TimerKind::AcquireRetry,
        TimerKind::Linger(WORKER),
        TimerKind::Flush(WORKER),
        TimerKind::ParkedRetry(WORKER),
        TimerKind::CommitSpacing,
        TimerKind::Pause,
        TimerKind::Revocation,
        TimerKind::LedgerCheck,
        TimerKind::Fencing,
        TimerKind::Drain,
    ]
    .into_iter()
}

impl Small {
    fn assignment(&self) -> Option<&Assignment> {
        self.facts.partitions.get(PARTITION)
    }

    fn is_current(&self, epoch: Epoch) -> bool {
        self.assignment().is_some_and(|assignment| assignment.epoch == epoch)
    }

    /// How many of these assignments are still the present ones.
    fn current(&self, of: &[(Partition, Epoch)]) -> u64 {
        of.iter().filter(|(_, epoch)| self.is_current(*epoch)).count() as u64
    }

    const fn polling_shape(&self) -> u64 {
        match self.facts.polling {
            Polling::Idle => 0,
            Polling::Stalled => 1,
            Polling::Paused => 2,
            Polling::Fetching { asked } => 3 + asked as u64,
        }
    }

    fn partition_shape(&self) -> [u64; 4] {
        let Some(assignment) = self.assignment() else { return [0; 4] };
        let stage = match assignment.stage {
            Stage::Waiting => 1,
            Stage::Acquiring => 2,
            Stage::Serving(_) => 3,
            Stage::Revoking(_) => 4,
            Stage::Moving => 5,
        };
        let Some(window) = assignment.window() else { return [stage, 0, 0, 0] };
        [stage, window.records(), window.unsettled(), u64::from(window.unsaved().is_some())]
    }

    fn worker_shape(&self) -> Vec<u64> {
        let mut shape = Vec::new();
        for worker in &self.facts.workers {
            let (tag, piece) = match &worker.writer {
                Writer::Idle => (0, None),
                Writer::Writing { piece, .. } => (1, Some(piece)),
                Writer::BackingOff(piece) => (2, Some(piece)),
                Writer::Retrying { .. } => (3, None),
            };
            shape.extend([
                tag,
                retries_shape(worker.retries),
                worker.due as u64,
                worker.waiting.len() as u64,
            ]);
            for piece in piece.into_iter().chain(&worker.pieces) {
                let rows = piece.batch.rows();
                let live = rows.iter().filter(|row| self.is_current(row.epoch)).count();
                shape.extend([rows.len() as u64, live as u64, u64::from(piece.parks)]);
            }
            shape.push(u64::MAX);
        }
        shape
    }

    fn parked_shape(&self) -> [u64; 3] {
        let parked = &self.facts.parked;
        let phase = parked.retry(WORKER).map_or(0, |retry| match retry.phase {
            Phase::Later => 1,
            Phase::Soon => 2,
            Phase::Due => 3,
            Phase::InFlight { is_stirred: false } => 4,
            Phase::InFlight { is_stirred: true } => 5,
        });
        // How often a retry was fruitless changes only how long the next one waits.
        let live = parked.entries().filter(|(_, _, epoch, _)| self.is_current(*epoch)).count();
        [phase, parked.rows(), live as u64]
    }

    /// Those of assignments that are gone all behave alike.
    fn dead_letters_shape(&self) -> u64 {
        let in_flight = &self.facts.dead_letters.in_flight;
        let live = in_flight.iter().filter(|(_, bad)| self.is_current(bad.row.epoch)).count();
        2 * live as u64 + u64::from(in_flight.len() > live)
    }

    fn push_timers(&self, inputs: &mut Vec<Input<()>>) {
        for kind in kinds() {
            let late = TimerId { kind, generation: u64::MAX };
            inputs.push(Input::Timer(self.facts.timers.running(kind).unwrap_or(late)));
        }
    }

    fn push_connection_replies(&self, inputs: &mut Vec<Input<()>>) {
        let (mut database, mut group, mut leaving) = (NOBODY, NOBODY, NOBODY);
        match self.state {
            State::Connecting(Connecting::Database { id }) => database = id,
            State::Connecting(Connecting::Group { id }) => group = id,
            State::Draining(Draining { group: Group::Leaving { id }, .. }) => leaving = id,
            State::Connecting(Connecting::NotStarted | Connecting::DatabaseDue | Connecting::GroupDue)
            | State::Streaming
            | State::AwaitingAck
            | State::SavingToken
            | State::Draining(Draining { group: Group::Outside | Group::Member, .. })
            | State::Stopped(_) => {}
        }
        inputs.push(Input::DatabaseReady { id: database });
        inputs.push(Input::Joined { id: group });
        inputs.push(Input::Left { id: leaving });
        for fault in FAULTS {
            inputs.push(Input::DatabaseFailed { id: database, fault });
            inputs.push(Input::JoinFailed { id: group, fault });
            inputs.push(Input::ConsumerFailed { fault });
        }
    }

    fn push_group_events(&self, inputs: &mut Vec<Input<()>>) {
        // The group gives a partition to whom it does not count as its owner, and asks one answer at a time.
        if self.assignment().is_none() {
            inputs.push(Input::Assigned { partitions: vec![PARTITION] });
        }
        if self.facts.revocations.is_empty() {
            inputs.push(Input::Revoking { id: EffectId(0), partitions: vec![PARTITION] });
        }
        inputs.push(Input::Lost { partitions: vec![PARTITION] });
        let (id, taking, moving) = match &self.facts.acquisition {
            None => (NOBODY, NOBODY, NOBODY),
            Some(acquisition) if acquisition.gaps.is_empty() => (acquisition.id, acquisition.id, NOBODY),
            Some(acquisition) => (acquisition.id, NOBODY, acquisition.id),
        };
        let row = self.acquired(Vec::new());
        inputs.push(Input::Acquired { id: taking, partitions: vec![row.clone()] });
        inputs.push(Input::Acquired { id: taking, partitions: vec![Acquired { log: MOVED_ON, ..row }] });
        inputs.push(Input::Acquired { id: taking, partitions: Vec::new() });
        inputs.extend(FAULTS.map(|fault| Input::AcquireFailed { id, from: Dependency::Postgres, fault }));
        inputs.push(Input::OffsetsMoved { id: moving, refused: Vec::new() });
        inputs.push(Input::OffsetsMoved { id: moving, refused: vec![PARTITION] });
        let id = self.facts.ledger_check.as_ref().map_or(NOBODY, |check| check.id);
        inputs.push(Input::LedgerChecked { id, refused: Vec::new() });
        inputs.push(Input::LedgerChecked { id, refused: vec![PARTITION] });
        inputs.extend(FAULTS.map(|fault| Input::LedgerCheckFailed { id, fault }));
    }

    /// With its one row parked.
    fn push_acquired_parked(&self, inputs: &mut Vec<Input<()>>) {
        if let Some(acquisition) = self.facts.acquisition.as_ref().filter(|it| it.gaps.is_empty()) {
            let partitions = vec![self.acquired(vec![(WORKER, 1)])];
            inputs.push(Input::Acquired { id: acquisition.id, partitions });
        }
    }

    fn acquired(&self, parked: Vec<(WorkerId, u64)>) -> Acquired {
        let epoch = self.assignment().map_or(GONE, |assignment| assignment.epoch);
        let log = LogBounds { first: 0, end: 1 };
        Acquired { partition: PARTITION, epoch, ledger: Some(0), group: None, log, parked }
    }

    fn push_records(&self, inputs: &mut Vec<Input<()>>) {
        let record =
            |epoch, offset| Record { partition: PARTITION, epoch, offset, route: 0, bytes: 1, handle: () };
        inputs.push(Input::Records { records: vec![record(GONE, 0)] });
        let Polling::Fetching { asked } = self.facts.polling else { return };
        let Some(assignment) = self.assignment() else { return };
        let next = assignment.window().map_or(0, |window| window.next_offset());
        let records: Vec<_> =
            (next..next + i64::from(asked)).map(|at| record(assignment.epoch, at)).collect();
        inputs.push(Input::Records { records: records[..1].to_vec() });
        inputs.push(Input::Records { records });
    }

    fn push_write_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = self.facts.workers.iter().find_map(|worker| match worker.writer {
            Writer::Writing { id, .. } => Some(id),
            Writer::Idle | Writer::BackingOff(_) | Writer::Retrying { .. } => None,
        });
        let mut push = |outcome| {
            inputs.push(Input::BatchDone { worker: WORKER, id: id.unwrap_or(NOBODY), outcome });
        };
        let detail: Arc<str> = Arc::from("");
        let rejected =
            Rejected { index: 0, reason: Reject::TypeConflict, sqlstate: None, detail: Arc::clone(&detail) };
        push(WriteOutcome::Written { rejected: Vec::new(), parked: Vec::new() });
        push(WriteOutcome::Written { rejected: vec![rejected], parked: Vec::new() });
        if self.facts.workers.iter().any(writes_parking) {
            push(WriteOutcome::Written { rejected: Vec::new(), parked: vec![parked(1)] });
        }
        push(WriteOutcome::Refused { partitions: vec![PARTITION] });
        for fault in [Fault::Transient, Fault::RetryNow, Fault::Poison, Fault::Auth, Fault::Fatal] {
            let detail = Arc::clone(&detail);
            push(WriteOutcome::Failed { fault, reason: Reject::Database, sqlstate: None, detail });
        }
        let reason = Reject::UniqueViolation;
        push(WriteOutcome::Failed { fault: Fault::Blocked, reason, sqlstate: None, detail });
    }

    fn push_retry_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = self.facts.workers.iter().find_map(|worker| match worker.writer {
            Writer::Retrying { id, .. } => Some(id),
            Writer::Idle | Writer::BackingOff(_) | Writer::Writing { .. } => None,
        });
        let mut push =
            |outcome| inputs.push(Input::ParkedRetried { worker: WORKER, id: id.unwrap_or(NOBODY), outcome });
        push(RetryOutcome::Done { parked: vec![parked(0)], is_changed: true });
        push(RetryOutcome::Done { parked: vec![parked(1)], is_changed: false });
        push(RetryOutcome::Refused { partitions: vec![PARTITION] });
        for fault in [Fault::Transient, Fault::Auth, Fault::Fatal] {
            push(RetryOutcome::Failed { fault });
        }
    }

    fn push_dead_letter_replies(&self, inputs: &mut Vec<Input<()>>) {
        let id = self.facts.dead_letters.in_flight.first().map_or(NOBODY, |(id, _)| *id);
        inputs.push(Input::DeadLettered { id });
        inputs.extend(
            [Fault::Transient, Fault::Auth, Fault::Fatal].map(|fault| Input::DeadLetterFailed { id, fault }),
        );
    }
}

const fn state_shape(state: State) -> u64 {
    match state {
        State::Connecting(Connecting::NotStarted) => 0,
        State::Connecting(Connecting::Database { .. }) => 1,
        State::Connecting(Connecting::DatabaseDue) => 2,
        State::Connecting(Connecting::Group { .. }) => 3,
        State::Connecting(Connecting::GroupDue) => 4,
        State::Streaming => 5,
        State::AwaitingAck => 6,
        State::SavingToken => 7,
        State::Draining(Draining { group: Group::Outside, .. }) => 8,
        State::Draining(Draining { group: Group::Member, .. }) => 9,
        State::Draining(Draining { group: Group::Leaving { .. }, .. }) => 10,
        State::Stopped(_) => 11,
    }
}

const fn retries_shape(used: Backoff) -> u64 {
    used.retries() as u64
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use cdc_machine::{Effects, Machine};
    use std::path::PathBuf;
    use std::{env, format, fs};

    /// The small machine, which answers for its invariants after every step.
    #[derive(Clone)]
    struct Checked(Small);

    impl Machine for Checked {
        type Config = Config;
        type Input = Input<()>;
        type Effect = Effect<()>;

        fn step(&mut self, config: &Config, input: Input<()>, out: &mut Effects<Effect<()>>) {
            let label = Small::input_label(&input);
            self.0.step(config, input, out);
            assert_eq!(self.0.check_invariants(config), Ok(()), "{label} {:?}", self.0);
        }
    }

    impl Explore for Checked {
        type Shape = Vec<u64>;

        fn shape(&self) -> Vec<u64> {
            self.0.shape()
        }

        fn state_name(&self) -> StateName {
            self.0.state()
        }

        fn inputs(&self, config: &Config) -> Vec<Input<()>> {
            self.0.inputs(config)
        }

        fn input_label(input: &Input<()>) -> String {
            Small::input_label(input)
        }

        fn effect_name(effect: &Effect<()>) -> &'static str {
            effect.name()
        }
    }

    #[test]
    fn invariants_hold_in_every_situation_and_every_state_is_reached() {
        let mut found = Transitions::new();
        for config in small_configs() {
            let complete = explore(&config, Checked(Small::new(&config)), SITUATIONS_MAX, &mut found);
            assert!(complete, "more than {SITUATIONS_MAX} situations");
        }
        for state in StateName::ALL {
            assert!(found.outcome(state, "Start").is_some(), "{state} was not reached");
        }
    }

    #[test]
    fn a_stopped_machine_is_silent() {
        let found = transitions();
        let text = found.markdown();
        let (_, stopped) = text.split_once("## Stopped").unwrap();
        assert!(!stopped.contains('|'), "{stopped}");
    }

    /// Writes the files where `UPDATE_SPECS=1` is set.
    #[test]
    fn specs_are_fresh() {
        let head = "# The Syncer's states\n\n\
            Generated from the code by exploring it: what each input was seen to do in each state, over every\n\
            situation of a small machine. `UPDATE_SPECS=1 cargo test -p cdc-syncer specs` writes it anew.\n\
            The diagram is `syncer.mmd`.\n\n";
        let found = transitions();
        for (file, text) in
            [("syncer-states.md", format!("{head}{}", found.markdown())), ("syncer.mmd", found.mermaid())]
        {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../specs").join(file);
            if env::var_os("UPDATE_SPECS").is_some() {
                fs::write(&path, &text).unwrap();
            }
            let written = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(written, text, "{file} is stale: UPDATE_SPECS=1 cargo test -p cdc-syncer specs");
        }
    }
}
