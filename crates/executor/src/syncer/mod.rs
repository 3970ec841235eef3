//! The Syncer's executor: one driver loop owns the machine; the consumer's client has a thread of its own;
//! each request to PostgreSQL or Kafka is a task that ends with one answer.

mod parked;
mod requests;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cdc_machine::{Cause, Dependency, EffectId, Effects, Fault, Machine, Signal, StateName};
use cdc_syncer::{Config, OffsetGap, Partition, Reject, Row, Syncer, TimerKind, WorkerId, WriteOutcome};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::health::{HealthSign, PATIENCE, Standing, is_working, within_reason};
use crate::jitter::Jitter;
use crate::metrics::SyncerMetrics;
use crate::owed::Owed;
use crate::ports::{
    ConsumerEvent, Database, Failure, KafkaRecord, RecordConsumer, RejectedRecord, RetryReply, Share,
    WriteReply,
};
use crate::report::{self, Attempt};
use crate::timers::Timers;
use crate::{Ended, Health, LANES_CLOSE_WITHIN, StackTrace, TICK};

pub(crate) type Input = cdc_syncer::Input<KafkaRecord>;
type Effect = cdc_syncer::Effect<KafkaRecord>;

const SERVICE: &str = "syncer";

/// What a request comes to.
#[derive(Debug)]
enum Reply {
    Database(Input),
    DatabaseFailed(Input, Failure),
    Broker(Input),
    BrokerFailed(Input, Failure),
    Moved {
        id: EffectId,
        gaps: Vec<OffsetGap>,
        refused: Vec<Partition>,
    },
    Checked {
        id: EffectId,
        refused: Vec<Partition>,
    },
    /// A sign of life, or none.
    Probed(Dependency, Result<(), Failure>),
    Batch {
        worker: WorkerId,
        id: EffectId,
        rows: usize,
        oldest_ms: Option<i64>,
        took: Duration,
        reply: WriteReply,
    },
    Parked {
        worker: WorkerId,
        id: EffectId,
        took: Duration,
        reply: RetryReply,
    },
}

/// The Syncer with its ports, ready to run.
pub struct SyncerService<C, D> {
    config: Config,
    consumer: C,
    database: D,
    health: HealthSign,
    jitter: Jitter,
    clock: Clock,
}

impl<C: RecordConsumer, D: Database> SyncerService<C, D> {
    /// Puts the service together; nothing is ordered before [`Self::run`].
    pub fn new(config: Config, consumer: C, database: D, jitter: Jitter) -> (Self, watch::Receiver<Health>) {
        let (health, receiver) = HealthSign::new(SERVICE);
        (Self { config, consumer, database, health, jitter, clock: Clock::default() }, receiver)
    }

    /// Runs until the machine stops, and says why it did.
    pub async fn run(self, signals: mpsc::Receiver<Signal>) -> Ended {
        let machine = Syncer::new(&self.config);
        self.drive(machine, signals).await
    }

    async fn drive(self, machine: Syncer<KafkaRecord>, mut signals: mpsc::Receiver<Signal>) -> Ended {
        let Self { config, consumer, database, health, jitter, clock } = self;
        let workers = config.pool_size.max(1);
        let mut driver = Driver {
            machine,
            config,
            effects: Effects::new(),
            last_failure: None,
            hands: Hands {
                consumer: consumer.clone(),
                database: database.clone(),
                requests: JoinSet::new(),
                timers: Timers::new(jitter, clock),
                owed: Debts::default(),
                kafka: Standing::new(Dependency::Kafka.as_str()),
                postgres: Standing::new(Dependency::Postgres.as_str()),
                probing: [false; 2],
                writing: 0,
                workers,
                metrics: SyncerMetrics::new(),
            },
        };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let mut flow = driver.feed(Input::Start);
        while flow.is_continue() {
            health.update(driver.machine.state(), driver.hands.trouble().as_deref());
            health.parked(driver.machine.parked_rows());
            flow = tokio::select! {
                biased;
                Some(signal) = signals.recv() => driver.feed(Input::Signal(signal)),
                Some(done) = driver.hands.requests.join_next() => match done {
                    Ok(reply) => driver.on_reply(reply),
                    Err(_) => ControlFlow::Break(Cause::Invariant("a request's task panicked")),
                },
                timer = driver.hands.timers.next() => driver.feed(Input::Timer(timer)),
                event = consumer.event() => driver.on_event(event),
                _ = tick.tick() => {
                    driver.on_tick();
                    ControlFlow::Continue(())
                }
            };
        }
        health.update(driver.machine.state(), None);
        // What is still in flight is cut off here; whatever it did is harmless to do again.
        driver.hands.requests.shutdown().await;
        if tokio::time::timeout(LANES_CLOSE_WITHIN, database.close()).await.is_err() {
            tracing::warn!(service = SERVICE, operation = "pool_close", "the pool did not close in time");
        }
        let cause = match flow {
            ControlFlow::Break(cause) => cause,
            ControlFlow::Continue(()) => Cause::Invariant("the driver's loop ended without a cause"),
        };
        Ended { cause, last_failure: driver.last_failure }
    }
}

/// Since when each neighbour owes an answer.
#[derive(Default)]
struct Debts {
    connection: Owed,
    check: Owed,
    commit: Owed,
    membership: Owed,
    writes: Owed,
}

/// Everything that effects are carried out with. It holds no business state.
struct Hands<C, D> {
    consumer: C,
    database: D,
    requests: JoinSet<Reply>,
    timers: Timers<TimerKind>,
    owed: Debts,
    kafka: Standing,
    postgres: Standing,
    /// Whether Kafka and PostgreSQL are being asked for a sign of life.
    probing: [bool; 2],
    /// Batches in flight.
    writing: usize,
    /// How many the machine routes to.
    workers: u32,
    metrics: SyncerMetrics,
}

struct Driver<C, D> {
    machine: Syncer<KafkaRecord>,
    config: Config,
    effects: Effects<Effect>,
    last_failure: Option<String>,
    hands: Hands<C, D>,
}

impl<C: RecordConsumer, D: Database> Driver<C, D> {
    fn feed(&mut self, input: Input) -> ControlFlow<Cause> {
        let from = self.machine.state();
        let name = input.name();
        self.machine.step(&self.config, input, &mut self.effects);
        let to = self.machine.state();
        if from != to {
            self.hands.moved(from, to, name);
        }
        for effect in self.effects.drain() {
            self.hands.carry_out(effect)?;
        }
        ControlFlow::Continue(())
    }

    fn on_event(&mut self, event: ConsumerEvent) -> ControlFlow<Cause> {
        match &event {
            ConsumerEvent::Records(_) | ConsumerEvent::Assigned(_) => self.hands.kafka.answered(),
            ConsumerEvent::Failed(failure) => self.hands.kafka.failed(failure),
            // The client says these of its own accord, too.
            ConsumerEvent::Revoking(..) | ConsumerEvent::Lost(_) => {}
        }
        match event {
            ConsumerEvent::Assigned(partitions) => self.feed(Input::Assigned { partitions }),
            ConsumerEvent::Revoking(id, partitions) => self.feed(Input::Revoking { id, partitions }),
            ConsumerEvent::Lost(partitions) => self.feed(Input::Lost { partitions }),
            ConsumerEvent::Records(records) => {
                self.hands.metrics.consumed.increment(records.len() as u64);
                self.feed(Input::Records { records })
            }
            ConsumerEvent::Failed(failure) => {
                self.log(&failure, self.machine.kafka_attempt(&self.config));
                self.feed(Input::ConsumerFailed { fault: failure.fault })
            }
        }
    }

    fn on_reply(&mut self, reply: Reply) -> ControlFlow<Cause> {
        match reply {
            Reply::Database(input) => {
                self.hands.answered(&input);
                self.hands.postgres.answered();
                self.feed(input)
            }
            Reply::Broker(input) => {
                self.hands.answered(&input);
                self.hands.kafka.answered();
                if matches!(input, Input::Committed { .. }) {
                    // The ledger before it.
                    self.hands.postgres.answered();
                }
                self.feed(input)
            }
            Reply::DatabaseFailed(input, failure) => {
                self.hands.answered(&input);
                self.hands.postgres.failed(&failure);
                self.log(&failure, self.machine.postgres_attempt(&self.config));
                self.feed(input)
            }
            Reply::BrokerFailed(input, failure) => {
                self.hands.answered(&input);
                self.hands.kafka.failed(&failure);
                self.log(&failure, self.machine.kafka_attempt(&self.config));
                self.feed(input)
            }
            Reply::Moved { id, gaps, refused } => {
                self.hands.owed.connection.answered();
                self.hands.postgres.answered();
                for gap in gaps.iter().filter(|gap| !refused.contains(&gap.partition)) {
                    self.hands.moved_behind(gap);
                }
                self.feed(Input::OffsetsMoved { id, refused })
            }
            Reply::Checked { id, refused } => {
                self.hands.owed.check.answered();
                self.hands.postgres.answered();
                if !refused.is_empty() {
                    self.hands.refused("check", refused.len());
                }
                self.feed(Input::LedgerChecked { id, refused })
            }
            Reply::Probed(from, answer) => {
                self.on_probed(from, answer);
                ControlFlow::Continue(())
            }
            Reply::Batch { worker, id, rows, oldest_ms, took, reply } => {
                self.hands.wrote(worker, rows, oldest_ms, took, &reply);
                if reply.counts.outranked > 0 {
                    self.log(&outranked(reply.counts.outranked), (0, Some(0)));
                }
                match &reply.failure {
                    Some(failure) => self.hands.postgres.failed(failure),
                    None => self.hands.postgres.answered(),
                }
                if let Some(failure) = &reply.failure {
                    self.log_write(failure, worker);
                }
                self.feed(Input::BatchDone { worker, id, outcome: reply.outcome })
            }
            Reply::Parked { worker, id, took, reply } => {
                self.hands.retried(worker, took, &reply);
                if let Some(failure) = &reply.failure {
                    self.log(failure, self.machine.write_attempt(worker, &self.config));
                }
                self.feed(Input::ParkedRetried { worker, id, outcome: reply.outcome })
            }
        }
    }

    fn on_probed(&mut self, from: Dependency, answer: Result<(), Failure>) {
        let hands = &mut self.hands;
        let (standing, slot) =
            if from == Dependency::Kafka { (&mut hands.kafka, 0) } else { (&mut hands.postgres, 1) };
        hands.probing[slot] = false;
        match answer {
            Ok(()) => standing.answered(),
            Err(failure) => {
                standing.failed(&failure);
                hands.metrics.common.failed(failure.fault);
                report::no_sign_of_life(SERVICE, from, &failure);
            }
        }
    }

    fn on_tick(&mut self) {
        self.hands.metrics.buffer.set(self.machine.buffered_records() as f64);
        self.hands.metrics.workers.set(self.hands.writing as f64);
        self.hands.metrics.stale.absolute(self.machine.stale_inputs());
        self.hands.metrics.parked_rows.set(self.machine.parked_rows() as f64);
        if is_working(self.machine.state()) {
            self.hands.probe();
        }
    }

    fn log(&mut self, failure: &Failure, attempt: (u32, Option<u32>)) {
        self.last_failure = Some(failure.to_string());
        self.hands.metrics.common.failed(failure.fault);
        let attempt = Attempt { retry: attempt.0, max: attempt.1 };
        report::failure(SERVICE, self.machine.state().as_str(), failure, attempt);
    }
}

/// A fence that a higher lineage has put up is no replay: somebody has to look.
fn outranked(rows: u64) -> Failure {
    let text = format!(
        "{rows} changes met rows of a higher lineage and were not applied. If a running Watcher sends them, its \
         token record is an old copy: stop it and run `cdc token reset --new-source`, which raises its lineage. \
         If they are left over from a source that was replaced, nothing is missing"
    );
    Failure::new(Fault::Fenced, "batch_write", text)
}

impl<C: RecordConsumer, D: Database> Hands<C, D> {
    /// Carries out one order. Every order has its line here; what it comes to returns as an input.
    fn carry_out(&mut self, effect: Effect) -> ControlFlow<Cause> {
        let (consumer, database) = (self.consumer.clone(), self.database.clone());
        match effect {
            Effect::ConnectDatabase { id } => {
                self.owed.connection.asked();
                self.request(requests::connect(id, database));
            }
            Effect::JoinGroup { id } => {
                self.owed.membership.asked();
                self.request(requests::join(id, consumer));
            }
            Effect::LeaveGroup { id } => self.request(requests::leave(id, consumer)),
            Effect::AcquirePartitions { id, partitions } => {
                self.owed.connection.asked();
                self.request(requests::acquire(id, partitions, self.workers, consumer, database));
            }
            Effect::MoveOffsets { id, gaps } => {
                self.owed.connection.asked();
                self.request(requests::move_offsets(id, gaps, database));
            }
            Effect::CheckLedger { id, partitions } => {
                self.owed.check.asked();
                self.request(requests::check_ledger(id, partitions, database));
            }
            Effect::StartFetching { starts } => consumer.start(&starts),
            Effect::Fetch { max_records, max_bytes } => consumer.fetch(max_records, max_bytes),
            Effect::Pause => consumer.pause(),
            Effect::Resume => consumer.resume(),
            Effect::ConfirmRevoked { id } => consumer.confirm_revoked(id),
            Effect::WriteBatch { worker, id, batch, parking } => {
                self.begin_writing();
                self.request(requests::write(self.share(worker), id, batch, parking, database));
            }
            Effect::RetryParked { worker, id, partitions } => {
                self.begin_writing();
                self.request(requests::retry_parked(self.share(worker), id, partitions, database));
            }
            Effect::ParkedFull { rows, detail } => parked::report_full(rows, &detail),
            Effect::DeadLetter { id, row, reason, sqlstate, detail, attempts } => {
                self.put_aside(&row, reason, &detail, "dead_letter");
                let origin = self.consumer.name(row.partition);
                let (offset, record) = (row.offset, row.handle);
                let record = RejectedRecord { origin, offset, record, reason, sqlstate, detail, attempts };
                self.request(requests::dead_letter(id, record, consumer));
            }
            Effect::ReportTrip { bad, of, reasons } => report_trip(bad, of, &reasons),
            Effect::Skip { row, reason, detail } => self.put_aside(&row, reason, &detail, "skip"),
            Effect::CommitOffsets { id, offsets } => {
                self.owed.commit.asked();
                self.request(requests::commit(id, offsets, consumer, database));
            }
            Effect::SetTimer { timer, after } => match timer.kind {
                TimerKind::Reconnect
                | TimerKind::WriteRetry(_)
                | TimerKind::CommitRetry
                | TimerKind::DeadLetterRetry
                | TimerKind::AcquireRetry => self.timers.set_with_jitter(timer, after),
                TimerKind::Linger(_)
                | TimerKind::Flush(_)
                | TimerKind::ParkedRetry(_)
                | TimerKind::CommitSpacing
                | TimerKind::Pause
                | TimerKind::Revocation
                | TimerKind::Fencing
                | TimerKind::LedgerCheck
                | TimerKind::Drain => self.timers.set(timer, after),
            },
            Effect::CancelTimer { timer } => self.timers.cancel(timer),
            Effect::Stop { cause } => return ControlFlow::Break(cause),
        }
        ControlFlow::Continue(())
    }

    const fn share(&self, worker: WorkerId) -> Share {
        Share { worker, of: self.workers }
    }

    fn begin_writing(&mut self) {
        self.writing += 1;
        self.owed.writes.asked();
    }

    fn end_writing(&mut self) {
        self.writing -= 1;
        self.owed.writes.answered();
        if self.writing > 0 {
            self.owed.writes.asked();
        }
    }

    fn request(&mut self, request: impl Future<Output = Reply> + Send + 'static) {
        self.requests.spawn(request);
    }

    fn answered(&mut self, input: &Input) {
        match input {
            Input::DatabaseReady { .. }
            | Input::DatabaseFailed { .. }
            | Input::Acquired { .. }
            | Input::AcquireFailed { .. } => {
                self.owed.connection.answered();
            }
            Input::Joined { .. } | Input::JoinFailed { .. } => {
                self.owed.membership.answered();
            }
            Input::Committed { .. } => {
                self.owed.commit.answered();
            }
            Input::CommitFailed { refused, .. } => {
                self.owed.commit.answered();
                if !refused.is_empty() {
                    self.refused("commit", refused.len());
                }
            }
            Input::LedgerCheckFailed { .. } => {
                self.owed.check.answered();
            }
            Input::Start
            | Input::ConsumerFailed { .. }
            | Input::Assigned { .. }
            | Input::Revoking { .. }
            | Input::Lost { .. }
            | Input::OffsetsMoved { .. }
            | Input::LedgerChecked { .. }
            | Input::Records { .. }
            | Input::BatchDone { .. }
            | Input::ParkedRetried { .. }
            | Input::DeadLettered { .. }
            | Input::DeadLetterFailed { .. }
            | Input::Left { .. }
            | Input::Timer(_)
            | Input::Signal(_) => {}
        }
    }

    /// Counts and logs a batch: for each one, how many rows were inserted and how many updated.
    fn wrote(
        &mut self,
        worker: WorkerId,
        rows: usize,
        oldest_ms: Option<i64>,
        took: Duration,
        reply: &WriteReply,
    ) {
        self.end_writing();
        if let WriteOutcome::Refused { partitions } = &reply.outcome {
            self.refused("write", partitions.len());
        }
        if !matches!(reply.outcome, WriteOutcome::Written { .. }) {
            return;
        }
        let counts = &reply.counts;
        self.metrics.wrote(counts);
        self.metrics.batch_size.record(rows as f64);
        self.metrics.flush_seconds.record(took);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(oldest) = oldest_ms.and_then(|ms| u64::try_from(ms).ok()) {
            self.metrics.end_to_end.record(now.saturating_sub(Duration::from_millis(oldest)));
        }
        if counts.newest_unix_seconds > 0 {
            let lag = now.as_secs_f64() - f64::from(counts.newest_unix_seconds);
            self.metrics.common.lag.set(lag.max(0.0));
        }
        tracing::info!(
            service = SERVICE,
            operation = "batch_write",
            worker = worker.0,
            messages = rows,
            inserted = counts.inserted,
            updated = counts.updated,
            deleted = counts.deleted,
            fenced = counts.fenced,
            absent = counts.absent,
            parked = counts.parked,
            superseded = counts.superseded,
            null_lookups = counts.null_lookups,
            ignored = counts.ignored,
            merged = counts.merged,
            copied_statements = counts.copied_statements,
            prepared_statements = counts.prepared_statements,
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "batch written"
        );
    }

    fn put_aside(&self, row: &Row<KafkaRecord>, reason: Reject, detail: &str, action: &'static str) {
        self.metrics.rejected(reason);
        let name = self.consumer.name(row.partition);
        tracing::warn!(
            service = SERVICE,
            operation = "bad_record",
            action,
            topic = %name.topic,
            partition = name.partition,
            offset = row.offset,
            reason = reason.as_str(),
            detail,
            "record not written"
        );
    }

    /// The ledger no longer counts partitions as ours: nothing of theirs was written or recorded.
    fn refused(&self, what: &'static str, partitions: usize) {
        self.metrics.refused(what);
        tracing::warn!(
            service = SERVICE,
            operation = "ledger_refused",
            what,
            partitions,
            "the ledger refused partitions: another member has taken them, or the database was restored from a \
             copy; where they are still assigned they are acquired again and read from where the ledger stands"
        );
    }

    /// A gap is on record, and reading goes on behind it.
    fn moved_behind(&self, gap: &OffsetGap) {
        self.metrics.offset_gap(gap.loss);
        let name = self.consumer.name(gap.partition);
        tracing::error!(
            service = SERVICE,
            operation = "offset_reset",
            error_type = "non_retryable",
            error = "the log no longer holds the offset to go on from",
            stack_trace = %StackTrace::capture(),
            topic = %name.topic,
            partition = name.partition,
            from = gap.from,
            to = gap.to,
            loss = gap.loss.as_str(),
            next = "the gap stands in cdc.gaps; what was lost in it has to be copied from the source again",
            "reading goes on behind a gap"
        );
    }

    fn moved(&self, from: StateName, to: StateName, input: &'static str) {
        self.metrics.common.moved(from, to);
        crate::log_transition(SERVICE, from, to, input);
    }

    /// Asks for a sign of life whoever was not heard for a while and owes nothing.
    fn probe(&mut self) {
        let is_asked = self.owed.connection.age() + self.owed.commit.age() > Duration::ZERO;
        if !self.probing[0] && !is_asked && self.kafka.is_quiet() {
            self.probing[0] = true;
            let consumer = self.consumer.clone();
            self.request(
                async move { Reply::Probed(Dependency::Kafka, within_reason(consumer.probe()).await) },
            );
        }
        if !self.probing[1] && !is_asked && self.writing == 0 && self.postgres.is_quiet() {
            self.probing[1] = true;
            let database = self.database.clone();
            self.request(async move {
                Reply::Probed(Dependency::Postgres, within_reason(database.probe()).await)
            });
        }
    }

    /// Which neighbour gave a bad answer, or owes one for too long.
    fn trouble(&self) -> Option<String> {
        if let Some(trouble) = self.kafka.trouble().or(self.postgres.trouble()) {
            return Some(trouble.to_owned());
        }
        let debts = [
            ("postgres", self.owed.connection.age().max(self.owed.writes.age()).max(self.owed.check.age())),
            ("postgres or kafka", self.owed.commit.age()),
            ("kafka", self.owed.membership.age()),
        ];
        let (name, age) = debts.into_iter().max_by_key(|(_, age)| *age)?;
        (age > PATIENCE).then(|| format!("{name} owes an answer for {} s", age.as_secs()))
    }
}

/// The breaker's line: how many, which reasons, and the way out.
fn report_trip(bad: u32, of: u32, reasons: &[(Reject, u32)]) {
    let mut by_count = reasons.to_vec();
    by_count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let by_reason: Vec<String> =
        by_count.iter().map(|(reason, count)| format!("{} {count}", reason.as_str())).collect();
    tracing::error!(
        service = SERVICE,
        operation = "breaker",
        error_type = "non_retryable",
        error = "too many of the last records are bad",
        stack_trace = %StackTrace::capture(),
        bad,
        of,
        reasons = by_reason.join(", "),
        next = "correct the table or what fills the topic and start again; records that were not recorded yet are \
                read again. dead_letter.stop_after.share: 1 never stops, on_bad_record: skip gives them up",
        "stopping before the topic has been emptied into the dead letters"
    );
}
