//! One state, one input: the exact effects in order, and the exact next state.

extern crate std;

mod assignment;
mod bad_rows;
mod commits;
mod connecting;
mod credit;
mod draining;
mod full;
mod holds;
mod ledger_check;
mod outages;
mod parked;
mod queues;
mod revocation;
mod trips;
mod writes;

use std::string::{String, ToString as _};
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;
use std::{assert_eq, format, vec};

use cdc_machine::{
    Cause, Dependency, EffectId, Effects, Epoch, Fault, Machine, Retry, Signal, StateName, TimerId,
};

use crate::{
    Acquired, CommitFailure, Config, Effect, FailedBy, Hold, HoldReason, Input, LedgerCheck, LogBounds,
    OffsetLoss, OffsetPolicy, OnBadRecord, OnTableError, ParkedRows, Parking, Partition, Record, Reject,
    Rejected, Retries, RetryOutcome, SqlState, StartOffset, StopAfter, Syncer, Taken, TimerKind, Topic,
    WorkerId, WriteOutcome,
};

/// The topic of all partitions, where a test does not say otherwise.
const TOPIC: Topic = Topic(0);

type Order = Effect<&'static str>;
type Fact = Input<&'static str>;

/// A machine, its configuration, and the timers that it has set.
struct Bench {
    machine: Syncer<&'static str>,
    config: Config,
    out: Effects<Order>,
    timers: Vec<TimerId<TimerKind>>,
}

/// Two workers, batches of two rows, two rows that wait behind each; a record is ten bytes.
fn small() -> Config {
    Config {
        buffer_size: 2,
        buffer_bytes: 1000,
        channel_buffer: 2,
        pool_size: 2,
        max_buffered_bytes: 1000,
        max_fetch_records: 4,
        linger: Duration::from_millis(5),
        ledger_check: Duration::ZERO,
        ..Config::default()
    }
}

/// Without lingering.
fn to_the_letter() -> Config {
    let small = small();
    Config { linger: small.flush_interval, ..small }
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { machine: Syncer::new(&config), config, out: Effects::new(), timers: Vec::new() }
    }

    /// One step; checks the invariants and returns the effects, one line each.
    fn step(&mut self, input: Fact) -> Vec<String> {
        self.machine.step(&self.config, input, &mut self.out);
        assert_eq!(self.machine.check_invariants(&self.config), Ok(()));
        let mut lines = Vec::new();
        for effect in self.out.drain() {
            if let Effect::SetTimer { timer, .. } = effect {
                self.timers.retain(|set| set.kind != timer.kind);
                self.timers.push(timer);
            }
            lines.push(match (&effect, self.machine.stopped_at()) {
                (Effect::Stop { .. }, Some((row, reason, _))) => {
                    format!("{} at {}:{} {}", show(&effect), row.partition.0, row.offset, reason.as_str())
                }
                _ => show(&effect),
            });
        }
        lines
    }

    /// The state that the machine is in, with the cause of its end.
    fn at(&self) -> (StateName, Option<Cause>) {
        (self.machine.state(), self.machine.cause())
    }

    /// The timer of this kind that was set last runs out.
    fn expire(&mut self, kind: TimerKind) -> Vec<String> {
        let generation = self.timers.iter().find(|timer| timer.kind == kind).map_or(0, |t| t.generation);
        self.step(Input::Timer(TimerId { kind, generation }))
    }

    /// A member of the group, with nothing assigned. Requests 0 and 1 are behind it.
    fn joined(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.step(Input::Start);
        bench.step(Input::DatabaseConnected { id: EffectId(0), result: Ok(()) });
        bench.step(Input::GroupJoined { id: EffectId(1), result: Ok(()) });
        assert_eq!(bench.at(), STREAMING);
        bench
    }

    /// Partitions 0 and 1 in their epochs 0 and 1, from offset 0, with the first fetch outstanding. The
    /// next request is number 3.
    fn streaming(config: Config) -> Self {
        let mut bench = Self::joined(config);
        bench.step(assigned(&[0, 1]));
        let partitions = vec![acquired(0, 0, Some(0), None), acquired(1, 1, Some(0), None)];
        bench.step(Input::PartitionsAcquired {
            id: EffectId(2),
            result: Ok(Taken { partitions, held: vec![] }),
        });
        assert_eq!(bench.at(), STREAMING);
        bench
    }

    /// The same with offset 0 of partition 0 in worker 0's batch, request 3.
    fn writing(config: Config) -> Self {
        let mut bench = Self::streaming(config);
        bench.step(records(&[(0, 0, 0)]));
        let lines = bench.expire(TimerKind::Linger(WorkerId(0)));
        assert_eq!(lines, ["WriteBatch w0 3 [0:0]"]);
        bench
    }

    /// The same with that row written and its commit, request 4, in flight.
    fn committing(config: Config) -> Self {
        let mut bench = Self::writing(config);
        let lines = bench.step(written(0, 3));
        assert_eq!(lines, ["CommitOffsets 4 [0@0 1]"]);
        bench
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is not made shorter prints as it is")]
fn show(effect: &Order) -> String {
    let name = effect.name();
    match effect {
        Effect::ConnectDatabase { id }
        | Effect::JoinGroup { id }
        | Effect::LeaveGroup { id }
        | Effect::ConfirmRevoked { id } => format!("{name} {}", id.0),
        Effect::MoveOffsets { id, gaps } => {
            let of: Vec<_> = gaps
                .iter()
                .map(|gap| {
                    let (partition, epoch) = (gap.partition.0, gap.epoch.0);
                    let loss = gap.loss.map_or("nothing", OffsetLoss::as_str);
                    format!("{partition}@{epoch} {} to {} {loss}", gap.from, gap.to)
                })
                .collect();
            format!("{name} {} [{}]", id.0, of.join(" "))
        }
        Effect::AcquirePartitions { id, partitions } | Effect::CheckLedger { id, partitions } => {
            let of: Vec<_> = partitions.iter().map(|(p, epoch)| format!("{}@{}", p.0, epoch.0)).collect();
            format!("{name} {} [{}]", id.0, of.join(" "))
        }
        Effect::StartFetching { starts } => {
            let at: Vec<_> = starts
                .iter()
                .map(|start| match start.offset {
                    StartOffset::Beginning => format!("{}@{} all", start.partition.0, start.epoch.0),
                    StartOffset::At(at) => format!("{}@{} {at}", start.partition.0, start.epoch.0),
                })
                .collect();
            format!("{name} [{}]", at.join(" "))
        }
        Effect::StopFetching { partitions } => {
            let of: Vec<_> = partitions.iter().map(|partition| format!("{}", partition.0)).collect();
            format!("{name} [{}]", of.join(" "))
        }
        Effect::Fetch { max_records, max_bytes } => format!("{name} {max_records} records {max_bytes} bytes"),
        Effect::WriteBatch { worker, id, batch, parking } => {
            let rows: Vec<_> =
                batch.rows().iter().map(|row| format!("{}:{}", row.partition.0, row.offset)).collect();
            let how = match parking {
                Parking::Off => "",
                Parking::Fence => " fence",
                Parking::Park => " park",
            };
            format!("{name} w{} {} [{}]{how}", worker.0, id.0, rows.join(" "))
        }
        Effect::RetryParked { worker, id, partitions, given_up } => {
            let of: Vec<_> = partitions.iter().map(|(p, epoch)| format!("{}@{}", p.0, epoch.0)).collect();
            let gone: Vec<_> =
                given_up.iter().map(|(p, offset)| format!(" without {}:{offset}", p.0)).collect();
            format!("{name} w{} {} [{}]{}", worker.0, id.0, of.join(" "), gone.concat())
        }
        Effect::DeadLetter { id, row, reason, sqlstate, attempts, .. } => {
            let code = sqlstate.map_or_else(String::new, |code| format!(" {code:?}"));
            let place = format!("{}:{}", row.partition.0, row.offset);
            format!("{name} {} {place} {}{code} x{attempts}", id.0, reason.as_str())
        }
        Effect::Skip { row, reason, .. } => {
            format!("{name} {}:{} {}", row.partition.0, row.offset, reason.as_str())
        }
        Effect::CommitOffsets { id, offsets } => {
            let of: Vec<_> = offsets
                .iter()
                .map(|commit| {
                    format!("{}@{} {}", commit.partition.0, commit.epoch.0, commit.offset.position())
                })
                .collect();
            format!("{name} {} [{}]", id.0, of.join(" "))
        }
        Effect::SetTimer { timer, after } => format!("{name}#{} {after:?}", timer.generation),
        Effect::CancelTimer { timer } => format!("{name}#{}", timer.generation),
        Effect::Stop { cause } => format!("{name} {cause:?}"),
        _ => effect.to_string(),
    }
}

fn partitions(numbers: &[u32]) -> Vec<Partition> {
    numbers.iter().copied().map(Partition).collect()
}

fn assigned(numbers: &[u32]) -> Fact {
    Input::Assigned { partitions: numbers.iter().map(|number| (Partition(*number), TOPIC)).collect() }
}

/// Partition 0 is of topic 0, and partition 1 of topic 1; otherwise as [`Bench::streaming`].
fn of_two_topics(config: Config) -> Bench {
    let mut bench = Bench::joined(config);
    let partitions = [0, 1].map(|number| (Partition(number), Topic(number))).to_vec();
    bench.step(Input::Assigned { partitions });
    let partitions = vec![acquired(0, 0, Some(0), None), acquired(1, 1, Some(0), None)];
    bench.step(Input::PartitionsAcquired { id: EffectId(2), result: Ok(Taken { partitions, held: vec![] }) });
    bench
}

fn revoking(id: u64, numbers: &[u32]) -> Fact {
    Input::Revoking { id: EffectId(id), partitions: partitions(numbers) }
}

fn lost(numbers: &[u32]) -> Fact {
    Input::Lost { partitions: partitions(numbers) }
}

fn acquired(partition: u32, epoch: u64, ledger: Option<i64>, group: Option<i64>) -> Acquired {
    let log = LogBounds { first: 0, end: 1_000 };
    Acquired {
        partition: Partition(partition),
        epoch: Epoch(epoch),
        ledger,
        group,
        log,
        end_seen: None,
        parked: vec![],
    }
}

/// Partition, offset and route; partition n is in its epoch n.
fn records(of: &[(u32, i64, u64)]) -> Fact {
    let of = of.iter();
    Input::Records {
        records: of.map(|(at, offset, route)| record(*at, u64::from(*at), *offset, *route)).collect(),
    }
}

fn record(partition: u32, epoch: u64, offset: i64, route: u64) -> Record<&'static str> {
    let (partition, epoch) = (Partition(partition), Epoch(epoch));
    Record { partition, epoch, offset, route, bytes: 10, handle: "record" }
}

fn done(worker: u32, id: u64, outcome: WriteOutcome) -> Fact {
    Input::BatchWritten { worker: WorkerId(worker), id: EffectId(id), result: outcome }
}

fn written(worker: u32, id: u64) -> Fact {
    done(worker, id, WriteOutcome::Written { rejected: vec![], parked: vec![] })
}

/// Partition and number of its parked rows.
fn parked(of: &[(u32, u64)]) -> Vec<ParkedRows> {
    of.iter().map(|(partition, rows)| ParkedRows { partition: Partition(*partition), rows: *rows }).collect()
}

fn written_with(worker: u32, id: u64, of: &[(u32, u64)]) -> Fact {
    done(worker, id, WriteOutcome::Written { rejected: vec![], parked: parked(of) })
}

fn retried(worker: u32, id: u64, outcome: RetryOutcome<&'static str>) -> Fact {
    Input::ParkedRetried { worker: WorkerId(worker), id: EffectId(id), result: outcome }
}

fn rejected(index: usize, reason: Reject) -> Rejected {
    Rejected { index, reason, sqlstate: None, detail: Arc::from("detail") }
}

fn refused(worker: u32, id: u64, numbers: &[u32]) -> Fact {
    done(worker, id, WriteOutcome::Refused { partitions: partitions(numbers) })
}

/// Partition n in its epoch n.
fn hold(partition: u32, reason: HoldReason) -> Hold {
    let epoch = Epoch(u64::from(partition));
    Hold { partition: Partition(partition), epoch, reason, detail: Arc::from("detail") }
}

fn failed(worker: u32, id: u64, fault: Fault, reason: Reject) -> Fact {
    let sqlstate = SqlState::new("22003").filter(|_| reason == Reject::OutOfRange);
    done(worker, id, WriteOutcome::Failed { fault, reason, sqlstate, detail: Arc::from("detail") })
}

fn transient(worker: u32, id: u64) -> Fact {
    failed(worker, id, Fault::Transient, Reject::Database)
}

fn committed(id: u64) -> Fact {
    Input::OffsetsCommitted { id: EffectId(id), result: Ok(()) }
}

/// A commit that failed in Kafka; a partition is refused by the ledger.
fn commit_failed(id: u64, fault: Fault, refused: &[u32]) -> Fact {
    let from = if refused.is_empty() { Dependency::Kafka } else { Dependency::Postgres };
    Input::OffsetsCommitted {
        id: EffectId(id),
        result: Err(CommitFailure { from, fault, refused: partitions(refused) }),
    }
}

fn acquire_failed(id: u64, from: Dependency, fault: Fault) -> Fact {
    Input::PartitionsAcquired { id: EffectId(id), result: Err(FailedBy { from, fault }) }
}

fn drain() -> Fact {
    Input::Signal(Signal::Drain)
}

const NOTHING: [&str; 0] = [];

const CONNECTING: (StateName, Option<Cause>) = (StateName::Connecting, None);
const STREAMING: (StateName, Option<Cause>) = (StateName::Streaming, None);
const AWAITING_ACK: (StateName, Option<Cause>) = (StateName::AwaitingAck, None);
const SAVING_TOKEN: (StateName, Option<Cause>) = (StateName::SavingToken, None);
const DRAINING: (StateName, Option<Cause>) = (StateName::Draining, None);

const fn stopped(cause: Cause) -> (StateName, Option<Cause>) {
    (StateName::Stopped, Some(cause))
}
